"""The configuration of the compose file's Kafka and Connect, run by the local Java: no engine is needed for that."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaException

from taprail.connectors.http import answers_200, request
from taprail.connectors.kafka.admin import admin_client, provision
from taprail.connectors.kafka.topics import TOPICS
from taprail.connectors.local.artifacts import ensure_sets
from taprail.connectors.local.java import environment, java, log4j2_file, write_properties
from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.process import Child
from taprail.schemas.endpoints import ROLES, KafkaEndpoint

ROOT = Path(__file__).parent.parent
PROGRAMS = {"kafka-storage": "kafka.tools.StorageTool", "kafka-server-start": "kafka.Kafka"}
PASSWORDS = {"KAFKA_ADMIN_PASSWORD": "ad-min_1", "KAFKA_CONTROLLER_PASSWORD": "controller_2"}


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    return dict(choose_ports(("kafka", "controller", "connect"), tmp_path_factory.mktemp("ports") / "ports.json"))


@pytest.fixture(scope="module")
def jars() -> dict[str, Path]:
    return ensure_sets(["kafka", "debezium", "converter"])


@pytest.fixture(scope="module")
def kafka(
    tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int], jars: dict[str, Path]
) -> Iterator[KafkaEndpoint]:
    """deploy/kafka.sh with deploy/kafka.properties, on loopback instead of the container's network."""
    home = tmp_path_factory.mktemp("kafka")
    logging = log4j2_file(home)
    for name, main in PROGRAMS.items():
        program = home / "bin" / f"{name}.sh"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\nexec "{java()}" -Xmx256m -Dlog4j2.configurationFile="{logging}" '
            f'-cp "{jars["kafka"]}/*" {main} "$@"\n'
        )
        program.chmod(0o755)
    text = (ROOT / "deploy" / "kafka.properties").read_text()
    for ours, here in {
        "/var/lib/kafka/data": f"{home}/data",
        "CLIENTS://:9092": f"CLIENTS://127.0.0.1:{ports['kafka']}",
        "CLIENTS://kafka:9092": f"CLIENTS://127.0.0.1:{ports['kafka']}",
        "localhost:9093": f"127.0.0.1:{ports['controller']}",
    }.items():
        assert ours in text
        text = text.replace(ours, here)
    (home / "kafka.properties").write_text(text)
    own = {"KAFKA_HOME": str(home), "KAFKA_CONFIG": str(home / "kafka.properties"), **PASSWORDS}
    bash = shutil.which("bash") or "/bin/bash"
    child = Child("Kafka", [bash, ROOT / "deploy" / "kafka.sh"], log=home / "log", env={**environment(), **own})
    users: dict[str, str] = {role: f"{role}_pass-word" for role in ROLES}
    endpoint = KafkaEndpoint(f"127.0.0.1:{ports['kafka']}", users | {"admin": PASSWORDS["KAFKA_ADMIN_PASSWORD"]})
    child.start()
    try:
        child.wait_ready(lambda: _lists_topics(endpoint), 60)
        provision(endpoint)
        yield endpoint
    finally:
        child.stop()
    assert not [password for password in PASSWORDS.values() if password in child.log.read_text()]


