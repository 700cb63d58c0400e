"""Where the parts of a running stack answer, and with which credentials. Handed out by tests and by `taprail up`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote

import msgspec

from taprail.schemas.errors import SettingsError

Role = Literal["admin", "connect", "registry", "tap", "stream", "agents", "ledger", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)


class KafkaEndpoint(msgspec.Struct, frozen=True):
    """A Kafka cluster with SASL SCRAM-SHA-256: one user for each role."""

    bootstrap: str
    users: Mapping[str, str]
    security_protocol: Literal["SASL_PLAINTEXT", "SASL_SSL"] = "SASL_PLAINTEXT"

    def client_config(self, role: Role) -> dict[str, str | int]:
        """librdkafka's settings to connect as `role`; add your own `group.id`, `transactional.id` and so on.

        A role may use group ids and transactional ids that start with `taprail-<role>` only.
        """
        if role not in self.users:
            raise SettingsError(
                f"no password for the Kafka user {role}", hint=f"known: {', '.join(sorted(self.users))}"
            )
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": role,
            "sasl.password": self.users[role],
        }

    def __repr__(self) -> str:
        return f"KafkaEndpoint(bootstrap={self.bootstrap!r}, users={sorted(self.users)!r}, passwords=***)"


class PostgresEndpoint(msgspec.Struct, frozen=True):
    """A PostgreSQL server and its superuser, over TCP with SCRAM-SHA-256."""

    host: str
    port: int
    superuser: str
    password: str

    def dsn(self, database: str = "postgres") -> str:
        """A libpq connection URI as the superuser. It holds the password: not for logs."""
        user, password = quote(self.superuser, safe=""), quote(self.password, safe="")
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{quote(database, safe='')}"

    def __repr__(self) -> str:
        return f"PostgresEndpoint({self.superuser}@{self.host}:{self.port}, password=***)"


class ConnectEndpoint(msgspec.Struct, frozen=True):
    """The REST API of Kafka Connect, with HTTP basic authentication."""

    url: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"ConnectEndpoint({self.user}@{self.url}, password=***)"


class Endpoints(msgspec.Struct, frozen=True):
    """Everything that a running stack offers. URLs have no trailing slash; `psql` is a program's path.

    `*_from_connect` is how Connect reaches PostgreSQL (`host:port`) and the registry; empty: as everybody else does.
    """

    kafka: KafkaEndpoint
    postgres: PostgresEndpoint
    connect: ConnectEndpoint
    registry_url: str
    issuer_url: str
    psql: str
    postgres_from_connect: str = ""
    registry_from_connect: str = ""

    @property
    def connect_url(self) -> str:
        return self.connect.url

    @property
    def schema_registry_url(self) -> str:
        """The Confluent-compatible API, for `SchemaRegistryClient({"url": ...})`."""
        return f"{self.registry_url}/apis/ccompat/v7"


def write_endpoints(path: Path, endpoints: Endpoints) -> None:
    """Write them as JSON that only we can read: passwords stand in it."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(endpoints)))
    part.replace(path)


def read_endpoints(path: Path) -> Endpoints:
    """Read what `write_endpoints` wrote; SettingsError when it isn't there or isn't that."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoints)
    except FileNotFoundError:
        raise SettingsError(f"{path} is not there", hint="is the stack running?") from None
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{path} doesn't describe a stack: {error}", hint="stop the stack and start it") from error
