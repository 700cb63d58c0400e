"""The connector that reads one PostgreSQL database's changes into one topic, and its registration with Connect.

Debezium promises no order across topics, so everything of a database (BEGIN, messages, row changes, TRUNCATE, END and
heartbeats) is routed into `cdc.<server>.<database>` of one partition, where it stands in commit order.
Source: Debezium documentation, connector for PostgreSQL; Kafka Connect documentation, REST API.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from taprail.connectors.http import Answer, request
from taprail.connectors.kafka.topics import change_feed_name
from taprail.schemas.endpoints import ConnectEndpoint
from taprail.schemas.errors import SettingsError, StackError
from taprail.schemas.mark import DDL_PREFIX, PREFIX

PUBLICATION = "taprail"
POLL_INTERVAL_MS = 10
HEARTBEAT_INTERVAL_MS = 5_000
_HEARTBEAT_PREFIX = "taprail-heartbeat"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_CONVERTER = "io.apicurio.registry.utils.converter.AvroConverter"


def slot_name(database: str) -> str:
    """A replication slot's name for a database: lower case, digits and `_` only (PostgreSQL documentation, 49.2)."""
    return "taprail_" + re.sub(r"[^a-z0-9_]", "_", database.lower())[:55]


def connector_config(
    *,
    server: str,
    database: str,
    host: str,
    port: int,
    user: str,
    password: str,
    registry_url: str,
    slot: str = "",
    publication: str = PUBLICATION,
    sslmode: str = "disable",
) -> dict[str, str]:
    """The connector's whole configuration.

    `user` needs LOGIN and REPLICATION and no right on any table; the publication must be there. `registry_url` is the
    registry's root. `password` may be a reference to one of the worker's config providers. SettingsError where server
    or database can't be part of a topic's name.
    """
    for what, name in (("server", server), ("database", database)):
        if not _NAME.fullmatch(name):
            raise SettingsError(f"the {what} {name!r} can't be part of a topic's name", hint="letters, digits, _ and -")
    prefix = f"{server}.{database}"
    config = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "plugin.name": "pgoutput",
        "database.hostname": host,
        "database.port": str(port),
        "database.user": user,
        "database.password": password,
        "database.dbname": database,
        "database.sslmode": sslmode,
        "topic.prefix": prefix,
        "slot.name": slot or slot_name(database),
        "publication.name": publication,
        # A superuser made the publication FOR ALL TABLES; the connector's own user couldn't.
        "publication.autocreate.mode": "disabled",
        "snapshot.mode": "no_data",
        "provide.transaction.metadata": "true",
        "skipped.operations": "none",
        "tombstones.on.delete": "false",
        "message.prefix.include.list": f"{PREFIX},{DDL_PREFIX}",
        "poll.interval.ms": str(POLL_INTERVAL_MS),
        # An idle slot keeps WAL. The message is written where it costs nothing, and its prefix isn't in the list above.
        "heartbeat.interval.ms": str(HEARTBEAT_INTERVAL_MS),
        "heartbeat.action.query": f"SELECT pg_logical_emit_message(false, '{_HEARTBEAT_PREFIX}', '')",
        "topic.heartbeat.prefix": f"{prefix}.heartbeat",
        "schema.name.adjustment.mode": "avro",
        "field.name.adjustment.mode": "avro",
        "time.precision.mode": "microseconds",
        "decimal.handling.mode": "string",
        "binary.handling.mode": "base64",
        "errors.max.retries": "-1",
        "retriable.restart.connector.wait.ms": "1000",
        "transforms": "route",
        "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.route.regex": rf"{re.escape(prefix)}\..*|{re.escape(prefix)}",
        "transforms.route.replacement": change_feed_name(server, database),
    }
    return config | _avro("key", registry_url) | _avro("value", registry_url)


def _avro(side: str, registry_url: str) -> dict[str, str]:
    """Avro with Confluent's framing: 00, int32 schema id, body. Its default of 8-byte ids no other client reads."""
    options = {
        "url": f"{registry_url}/apis/registry/v2",
        "auto-register": "true",
        "find-latest": "true",
        "as-confluent": "true",
        "use-id": "contentId",
        "headers.enabled": "false",
    }
    named = {f"{side}.converter.apicurio.registry.{name}": value for name, value in options.items()}
    return {f"{side}.converter": _CONVERTER, **named}


