"""docker-compose.yml: valid by the specification; roles, versions and topics of the code; no secret in it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema_rs
import pytest
import yaml

from taprail.connectors.debezium.connector import slot_name
from taprail.connectors.kafka.topics import TOPICS
from taprail.connectors.local import versions
from taprail.connectors.local.artifacts import read_lock
from taprail.connectors.local.connect import worker_properties
from taprail.connectors.local.kafka import broker_properties
from taprail.schemas.endpoints import KafkaEndpoint
from taprail.schemas.errors import SettingsError
from taprail.streams import settings
from taprail.streams.supervise import ROLES

ROOT = Path(__file__).parent.parent
ONCE = {"prepare", "init"}  # services that do something and end
VARIABLE = re.compile(r"\$\{([A-Z_]+):\?set it in \.env\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


@pytest.fixture(scope="module")
def loaded() -> settings.Loaded:
    return settings.load(ROOT / "deploy" / "taprail.toml")


def script(name: str) -> ModuleType:
    """A program of deploy/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", ROOT / "deploy" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runtime(services: dict[str, Any]) -> dict[str, Any]:
    return {name: s for name, s in services.items() if name not in ONCE and "profiles" not in s}


def properties(text: str) -> dict[str, str]:
    """A Java properties file without escapes: continued lines, comments."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_it_is_valid_by_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    assert [error.message for error in validator.iter_errors(compose)] == []
    assert not validator.is_valid({"services": {"kafka": {"imagee": "x"}}})


def test_its_roles_are_the_roles_of_the_code(services: dict[str, Any]) -> None:
    run = {name: s["command"][1] for name, s in services.items() if s.get("command", [""])[0] == "run"}
    assert sorted(run) == sorted(run.values()) == sorted(ROLES)


def test_its_versions_are_those_that_the_tests_run_on(services: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert services["kafka"]["image"] == f"apache/kafka:{versions.KAFKA}"
    assert services["registry"]["image"] == f"apicurio/apicurio-registry:{versions.REGISTRY}"
    assert services["postgres"]["image"] == f"postgres:{versions.POSTGRES}"
    [keycloak] = (pin.coordinates.split(":") for pin in read_lock(ROOT / "tests" / "data" / "keycloak.lock"))
    assert services["identity"]["image"] == f"quay.io/keycloak/keycloak:{keycloak[2]}"
    assert services["connect"]["build"]["target"] == "connect"
    assert f"ARG DEBEZIUM={versions.DEBEZIUM}\n" in dockerfile
    assert "FROM quay.io/debezium/connect:${DEBEZIUM} AS connect\n" in dockerfile


def test_our_images_carry_the_projects_version(services: dict[str, Any]) -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    ours = {s["image"] for s in services.values() if s["image"].startswith("taprail")}
    assert ours == {f"taprail:{version[1]}", f"taprail-connect:{version[1]}"}


def test_every_image_is_pinned_by_a_tag_with_a_number(services: dict[str, Any]) -> None:
    images = [s["image"] for s in services.values()]
    assert all(re.fullmatch(r"[a-z0-9./-]+:\d+\.\d+[\w.-]*", image) for image in images), images


def test_every_service_says_whether_it_is_healthy_or_ends(services: dict[str, Any]) -> None:
    assert [name for name, s in runtime(services).items() if not s.get("healthcheck", {}).get("test")] == []
    assert all(services[name]["restart"] == "no" for name in ONCE)


def test_who_depends_on_somebody_waits_until_it_serves(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how["condition"] == wanted, f"{name} -> {other}"


def test_every_role_waits_for_init_which_makes_every_topic(services: dict[str, Any]) -> None:
    assert services["init"]["command"][0] == "init"
    assert {"prepare", "registry", "connect", "postgres"} <= set(services["init"]["depends_on"])
    for role in set(ROLES) - {"signer"}:
        assert "init" in services[role]["depends_on"]
    # `init` provisions the table of topics.py as a whole, as the tests of tests/connectors/kafka do.
    source = (ROOT / "streams" / "initialise.py").read_text()
    assert "provision(kafka)" in source and len(TOPICS) == len({t.name for t in TOPICS})


def test_connect_starts_after_its_user_and_rights_are_there(services: dict[str, Any]) -> None:
    assert services["connect"]["depends_on"]["prepare"]["condition"] == "service_completed_successfully"
    assert set(services["prepare"]["depends_on"]) == {"kafka"}


def test_no_secret_has_a_value_or_a_default(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|_KEY$|SECRET|TOKEN", variable) and not variable.endswith("_PATTERN"):
                assert VARIABLE.fullmatch(value), f"{name}: {variable}"
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"\$\{[A-Z_]+(:?-|\})", text), "a variable with a default, or without a demand"


def test_every_secret_stands_in_the_example_without_a_value(services: dict[str, Any]) -> None:
    example = (ROOT / ".env.example").read_text()
    wanted = set(VARIABLE.findall((ROOT / "docker-compose.yml").read_text()))
    assert sorted(script("env").names(example)) == sorted(wanted)
    assert script("env").values(example) == {}
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_command_makes_every_secret_and_keeps_those_that_are_there(tmp_path: Path) -> None:
    env = script("env")
    shutil.copy(ROOT / ".env.example", tmp_path)
    (tmp_path / ".env").write_text("KAFKA_TAP_PASSWORD=kept\nSLACK_TOKEN=mine\n")
    assert env.main(tmp_path) == 0
    first = env.values((tmp_path / ".env").read_text())
    assert first["KAFKA_TAP_PASSWORD"] == "kept" and first["SLACK_TOKEN"] == "mine"
    assert set(env.names((ROOT / ".env.example").read_text())) < set(first)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert len(set(first.values())) == len(first)
    assert re.fullmatch(r"[0-9a-f]{64}", first["MARK_KEY"])
    assert env.main(tmp_path) == 0
    assert env.values((tmp_path / ".env").read_text()) == first


def test_a_role_has_its_own_kafka_password_and_no_other(services: dict[str, Any]) -> None:
    for role in ROLES:
        names = {n for n in services[role].get("environment", {}) if n.startswith("KAFKA_")}
        assert names == (set() if role == "signer" else {f"KAFKA_{role.upper()}_PASSWORD"})


def test_private_keys_are_mounted_where_they_are_used_and_nowhere_else(services: dict[str, Any]) -> None:
    def users(volume: str) -> set[str]:
        mounts = {name: s.get("volumes", []) for name, s in services.items()}
        return {name for name, volumes in mounts.items() if any(v.startswith(f"{volume}:") for v in volumes)}

    assert users("signer") == {"prepare", "signer"}
    assert users("control") == {"prepare", "agents"}
    assert users("tls") == {"prepare", "tap"}
    assert users("run") == {"signer", "ledger"}


def test_our_containers_can_do_nothing_that_they_need_not(services: dict[str, Any]) -> None:
    ours = {name: s for name, s in services.items() if s["image"].startswith("taprail:")}
    assert set(ours) == {*ROLES, *ONCE, "tools"}
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["user"] == "10001:10001", name
        assert service["cap_drop"] == ["ALL"], name
    for name, service in services.items():
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service and "/var/run/docker.sock" not in str(service), name


def test_only_the_front_doors_are_open_and_only_on_loopback(compose: dict[str, Any], services: dict[str, Any]) -> None:
    ports = {name: s["ports"] for name, s in services.items() if "ports" in s}
    assert set(ports) == {"tap", "agents", "identity"}
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)
    assert compose["networks"]["bus"]["internal"] and compose["networks"]["databases"]["internal"]
    assert services["signer"]["network_mode"] == "none"


def test_every_mounted_file_is_there(services: dict[str, Any]) -> None:
    mounts = {v.split(":")[0] for s in services.values() for v in s.get("volumes", []) if v.startswith("./")}
    assert mounts and all((ROOT / mount).is_file() for mount in mounts), mounts


def test_the_settings_load_and_find_their_services(loaded: settings.Loaded, services: dict[str, Any]) -> None:
    configured = loaded.settings
    hosts = [configured.kafka.bootstrap.split(":")[0], *(d.host for d in configured.databases)]
    hosts += [re.sub(r"^http://([a-z]+):.*", r"\1", url) for url in (configured.registry.url, configured.connect.url)]
    assert set(hosts) == {"kafka", "postgres", "registry", "connect"} <= set(services)
    assert f"127.0.0.1:{configured.tap.port}:{configured.tap.port}" in services["tap"]["ports"]
    assert f"127.0.0.1:{configured.approvals.port}:{configured.approvals.port}" in services["agents"]["ports"]
    assert f"127.0.0.1:{configured.scim.port}:{configured.scim.port}" in services["agents"]["ports"]
    assert configured.databases[0].upstream == services["postgres"]["environment"]["POSTGRES_DB"]
    assert slot_name(configured.databases[0].upstream) == "taprail_app"


def test_every_secret_of_the_settings_is_given_to_somebody(loaded: settings.Loaded, services: dict[str, Any]) -> None:
    references = {r.removeprefix("env:") for _, r in settings._secrets(loaded.settings, "") if r.startswith("env:")}
    given = {name for s in services.values() if s["image"].startswith("taprail:") for name in s.get("environment", {})}
    assert references == given


def test_the_identity_provider_is_reached_under_one_name(loaded: settings.Loaded, services: dict[str, Any]) -> None:
    identity = services["identity"]
    realm = json.loads((ROOT / "deploy" / "realm.json").read_text())
    issuer = f"{identity['environment']['KC_HOSTNAME']}/realms/{realm['realm']}"
    assert loaded.settings.identity.issuer == issuer
    assert identity["networks"]["clients"]["aliases"] == ["identity.localhost"]
    port = identity["environment"]["KC_HTTP_PORT"]
    assert f":{port}/" in issuer and f"127.0.0.1:{port}:{port}" in identity["ports"]


def test_the_realm_has_no_users_and_gives_access_tokens_as_we_ask_for_them(loaded: settings.Loaded) -> None:
    realm = json.loads((ROOT / "deploy" / "realm.json").read_text())
    assert "users" not in realm and not any("secret" in client for client in realm["clients"])
    ours = {client["clientId"]: client for client in realm["clients"]}
    assert loaded.settings.identity.client_id in ours
    assert ours["taprail"]["redirectUris"] == [f"{loaded.settings.approvals.url}/signed-in"]
    for client in ours.values():
        mappers = {mapper["protocolMapper"]: mapper["config"] for mapper in client["protocolMappers"]}
        assert client["attributes"]["access.token.header.type.rfc9068"] == "true"
        assert mappers["oidc-audience-mapper"]["included.custom.audience"] == loaded.settings.identity.audience
        assert mappers["oidc-group-membership-mapper"]["claim.name"] == loaded.settings.identity.groups_claim
    agent = {m["protocolMapper"]: m["config"] for m in ours["support-agent"]["protocolMappers"]}
    assert agent["oidc-hardcoded-claim-mapper"]["claim.name"] == loaded.settings.identity.kind_claim
    groups = {group["name"] for group in realm["groups"]}
    assert {role.group for d in loaded.settings.databases for role in d.roles} <= groups


def test_kafka_is_configured_as_the_local_one() -> None:
    ours = properties((ROOT / "deploy" / "kafka.properties").read_text())
    local = broker_properties(
        Path("/var/lib/kafka"), 9092, 9093, "${env:KAFKA_ADMIN_PASSWORD}", "${env:KAFKA_CONTROLLER_PASSWORD}"
    )
    differ = {
        "listeners": "CLIENTS://:9092,CONTROLLER://localhost:9093",
        "advertised.listeners": "CLIENTS://kafka:9092",
        "controller.quorum.bootstrap.servers": "localhost:9093",
    }
    expected = {name: str(value) for name, value in local.items()} | differ
    assert {name: value for name, value in ours.items() if not name.startswith("config.providers")} == expected


def test_connect_is_configured_as_the_local_one(services: dict[str, Any]) -> None:
    environment = services["connect"]["environment"]
    renamed = {
        "BOOTSTRAP_SERVERS",
        "GROUP_ID",
        "CONFIG_STORAGE_TOPIC",
        "OFFSET_STORAGE_TOPIC",
        "STATUS_STORAGE_TOPIC",
        "OFFSET_FLUSH_INTERVAL_MS",
    }
    ours = {
        n.removeprefix("CONNECT_").lower().replace("_", "."): v
        for n, v in environment.items()
        if n.startswith("CONNECT_") or n in renamed
    }
    ours["task.shutdown.graceful.timeout.ms"] = environment["SHUTDOWN_TIMEOUT"]
    local = worker_properties(
        bootstrap="kafka:9092", kafka_password="$${env:KAFKA_CONNECT_PASSWORD}", port=8083, plugins=Path("/")
    )
    own = {"listeners", "rest.advertised.host.name", "rest.advertised.port", "plugin.path", "plugin.discovery"}
    own |= {"key.converter", "value.converter"}  # the image's defaults; each connector names its own
    expected = {name: str(value) for name, value in local.items() if name not in own}
    assert {n: v for n, v in ours.items() if not n.startswith("config.providers") and n != "rest.password"} == expected


def test_prepare_makes_every_key_once(tmp_path: Path) -> None:
    prepare = script("prepare")
    text = (ROOT / "deploy" / "taprail.toml").read_text()
    config = tmp_path / "taprail.toml"
    config.write_text(text.replace("/var/lib/taprail", str(tmp_path)).replace("/run/taprail", str(tmp_path)))
    loaded = settings.load(config)
    made: list[str] = []
    prepare.make_keys(loaded, made.append)
    assert len(made) == 3
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    private = [tmp_path / p for p in ("control/control.pem", "signer/log.pem", "signer/signer.json", "tls/tap.key")]
    assert [oct(path.stat().st_mode & 0o777) for path in private] == ["0o600"] * 4
    prepare.make_keys(loaded, made.append)
    assert len(made) == 3 and files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_prepare_restores_a_public_key_but_not_a_lost_private_one(tmp_path: Path) -> None:
    prepare = script("prepare")
    private, public = tmp_path / "a.pem", tmp_path / "a.pub"
    assert prepare._pair(private, public)
    before = public.read_bytes()
    public.unlink()
    assert not prepare._pair(private, public) and public.read_bytes() == before
    private.unlink()
    with pytest.raises(SettingsError, match=r"its private key .*a\.pem is not"):
        prepare._pair(private, public)


def test_the_build_sends_no_secret_to_the_engine() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and not any(line.startswith(("!.env", "!.git", "!.taprail")) for line in ignored)
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    wanted = {name for line in copied for name in line.split()}
    assert wanted == {line[1:] for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in wanted)


def test_a_role_without_its_password_says_which_setting(
    loaded: settings.Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_TAP_PASSWORD", "word")
    monkeypatch.delenv("KAFKA_STREAM_PASSWORD", raising=False)
    assert isinstance(loaded.kafka("tap"), KafkaEndpoint)
    with pytest.raises(
        SettingsError, match=r"kafka\.passwords\.stream: the environment variable KAFKA_STREAM_PASSWORD"
    ):
        loaded.kafka("stream")
