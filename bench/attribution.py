"""Commit to attributed change, on real parts, at a modest rate, beside the raw change feed in the same run.

`TAPRAIL_TEST_ENDPOINTS=<endpoints.json>` uses a running stack instead of starting one.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
from confluent_kafka import Consumer, Producer, TopicPartition
from figures import Figures

from taprail.connectors.debezium.connector import connector_config, register, unregister
from taprail.connectors.debezium.decode import FeedDecoder
from taprail.connectors.debezium.envelope import RowChange
from taprail.connectors.kafka.admin import delete_topics, ensure_change_feed, provision
from taprail.connectors.kafka.registry import Registry, frame, unframe
from taprail.connectors.local.stack import LocalStack
from taprail.connectors.postgres.onboard import Onboarding, apply, prepare
from taprail.schemas import avro
from taprail.schemas import mark as marks
from taprail.schemas.endpoints import Endpoints, read_endpoints
from taprail.schemas.envelope import Sealer
from taprail.schemas.mark import Mark
from taprail.schemas.records import Change, Person, RelationUse, Statement
from taprail.streams.attribution.join import Feed
from taprail.streams.attribution.run import Job, run_attribution

RATE, SECONDS, WARM_UP = 100, 15, 200
KEY = secrets.token_bytes(32)
ANN = Person("ann", "Ann", "person")
TAP = f"tap-{secrets.token_hex(4)}"


@contextlib.contextmanager
def stack() -> Iterator[Endpoints]:
    running = os.environ.get("TAPRAIL_TEST_ENDPOINTS")
    if running:
        yield read_endpoints(Path(running))
        return
    with tempfile.TemporaryDirectory(prefix="taprail-bench-") as home, LocalStack(Path(home)) as local:
        provision(local.endpoints.kafka)
        yield local.endpoints


class Watch:
    """Notes when each row, by its id, came out of a topic."""

    def __init__(self, config: dict[str, Any], topic: str, row_of: Callable[[bytes], int | None]) -> None:
        self.seen: dict[int, float] = {}
        self._row_of = row_of
        more = {"group.id": f"taprail-stream-{TAP}-watch", "isolation.level": "read_committed", "fetch.wait.max.ms": 10}
        self._consumer = Consumer({**config, **more})
        end = self._consumer.get_watermark_offsets(TopicPartition(topic, 0), 10)[1]
        self._consumer.assign([TopicPartition(topic, 0, end)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                now_s = time.monotonic()
                if (row := self._row_of(message.value() or b"")) is not None:
                    self.seen[row] = now_s

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()


def attribute(endpoints: Endpoints, feed: Feed, mark_key: bytes, ready: Any, stop: Any) -> None:
    """The attribution role, in a process of its own."""
    job = Job(
        endpoints.kafka.client_config("stream"),
        endpoints.registry_url,
        (feed,),
        mark_key,
        Sealer("data-bench", secrets.token_bytes(32)),
        group=f"taprail-stream-{feed.database}",
    )
    run_attribution(job, stop, ready.set)


async def load(dsn: str, database: str, producer: Producer, head: bytes) -> dict[int, float]:
    """One marked INSERT a transaction, at RATE; when each was committed."""
    connection = await asyncpg.connect(dsn)
    committed: dict[int, float] = {}
    started = time.monotonic()
    for number in range(1, WARM_UP + RATE * SECONDS + 1):
        statement = Statement(
            TAP, 1, number, time.time_ns() // 1000, "s-1", "prod", "bench", database, ANN, "",
            "allow", "", "INSERT", True, (RelationUse("public", "t", "write"),), "f", "insert", "", "1", 1, "app",
            "psql", "", "simple", 1, "carried"
        )  # fmt: skip
        producer.produce("taprail.statements", head + avro.encode(statement), "s-1")
        producer.poll(0)
        mark = marks.render(Mark(TAP, 1, number, "bench", database), KEY)
        emit = f"SELECT pg_logical_emit_message(true, 'taprail', '{mark}')"
        await connection.execute(f"BEGIN; {emit}; INSERT INTO t VALUES ({number}, 'person@mail.example'); COMMIT")
        committed[number] = time.monotonic()
        await asyncio.sleep(max(0.0, started + number / RATE - time.monotonic()))
    await connection.close()
    return committed


def measure(endpoints: Endpoints, database: str, topic: str) -> tuple[list[float], list[float]]:
    """Milliseconds from commit to the attributed change, and to the raw change feed."""
    kafka, registry = endpoints.kafka, Registry(endpoints.registry_url)
    spawn = multiprocessing.get_context("spawn")
    ready, stop = spawn.Event(), spawn.Event()
    process = spawn.Process(
        target=attribute, args=(endpoints, Feed("bench", database, "prod", topic), KEY, ready, stop)
    )
    process.start()
    ready.wait(60)
    feed_decoder, change_decoder = FeedDecoder(registry.text), avro.decoder(Change)

    def raw_row(value: bytes) -> int | None:
        event = feed_decoder.decode(None, value).event
        return int(event.after["id"]) if isinstance(event, RowChange) and event.after else None

    def attributed_row(value: bytes) -> int | None:
        change = change_decoder(unframe(value)[1])
        return int(change.key.removeprefix("id=")) if change.database == database and change.person else None

    config = kafka.client_config("stream")
    watches = [Watch(config, "taprail.changes", attributed_row), Watch(config, topic, raw_row)]
    producer = Producer({**kafka.client_config("tap"), "linger.ms": 1})
    head = frame(registry.register("taprail.Statement", avro.schema_of(Statement)))
    committed = asyncio.run(load(endpoints.postgres.dsn(database), database, producer, head))
    producer.flush(10)
    deadline = time.monotonic() + 20
    while any(len(w.seen) < len(committed) for w in watches) and time.monotonic() < deadline:
        time.sleep(0.05)
    for watch in watches:
        watch.end()
    stop.set()
    process.join(20)
    attributed, raw = ([1000 * (w.seen[n] - at) for n, at in committed.items() if n > WARM_UP] for w in watches)
    return attributed, raw


def main() -> None:
    with stack() as endpoints:
        database = f"bench_{secrets.token_hex(4)}"
        asyncio.run(execute(endpoints.postgres.dsn(), f"CREATE DATABASE {database}"))
        dsn = endpoints.postgres.dsn(database)
        asyncio.run(execute(dsn, "CREATE TABLE t (id int PRIMARY KEY, email text)"))
        asyncio.run(apply(dsn, prepare(Onboarding(database))))
        topic = ensure_change_feed(endpoints.kafka, "bench", database)
        postgres = endpoints.postgres
        config = connector_config(
            server="bench",
            database=database,
            host=postgres.host,
            port=postgres.port,
            user=postgres.superuser,
            password=postgres.password,
            registry_url=endpoints.registry_url,
        )
        try:
            register(endpoints.connect, database, config)
            attributed, raw = measure(endpoints, database, topic)
        finally:
            unregister(endpoints.connect, database)
            delete_topics(endpoints.kafka, [topic])
            asyncio.run(drop(endpoints.postgres.dsn(), database))
    out = Figures("attribution")
    for name, percent in (("p50", 50), ("p99", 99)):
        value, base = (round(statistics.quantiles(v, n=100)[percent - 1], 1) for v in (attributed, raw))
        out.figure(f"commit to attributed change, {name} at {RATE}/s", value, "ms", "to the raw change feed", base)


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


async def drop(dsn: str, database: str) -> None:
    connection = await asyncpg.connect(dsn)
    own = "FROM pg_replication_slots WHERE database = $1"
    await connection.execute(f"SELECT pg_terminate_backend(active_pid) {own.replace('$1', repr(database))} AND active")
    for _ in range(50):
        if not await connection.fetchval(f"SELECT count(*) {own} AND active", database):
            break
        await asyncio.sleep(0.1)
    await connection.execute(f"SELECT pg_drop_replication_slot(slot_name) {own.replace('$1', repr(database))}")
    await connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
    await connection.close()


if __name__ == "__main__":
    main()
