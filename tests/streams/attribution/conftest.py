"""A database with a change feed, a tap's part played by hand, and the attribution process in a thread."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Producer

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.kafka.registry import Registry, frame
from taprail.connectors.postgres.onboard import Onboarding, apply, prepare
from taprail.schemas import avro
from taprail.schemas import mark as marks
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.envelope import Sealer
from taprail.schemas.mark import Mark
from taprail.schemas.records import Alert, Change, Detection, Person, RelationUse, Statement
from taprail.streams.attribution.join import Feed
from taprail.streams.attribution.resolve import Limits
from taprail.streams.attribution.run import Job, run_attribution

KEY = secrets.token_bytes(32)
SEALER = Sealer("data-test", secrets.token_bytes(32))
ANN = Person("ann", "Ann", "person", ("engineers",))
TABLES = """
CREATE TABLE accounts (id int PRIMARY KEY, email text, cents int);
CREATE TABLE notes (body text);
INSERT INTO accounts SELECT i, 'person' || i || '@mail.example', 100 FROM generate_series(1, 9) i;
"""


class Running:
    """Attribution in a thread, until it is stopped."""

    def __init__(self, job: Job) -> None:
        self.stop = threading.Event()
        self.errors: list[BaseException] = []
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(job, ready), daemon=True)
        self.thread.start()
        while not ready.wait(0.1):
            assert self.thread.is_alive(), self.errors

    def _run(self, job: Job, ready: threading.Event) -> None:
        try:
            run_attribution(job, self.stop, ready.set)
        except BaseException as error:  # handed to the test
            self.errors.append(error)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive() and not self.errors, self.errors


class World:
    """What the tests do: write with and without marks, publish statements, and read what attribution says."""

    def __init__(self, stack: Endpoints, database: str, topic: str) -> None:
        self.stack, self.database = stack, database
        self.feed = Feed("test", database, "prod", topic, ("migrations",))
        self.tap = f"tap-{secrets.token_hex(4)}"
        self.sequence = 0
        self.group = f"taprail-stream-test-{secrets.token_hex(4)}"
        self.connection = psycopg.connect(stack.postgres.dsn(database), autocommit=True)
        self._registry = Registry(stack.registry_url)
        self._producer = Producer({**stack.kafka.client_config("tap"), "linger.ms": 0})
        kinds = {"changes": Change, "alerts": Alert, "detections": Detection}
        decoders: dict[str, Callable[[bytes], Any]] = {f"taprail.{n}": avro.decoder(k) for n, k in kinds.items()}
        self.follower = Follower(stack.kafka.client_config("viewer"), decoders)
        self.seen: list[Any] = []
        self.processes: list[Running] = []

    def start(self) -> Running:
        """Attribution in a thread until the test ends."""
        self.processes.append(Running(self.job()))
        return self.processes[-1]

    def job(self, instance: str = "1") -> Job:
        kafka = self.stack.kafka.client_config("stream")
        limits = Limits(statement_s=3.0)
        return Job(kafka, self.stack.registry_url, (self.feed,), KEY, SEALER, instance, limits, self.group)

    def mark(self, **changes: Any) -> str:
        """SQL of a mark; its statement is published, unless `publish=False`."""
        publish = changes.pop("publish", True)
        self.sequence += 1
        if publish:
            self.publish(self.statement(self.sequence, **changes))
        return self.mark_of(self.sequence)

    def mark_of(self, sequence: int, key: bytes = KEY, database: str = "") -> str:
        text = marks.render(Mark(self.tap, 1, sequence, "test", database or self.database), key)
        return f"SELECT pg_logical_emit_message(true, '{marks.PREFIX}', '{text}');"

    def statement(self, sequence: int, **changes: Any) -> Statement:
        base = Statement(
            self.tap, 1, sequence, time.time_ns() // 1000, "s-1", "prod", "test", self.database, ANN, "ticket 7",
            "allow", "", "UPDATE", True, (RelationUse("public", "accounts", "write"),), "f00", "update", "", "1", 1,
            "app", "psql", "127.0.0.1", "simple", 1, "carried"
        )  # fmt: skip
        return msgspec.structs.replace(base, **changes)

    def publish(self, statement: Statement) -> None:
        schema_id = self._registry.register("taprail.Statement", avro.schema_of(Statement))
        self._producer.produce("taprail.statements", frame(schema_id) + avro.encode(statement), statement.session)
        self._producer.flush(10)

    def run(self, sql: str) -> None:
        self.connection.execute(sql.encode())

    def changes(self, count: int, timeout_s: float = 20.0) -> list[Change]:
        """Wait for so many changes of this database that weren't given before."""
        return self._take(Change, count, timeout_s)

    def alerts(self, count: int, timeout_s: float = 20.0) -> list[Alert]:
        return self._take(Alert, count, timeout_s)

    def _take(self, kind: type[Any], count: int, timeout_s: float) -> list[Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            found = [r for r in self.seen if isinstance(r, kind)]
            if len(found) >= count or time.monotonic() > deadline:
                break
            followed = self.follower.poll(0.1)
            if followed is not None and followed.record.database == self.database:
                self.seen.append(followed.record)
        assert len(found) == count, f"{len(found)} {kind.__name__} instead of {count}: {found}"
        self.seen = [r for r in self.seen if not isinstance(r, kind)]
        return found

    def close(self) -> None:
        for process in self.processes:
            process.end()
        self.connection.close()
        self.follower.close()


@pytest.fixture
def world(stack: Endpoints, fresh_database: str, change_feed: Callable[[str], str]) -> Iterator[World]:
    with psycopg.connect(stack.postgres.dsn(fresh_database), autocommit=True) as connection:
        connection.execute(TABLES.encode())
    asyncio.run(apply(stack.postgres.dsn(fresh_database), prepare(Onboarding(fresh_database))))
    made = World(stack, fresh_database, change_feed(fresh_database))
    yield made
    made.close()


@pytest.fixture
def running(world: World) -> Running:
    return world.start()
