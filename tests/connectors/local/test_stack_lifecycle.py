"""One stack of its own through its life: killed with SIGKILL, started again with a port taken, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from taprail.connectors.http import request
from taprail.connectors.local.stack import LocalStack
from taprail.schemas.endpoints import Endpoints, read_endpoints
from taprail.schemas.errors import StackError

SCHEMA = {"type": "record", "name": "Kept", "fields": [{"name": "id", "type": "string"}]}


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="taprail-life-"))
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def running(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The stack as its own process, up; killed in the end if nobody stopped it."""
    command = [sys.executable, "-m", "taprail.connectors.local", "--home", str(home), "--database", "dev"]
    with (home / "output").open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + 100
            while not (home / "endpoints.json").exists():
                assert process.poll() is None and time.monotonic() < deadline, (home / "output").read_text()
                time.sleep(0.1)
            yield process
        finally:
            process.kill()


def register_schema(endpoints: Endpoints, schema: dict[str, object]) -> int:
    """The id that the registry gives this schema, by the Confluent-compatible API."""
    body = json.dumps({"schema": json.dumps(schema)}).encode()
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    answer = request(
        f"{endpoints.schema_registry_url}/subjects/kept-value/versions", method="POST", body=body, headers=headers
    )
    assert answer.status == 200, answer.body
    return int(json.loads(answer.body)["id"])


def leave_data(endpoints: Endpoints, value: bytes) -> int:
    """A record, a row and a schema; the schema's id."""
    producer = Producer(endpoints.kafka.client_config("tap"))
    producer.produce("taprail.sessions", value, partition=0)
    assert producer.flush(10) == 0
    with psycopg.connect(endpoints.postgres.dsn("dev")) as connection:
        connection.execute("CREATE TABLE kept (value bytea)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])
    return register_schema(endpoints, SCHEMA)


def assert_data_is_there(endpoints: Endpoints, value: bytes, schema_id: int) -> None:
    consumer = Consumer({**endpoints.kafka.client_config("stream"), "group.id": "taprail-stream-life"})
    consumer.assign([TopicPartition("taprail.sessions", 0, 0)])
    message = consumer.poll(20)
    assert message is not None and message.value() == value
    consumer.close()
    with psycopg.connect(endpoints.postgres.dsn("dev")) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (value,)
    assert register_schema(endpoints, {**SCHEMA, "name": "Another"}) > schema_id
    assert json.loads(request(f"{endpoints.schema_registry_url}/schemas/ids/{schema_id}").body)["schema"]
    assert register_schema(endpoints, SCHEMA) == schema_id


def assert_no_password_in(children: list[psutil.Process], endpoints: Endpoints) -> None:
    """Everybody on the machine can read command lines."""
    passwords = [*endpoints.kafka.users.values(), endpoints.postgres.password, endpoints.connect.password]
    commands = [" ".join(child.cmdline()) for child in children]
    assert any("kafka.Kafka" in command for command in commands)
    assert not [command for command in commands for password in passwords if password in command]


def wait_gone(processes: list[psutil.Process]) -> None:
    _gone, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


@pytest.mark.timeout(300)
def test_a_stack_is_killed_started_again_and_stopped(home: Path) -> None:
    value = secrets.token_bytes(16)
    with running(home) as process:
        first = read_endpoints(home / "endpoints.json")
        schema_id = leave_data(first, value)
        children = psutil.Process(process.pid).children(recursive=True)
        names = {child.name() for child in children}
        assert {"java", "postgres"} <= names and len(children) > 5
        assert sum(child.memory_info().rss for child in children) < 1.8 * 2**30
        assert_no_password_in(children, first)
        with pytest.raises(StackError, match="another stack uses"):
            LocalStack(home).start()
        os.kill(process.pid, signal.SIGKILL)
        wait_gone(children)
        (home / "endpoints.json").unlink()  # it couldn't remove it itself

    host, port = first.kafka.bootstrap.split(":")
    with socket.create_server((host, int(port))), running(home) as process:
        second = read_endpoints(home / "endpoints.json")
        assert second.kafka.bootstrap != first.kafka.bootstrap
        assert second.postgres == first.postgres
        assert_data_is_there(second, value, schema_id)
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(30) == 0
        wait_gone(children)
    assert not (home / "endpoints.json").exists()


def test_a_start_that_fails_leaves_nothing_running(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_anything: object) -> None:
        raise StackError("no", hint="test")

    monkeypatch.setattr("taprail.connectors.local.postgres.Postgres.start", fail)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    stack = LocalStack(home)
    with pytest.raises(StackError, match="no"):
        stack.start()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    with pytest.raises(StackError, match="isn't running"):
        _ = stack.endpoints
