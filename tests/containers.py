"""The stack in containers, by testcontainers, for machines where a Docker engine answers.

NOT EXECUTED so far: it was written on a machine without an engine, against the images' documentation. The local
processes of `taprail.connectors.local` are what the tests have run on.

The identity provider is the same child process in both cases.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import psycopg
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from taprail.connectors.http import answers_200
from taprail.connectors.kafka.admin import admin_client, provision
from taprail.connectors.local import versions
from taprail.connectors.local.identity import Identity
from taprail.connectors.local.kafka import broker_properties, scram_jaas
from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.postgres import installed_psql
from taprail.schemas.endpoints import ROLES, ConnectEndpoint, Endpoints, KafkaEndpoint, PostgresEndpoint
from taprail.schemas.errors import StackError

KAFKA_IMAGE = f"apache/kafka:{versions.KAFKA}"
CONNECT_IMAGE = f"quay.io/debezium/connect:{versions.DEBEZIUM}"
REGISTRY_IMAGE = f"apicurio/apicurio-registry:{versions.REGISTRY}"
POSTGRES_IMAGE = f"postgres:{versions.POSTGRES}"
_INTERNAL_PORT, _CONTROLLER_PORT = 19092, 19093
_START_S = 180.0


def engine_answers() -> bool:
    """Whether a Docker engine answers here."""
    try:
        client = docker.from_env(timeout=3)
    except docker.errors.DockerException:
        return False
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except Exception:  # requests' and docker's own, by engine
            return False


@contextlib.contextmanager
def container_stack() -> Iterator[Endpoints]:
    """Start everything on one network, wait until it answers, and remove it in the end."""
    home = Path(tempfile.mkdtemp(prefix="taprail-containers-"))
    ports = choose_ports(("kafka", "connect", "registry", "postgres", "identity"), home / "ports.json")
    users: dict[str, str] = {role: secrets.token_urlsafe(24) for role in ROLES}
    superuser, rest = secrets.token_urlsafe(24), ConnectEndpoint(f"http://127.0.0.1:{ports['connect']}", "", "")
    kafka = KafkaEndpoint(f"127.0.0.1:{ports['kafka']}", users)
    postgres = PostgresEndpoint("127.0.0.1", ports["postgres"], "postgres", superuser)
    endpoints = Endpoints(
        kafka=kafka,
        postgres=postgres,
        connect=rest,
        registry_url=f"http://127.0.0.1:{ports['registry']}",
        issuer_url=f"http://127.0.0.1:{ports['identity']}",
        psql=str(installed_psql()),
        postgres_from_connect="postgres:5432",
        registry_from_connect="http://registry:8080",
    )
    with contextlib.ExitStack() as running:
        running.callback(shutil.rmtree, home)
        network = running.enter_context(Network())

        def container(image: str, alias: str, inside: int) -> DockerContainer:
            made = DockerContainer(image).with_network(network).with_network_aliases(alias)
            return made.with_bind_ports(inside, ports[alias])

        running.enter_context(_postgres(container(POSTGRES_IMAGE, "postgres", 5432), superuser))
        running.enter_context(container(REGISTRY_IMAGE, "registry", 8080))
        running.enter_context(_kafka(container(KAFKA_IMAGE, "kafka", ports["kafka"]), home, ports["kafka"], users))
        identity = Identity(home / "identity", ports["identity"])
        running.callback(identity.child.stop)
        identity.start()
        _wait("Kafka", lambda: bool(admin_client(kafka).list_topics(timeout=2).brokers))
        provision(kafka)
        running.enter_context(_connect(container(CONNECT_IMAGE, "connect", 8083), users["connect"]))
        _wait("PostgreSQL", lambda: not psycopg.connect(postgres.dsn(), connect_timeout=2).closed)
        _wait("the registry", lambda: answers_200(f"{endpoints.schema_registry_url}/subjects"))
        _wait("Connect", lambda: answers_200(f"{rest.url}/connectors"))
        yield endpoints


def _postgres(container: DockerContainer, password: str) -> DockerContainer:
    settings = "-c wal_level=logical -c max_wal_senders=32 -c max_replication_slots=32"
    return container.with_env("POSTGRES_PASSWORD", password).with_command(settings)


def _kafka(container: DockerContainer, home: Path, port: int, users: dict[str, str]) -> DockerContainer:
    """The same node as the local one, with a second listener for the other containers."""
    values = broker_properties(Path("/tmp/kafka"), port, _CONTROLLER_PORT, users["admin"], secrets.token_urlsafe(24))
    inside = "listener.name.internal.scram-sha-256.sasl.jaas.config"
    values |= {
        "listeners": f"CLIENTS://:{port},INTERNAL://:{_INTERNAL_PORT},CONTROLLER://127.0.0.1:{_CONTROLLER_PORT}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{port},INTERNAL://kafka:{_INTERNAL_PORT}",
        "inter.broker.listener.name": "INTERNAL",
        inside: scram_jaas("admin", users["admin"]),
    }
    protocols = str(values["listener.security.protocol.map"])
    values["listener.security.protocol.map"] = f"{protocols},INTERNAL:SASL_PLAINTEXT"
    (home / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    scram = [f"--add-scram\nSCRAM-SHA-256=[name={user},password={word}]" for user, word in users.items()]
    (home / "format.args").write_text("\n".join(["--standalone", *scram]))
    for file in ("server.properties", "format.args"):
        (home / file).chmod(0o644)  # the image's user reads it; the folder itself is closed to others
        container = container.with_volume_mapping(str(home / file), f"/taprail/{file}", "ro")
    bin_ = "/opt/kafka/bin"
    format_ = f'{bin_}/kafka-storage.sh format -t "$({bin_}/kafka-storage.sh random-uuid)"'
    script = f"{format_} -c /taprail/server.properties @/taprail/format.args"
    start = f"exec {bin_}/kafka-server-start.sh /taprail/server.properties"
    return container.with_command(["sh", "-c", f"{script} && {start}"])


def _connect(container: DockerContainer, password: str) -> DockerContainer:
    """Debezium's image: CONNECT_<NAME> becomes a worker property, and it brings Apicurio's converter when asked to."""
    login = {
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "SASL_MECHANISM": "SCRAM-SHA-256",
        "SASL_JAAS_CONFIG": scram_jaas("connect", password),
    }
    environment = {
        "BOOTSTRAP_SERVERS": f"kafka:{_INTERNAL_PORT}",
        "GROUP_ID": "taprail-connect",
        "CONFIG_STORAGE_TOPIC": "connect-configs",
        "OFFSET_STORAGE_TOPIC": "connect-offsets",
        "STATUS_STORAGE_TOPIC": "connect-status",
        "ENABLE_APICURIO_CONVERTERS": "true",
    }
    for client in ("CONNECT_", "CONNECT_PRODUCER_", "CONNECT_CONSUMER_", "CONNECT_ADMIN_"):
        environment |= {client + name: value for name, value in login.items()}
    for name, value in environment.items():
        container = container.with_env(name, value)
    return container


def _wait(what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(Exception):  # whatever a client raises while the server starts
            if ready():
                return
        if time.monotonic() > deadline:
            raise StackError(f"the container of {what} did not answer in {_START_S:.0f} s", hint="see docker logs")
        time.sleep(0.5)
