"""SIGKILL of the attribution process under load: each committed change is told exactly once."""

from __future__ import annotations

import asyncio
import base64
import collections
import random
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Producer

from taprail.connectors.http import request
from taprail.connectors.kafka.follow import Follower
from taprail.connectors.kafka.registry import Registry, frame
from taprail.connectors.postgres.onboard import Onboarding, apply, prepare
from taprail.schemas import avro
from taprail.schemas import mark as marks
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.mark import Mark
from taprail.schemas.records import AcceptedMark, Alert, Change, Person, RelationUse, Statement
from taprail.streams.attribution.join import Feed

KILLS = 5
ROWS = 3  # of each transaction
UNMARKED = 10  # every so many transactions go round the tap
KEY, DATA_KEY, TAP = secrets.token_bytes(32), secrets.token_bytes(32), f"tap-{secrets.token_hex(4)}"
ANN = Person("ann", "Ann", "person")
PROCESS = Path(__file__).with_name("attribution_process.py")


class Load:
    """Transactions of three rows at about 100 a second, from a thread; nine in ten with a mark."""

    def __init__(self, stack: Endpoints, database: str) -> None:
        self.stop = threading.Event()
        self.marked = self.unmarked = 0
        self._stack, self._database = stack, database
        self._producer = Producer({**stack.kafka.client_config("tap"), "linger.ms": 1})
        schema_id = Registry(stack.registry_url).register("taprail.Statement", avro.schema_of(Statement))
        self._frame = frame(schema_id)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with psycopg.connect(self._stack.postgres.dsn(self._database), autocommit=True) as connection:
            while not self.stop.wait(0.01):
                number = self.marked + self.unmarked + 1
                mark = "" if number % UNMARKED == 0 else self._mark(number)
                insert = f"INSERT INTO log SELECT {number}, i FROM generate_series(1, {ROWS}) i"
                connection.execute(f"BEGIN; {mark} {insert}; COMMIT".encode())
                self.marked, self.unmarked = self.marked + bool(mark), self.unmarked + (not mark)
        self._producer.flush(10)

    def _mark(self, number: int) -> str:
        statement = Statement(
            TAP, 1, number, time.time_ns() // 1000, "s-1", "prod", "test", self._database, ANN,
            "", "allow", "", "INSERT", True, (RelationUse("public", "log", "write"),), "f", "insert", "", "1", 1, "app",
            "psql", "", "simple", 1, "carried"
        )  # fmt: skip
        self._producer.produce("taprail.statements", self._frame + avro.encode(statement), "s-1")
        self._producer.poll(0)
        text = marks.render(Mark(TAP, 1, number, "test", self._database), KEY)
        return f"SELECT pg_logical_emit_message(true, 'taprail', '{text}');"


class Scene:
    """A database under load, the attribution process's job, and a reader of committed records."""

    def __init__(self, stack: Endpoints, database: str, start_feed: Callable[[str], str]) -> None:
        self.stack, self.database = stack, database
        with psycopg.connect(stack.postgres.dsn(database), autocommit=True) as connection:
            connection.execute("CREATE TABLE log (number int, row int, PRIMARY KEY (number, row))")
        asyncio.run(apply(stack.postgres.dsn(database), prepare(Onboarding(database))))
        feed = Feed("test", database, "prod", start_feed(database))
        kinds: dict[str, type[Any]] = {
            "taprail.changes": Change,
            "taprail.marks": AcceptedMark,
            "taprail.alerts": Alert,
        }
        decoders = {topic: avro.decoder(kind) for topic, kind in kinds.items()}
        self.follower = Follower(stack.kafka.client_config("admin"), decoders)
        self.load = Load(stack, database)
        self.job: dict[str, Any] = {
            "kafka": stack.kafka.client_config("stream"),
            "registry_url": stack.registry_url,
            "feed": feed,
            "mark_key": KEY.hex(),
            "data_key": DATA_KEY.hex(),
            "group": f"taprail-stream-kill-{secrets.token_hex(4)}",
        }
        self.process = _start(self.job)

    def kill_and_start(self) -> None:
        self.end()
        self.process = _start(self.job)

    def check(self) -> None:
        self.load.stop.set()
        self.load.thread.join()
        _check(self.stack, self.database, self.follower, self.load)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def scene(stack: Endpoints, fresh_database: str, change_feed: Callable[[str], str]) -> Iterator[Scene]:
    made = Scene(stack, fresh_database, change_feed)
    yield made
    made.load.stop.set()
    made.end()
    made.follower.close()


def test_the_process_is_killed_under_load(scene: Scene) -> None:
    for _ in range(KILLS):
        time.sleep(random.uniform(0.2, 1.5))
        scene.kill_and_start()
    scene.check()


def test_the_connector_and_the_process_start_again_under_load(scene: Scene) -> None:
    """Debezium promises each change at least once: what it sends again isn't told again."""
    connect = scene.stack.connect
    token = base64.b64encode(f"{connect.user}:{connect.password}".encode()).decode()
    url = f"{connect.url}/connectors/{scene.database}/restart?includeTasks=true"
    for _ in range(2):
        time.sleep(1.5)
        assert request(url, method="POST", headers={"Authorization": f"Basic {token}"}).status in (202, 204)
        time.sleep(0.5)
        scene.kill_and_start()
    time.sleep(2)
    scene.check()


def _start(told: dict[str, Any]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(msgspec.json.encode(told) + b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"ready\n"
    return process


def _check(stack: Endpoints, database: str, follower: Follower, load: Load) -> None:
    with psycopg.connect(stack.postgres.dsn(database)) as connection:
        rows = connection.execute("SELECT number, row FROM log").fetchall()
    expected = {f"number={number},row={row}" for number, row in rows}
    assert len(expected) == (load.marked + load.unmarked) * ROWS > 300
    changes: list[Change] = []
    found: dict[type[Any], list[Any]] = {AcceptedMark: [], Alert: [], Change: changes}
    deadline = time.monotonic() + 60
    quiet_s = time.monotonic()
    # Read until all is there and a while longer: what comes twice comes late.
    while time.monotonic() < deadline and (len(changes) < len(expected) or time.monotonic() - quiet_s < 2):
        followed = follower.poll(0.1)
        if followed is not None and followed.record.database == database:
            found[type(followed.record)].append(followed.record)
            quiet_s = time.monotonic()
    counts = collections.Counter(c.key for c in changes)
    assert counts.keys() == expected, "a change is missing, or nobody made it"
    assert set(counts.values()) == {1}, "a change was told twice"
    assert len({c.change_id for c in changes}) == len(changes)
    for change in changes:
        number = int(change.key.split(",")[0].removeprefix("number="))
        unmarked = number % UNMARKED == 0
        assert change.attribution == ("unattributed" if unmarked else "statement"), change
        assert change.sequence == (0 if unmarked else number)
        assert (change.person is None) == unmarked
    assert sorted(m.sequence for m in found[AcceptedMark]) == sorted({c.sequence for c in changes} - {0})
    assert len(found[Alert]) == len({a.alert_id for a in found[Alert]}) == load.unmarked