def register(connect: ConnectEndpoint, name: str, config: dict[str, str], *, timeout_s: float = 60.0) -> None:
    """Create or change the connector, start it again where it had failed, and wait until its task runs.

    From then on its slot is there: no later change is missed. StackError, with the failure's cause, when it failed.
    """
    deadline = time.monotonic() + timeout_s
    path = f"/connectors/{name}/config"
    while True:
        answer = _ask(connect, "PUT", path, config)
        if answer.status in (200, 201):
            break
        if answer.status != 409 or time.monotonic() > deadline:  # 409: the worker's group is being rebalanced
            raise StackError(f"Connect refused the connector {name}: {_reason(answer)}", hint="check its configuration")
        time.sleep(0.2)
    if answer.status == 200:  # it was there; what failed earlier stays failed unless it is asked to start again
        _ask(connect, "POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed=true")
    while not _is_running(connect, name):
        if time.monotonic() > deadline:
            raise StackError(
                f"the connector {name} did not run within {timeout_s:.0f} s",
                hint=f"ask Connect for /connectors/{name}/status and see its log",
            )
        time.sleep(0.1)


def unregister(connect: ConnectEndpoint, name: str) -> None:
    """Delete the connector; its replication slot stays. No error when it isn't there."""
    answer = _ask(connect, "DELETE", f"/connectors/{name}")
    if answer.status not in (204, 404):
        raise StackError(f"Connect did not delete the connector {name}: {_reason(answer)}", hint="try again")


def status(connect: ConnectEndpoint, name: str) -> dict[str, Any]:
    """What Connect says of the connector: `{"connector": {"state"}, "tasks": [{"state", "trace"}]}`; {} if unknown."""
    answer = _ask(connect, "GET", f"/connectors/{name}/status")
    return dict(msgspec.json.decode(answer.body)) if answer.status == 200 else {}


def restart_failed(connect: ConnectEndpoint, expected: Iterable[str] = ()) -> dict[str, str]:
    """The connectors that don't run, each with the cause; those that have failed are started again.

    Connect never does it by itself: a task that couldn't reach the registry once stays FAILED for good (KIP-745). One
    that somebody paused, stopped or deleted (`expected` are those that must be there) is only told.
    """
    answer = _ask(connect, "GET", "/connectors?expand=status")
    if answer.status != 200:
        raise StackError(f"Connect doesn't say how its connectors are: {_reason(answer)}", hint="see its log")
    found = msgspec.json.decode(answer.body)
    idle = {name: "Connect doesn't know it; `taprail init` registers it" for name in expected if name not in found}
    for name, told in found.items():
        parts = [told["status"]["connector"], *told["status"]["tasks"]]
        states = {part["state"] for part in parts}
        if "FAILED" in states:
            idle[name] = [_cause(part) for part in parts if part["state"] == "FAILED"][-1]
            _ask(connect, "POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed=true")
        elif by_hand := states & {"PAUSED", "STOPPED"}:
            idle[name] = f"somebody has {min(by_hand).lower()} it"
    return idle


def _cause(part: dict[str, Any]) -> str:
    """The last cause in a failed part's stack trace."""
    trace = part.get("trace", "")
    causes = re.findall(r"^Caused by: (.*)$", trace, re.MULTILINE)
    return str(causes[-1] if causes else trace.partition("\n")[0])


def _is_running(connect: ConnectEndpoint, name: str) -> bool:
    found = status(connect, name)
    if not found:
        return False
    parts = [found["connector"], *found["tasks"]]
    for part in parts:
        if part["state"] == "FAILED":
            raise StackError(
                f"the connector {name} failed: {_cause(part)}",
                hint="is the database up, its publication there, and may the user replicate?",
            )
    return len(parts) > 1 and all(part["state"] == "RUNNING" for part in parts)


def _ask(connect: ConnectEndpoint, method: str, path: str, body: object = None) -> Answer:
    token = base64.b64encode(f"{connect.user}:{connect.password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    payload = None if body is None else msgspec.json.encode(body)
    try:
        return request(connect.url + path, method=method, body=payload, headers=headers, timeout_s=90.0)
    except OSError as error:
        raise StackError(f"Connect doesn't answer at {connect.url}: {error}", hint="is the stack up?") from error


def _reason(answer: Answer) -> str:
    try:
        return str(msgspec.json.decode(answer.body)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {answer.status}"