def _lists_topics(endpoint: KafkaEndpoint) -> bool:
    try:
        return bool(admin_client(endpoint).list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def test_kafka_starts_with_its_first_user_who_makes_the_others(kafka: KafkaEndpoint) -> None:
    assert {topic.name for topic in TOPICS} <= set(admin_client(kafka).list_topics(timeout=5).topics)


def test_connect_starts_signed_in_and_asks_for_a_password(
    kafka: KafkaEndpoint, ports: dict[str, int], jars: dict[str, Path], tmp_path: Path
) -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    variables = {n: str(v).replace("$$", "$") for n, v in compose["services"]["connect"]["environment"].items()}
    login = _entrypoint(tmp_path)
    properties = _worker_properties(variables) | {
        "bootstrap.servers": kafka.bootstrap,
        "listeners": f"http://127.0.0.1:{ports['connect']}",
        "plugin.path": _plugins(tmp_path, jars),
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    }
    assert kafka.users["connect"] not in str(properties)
    options = [f"-Djava.security.auth.login.config={login}", f"-Dlog4j2.configurationFile={log4j2_file(tmp_path)}"]
    worker = [
        java(),
        "-Xmx384m",
        *options,
        "-cp",
        f"{jars['kafka']}/*",
        "org.apache.kafka.connect.cli.ConnectDistributed",
    ]
    child = Child(
        "Connect",
        [*worker, write_properties(tmp_path / "worker.properties", properties)],
        log=tmp_path / "log",
        env={**environment(), "KAFKA_CONNECT_PASSWORD": kafka.users["connect"]},
    )
    url = f"http://127.0.0.1:{ports['connect']}"
    headers = {"Authorization": "Basic " + base64.b64encode(b"taprail:rest-1_word").decode()}
    child.start()
    try:
        child.wait_ready(lambda: answers_200(f"{url}/connectors", headers=headers), 90)
        assert request(f"{url}/connectors").status == 401
        plugins = request(f"{url}/connector-plugins", headers=headers).body
        assert b"io.debezium.connector.postgresql.PostgresConnector" in plugins
    finally:
        child.stop()


def _entrypoint(tmp_path: Path) -> Path:
    """Run deploy/connect.sh with the image's own entrypoint replaced; the JAAS file that it wrote."""
    image = tmp_path / "entrypoint.sh"
    image.write_text('#!/bin/sh\nprintf "%s\\n" "$1" "$KAFKA_OPTS" "${CONNECT_REST_PASSWORD-unset}"\n')
    image.chmod(0o755)
    script = (ROOT / "deploy" / "connect.sh").read_text()
    assert "exec /docker-entrypoint.sh start" in script and "/tmp/taprail" in script
    script = script.replace("/docker-entrypoint.sh", str(image)).replace("/tmp/taprail", f"{tmp_path}/taprail")
    run = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], "CONNECT_REST_PASSWORD": "rest-1_word"},
        capture_output=True,
        text=True,
        check=True,
    )
    files = {file.name: file for file in (tmp_path / "taprail").iterdir()}
    jaas = files["jaas"]
    assert run.stdout.splitlines() == ["start", f"-Djava.security.auth.login.config={jaas}", "unset"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in files.values())
    assert 'user = "taprail:rest-1_word"' in files["curl"].read_text()
    return jaas


def _worker_properties(variables: dict[str, str]) -> dict[str, str]:
    """What the image's entrypoint makes of its environment: CONNECT_SOME_NAME becomes some.name."""
    short = ("GROUP_ID", "CONFIG_STORAGE_TOPIC", "OFFSET_STORAGE_TOPIC", "STATUS_STORAGE_TOPIC")
    named = {f"CONNECT_{name}": variables[name] for name in short} | variables
    return {
        name.removeprefix("CONNECT_").lower().replace("_", "."): value
        for name, value in named.items()
        if name.startswith("CONNECT_") and name != "CONNECT_REST_PASSWORD"
    }


def _plugins(tmp_path: Path, jars: dict[str, Path]) -> str:
    for name in ("debezium", "converter"):
        shutil.copytree(jars[name], tmp_path / "plugins" / name, copy_function=os.symlink)
    return str(tmp_path / "plugins")


def test_the_registrys_database_is_made_by_the_scripts_own_statements(tmp_path: Path, stack: Any) -> None:
    """deploy/postgres.sh, run by bash with our psql, against the test's server."""
    psql = Path(stack.psql)
    script = (ROOT / "deploy" / "postgres.sh").read_text()
    name = f"registry_{os.getpid()}"
    script = re.sub(r"\bregistry\b", name, script)
    env = {
        "PATH": f"{psql.parent}:{os.environ['PATH']}",
        "PGHOST": stack.postgres.host,
        "PGPORT": str(stack.postgres.port),
        "PGPASSWORD": stack.postgres.password,
        "POSTGRES_USER": stack.postgres.superuser,
        "REGISTRY_DB_PASSWORD": "it's-1",
    }
    admin = [str(psql), "-qX", "-d", "postgres", "-U", stack.postgres.superuser, "-c"]
    try:
        subprocess.run(["bash", "-c", script], env=env, check=True, capture_output=True, text=True)
        own = {**env, "PGPASSWORD": "it's-1"}
        asked = [str(psql), "-qXAt", "-d", name, "-U", name, "-c", "SELECT current_user"]
        assert subprocess.run(asked, env=own, check=True, capture_output=True, text=True).stdout.strip() == name
    finally:
        subprocess.run([*admin, f"DROP DATABASE IF EXISTS {name}"], env=env, check=True)
        subprocess.run([*admin, f"DROP ROLE IF EXISTS {name}"], env=env, check=True)
