"""The statement path's speed, exactly once: the shipped pipeline beside a plain loop that decodes and encodes it all.

`python bench/statement_path.py [EVENTS]` sends that many records of a tap, with every shipped detection on, and writes
all that comes of them: audit, SIEM, detections, approvals, alerts, coverage. Both loops run in a process of their own,
on the same records. A stack is started unless `TAPRAIL_TEST_ENDPOINTS=<endpoints.json>` names a running one.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import psutil
from confluent_kafka import Consumer, Message, TopicPartition
from figures import Figures
from msgspec import Struct, json
from traffic import LARGE_READ_ROWS, Traffic

from taprail.connectors.kafka.admin import provision
from taprail.connectors.kafka.loop import Loop, Out
from taprail.connectors.kafka.registry import Registry, unframe
from taprail.connectors.local.stack import LocalStack
from taprail.connectors.siem.ocsf import datastore_activity
from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints, read_endpoints
from taprail.schemas.envelope import Sealer
from taprail.schemas.records import Outcome, Session, Statement, statement_id
from taprail.streams import pipeline
from taprail.streams.detections.found import detection_of
from taprail.streams.identity.enrich import Directory, enrich
from taprail.streams.pipeline import Pipeline

EVENTS = 300_000
PLAIN_EVENTS_MAX = 200_000  # more doesn't change its rate
RATE, LATENCY_SECONDS, WARM_UP_SECONDS = 2_000, 10, 3
PLAIN = "every field decoded and encoded"
RECORDS: dict[str, type[Struct]] = {"statement": Statement, "outcome": Outcome, "session": Session}


class PlainPipeline(Pipeline):
    """The baseline: the library decodes each record whole, and encodes the enriched record whole."""

    def _tap_record(
        self, kind: str, message: Message, now_us: int, covered: dict[tuple[str, int], list[int]], out: list[Out]
    ) -> None:
        body = unframe(message.value())[1]
        whole, enriched = _schemas(kind)
        record: Any = fastavro.schemaless_reader(io.BytesIO(body), whole, None)
        tap, epoch, sequence = record["tap"], record["epoch"], record["sequence"]
        if not self._seen[message.topic() or "", message.partition() or 0].new(tap, epoch, sequence):
            return
        covered.setdefault((tap, epoch), []).append(sequence)
        found = [f for rule in self._rules[kind] if (f := rule(record)) is not None]
        enrichment = enrich(record, self._directory, tuple(f.rule for f in found), now_us)
        encoded = io.BytesIO()
        fastavro.schemaless_writer(encoded, enriched, record | avro.plain(enrichment))
        value = self._frames.enriched[kind] + encoded.getvalue()
        key = statement_id(tap, epoch, sequence).encode()
        out.append(Out("taprail.audit", key, value, (("kind", kind.encode()),)))
        for each in found:
            self._detected(each, detection_of(each, record, kind), out)
        if kind == "statement":
            out.append(Out("taprail.siem", message.key() or b"", json.encode(datastore_activity(record))))
            if record["action"] == "hold":
                self._held(self._decode_statement(body), out)


@cache
def _schemas(kind: str) -> tuple[Any, Any]:
    record = RECORDS[kind]
    return fastavro.parse_schema(avro.schema_of(record)), fastavro.parse_schema(avro.enriched_schema_of(record))


class Counted:
    """A pipeline that ends its loop after `count` records, and notes memory on the way."""

    def __init__(self, inner: Pipeline, count: int, stop: Any) -> None:
        self._inner, self._count, self._stop = inner, count, stop
        self.restore, self.forget, self.keep = inner.restore, inner.forget, inner.keep
        self.begun_s, self.begun_cpu_s, self.done = 0.0, 0.0, 0
        self.memory: list[tuple[int, int]] = []  # (records so far, resident bytes)
        self._process = psutil.Process()

    def process(self, messages: Sequence[Message]) -> list[Out]:
        self.begun_s = self.begun_s or time.perf_counter()
        self.begun_cpu_s = self.begun_cpu_s or time.process_time()
        out = self._inner.process(messages)
        self.done += len(messages)
        self.memory.append((self.done, self._process.memory_info().rss))
        if self.done >= self._count:
            self._stop.set()
        return out

    def growth_bytes(self) -> int:
        """What was added in the second half."""
        half = max((memory for done, memory in self.memory if done <= self._count / 2), default=0)
        return max((memory for done, memory in self.memory if done > self._count / 2), default=half) - half


class Ran(Struct, frozen=True):
    """What a loop took: seconds, seconds of all its threads' CPU, and bytes of memory added in the second half."""

    seconds: float
    cpu_seconds: float
    growth_bytes: int


def serve(endpoints: Endpoints, group: str, plain: bool, count: int, ready: Any, stop: Any, answer: Any) -> None:
    """The loop, in a process of its own; it answers what it took."""
    frames = pipeline.register(Registry(endpoints.registry_url).register)
    sealer = Sealer("data-bench", secrets.token_bytes(32))
    step = Counted((PlainPipeline if plain else Pipeline)(frames, Directory({}), sealer, LARGE_READ_ROWS), count, stop)
    Loop(endpoints.kafka.client_config("stream"), group, "1", pipeline.TOPICS, lambda: step).run(stop, ready.set)
    seconds, cpu_seconds = time.perf_counter() - step.begun_s, time.process_time() - step.begun_cpu_s
    answer.put(Ran(seconds, cpu_seconds, step.growth_bytes()))


@contextlib.contextmanager
def serving(endpoints: Endpoints, group: str, plain: bool, count: int = 1 << 60) -> Iterator[Any]:
    spawn = multiprocessing.get_context("spawn")
    ready, stop, answer = spawn.Event(), spawn.Event(), spawn.Queue()
    process = spawn.Process(target=serve, args=(endpoints, group, plain, count, ready, stop, answer))
    process.start()
    try:
        if not ready.wait(60):
            sys.exit("the loop didn't start: see what it wrote")
        yield answer
        stop.set()
        process.join(60)
    finally:
        process.kill()


def group_at_the_end(endpoints: Endpoints) -> str:
    """A new consumer group that stands at the end of what is there."""
    group = f"taprail-stream-bench-{secrets.token_hex(4)}"
    consumer = Consumer({**endpoints.kafka.client_config("stream"), "group.id": group})
    topics = consumer.list_topics(timeout=10).topics
    places = [TopicPartition(topic, p) for topic in pipeline.TOPICS for p in topics[topic].partitions]
    for place in places:
        place.offset = consumer.get_watermark_offsets(place, 10)[1]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()
    return group


class Audit:
    """A read_committed reader of the audit topic, in a thread: when each of a tap's records first came, and repeats."""

    def __init__(self, endpoints: Endpoints, tap: str, count: int) -> None:
        self.seen_s = [0.0] * (count + 1)
        self.seen = self.repeated = 0
        self._prefix = f"{tap}/1/".encode()
        own = {"group.id": "taprail-viewer-bench", "isolation.level": "read_committed", "fetch.wait.max.ms": 10}
        self._consumer = Consumer({**endpoints.kafka.client_config("viewer"), **own})
        end = self._consumer.get_watermark_offsets(TopicPartition(pipeline.AUDIT, 0), 10)[1]
        self._consumer.assign([TopicPartition(pipeline.AUDIT, 0, end)])

    def read(self, timeout_s: float) -> None:
        """Until every record has come, or `timeout_s` is over."""
        deadline = time.monotonic() + timeout_s
        while self.seen < len(self.seen_s) - 1 and time.monotonic() < deadline:
            for message in self._consumer.consume(5_000, 0.02):
                key = message.key() or b""
                if message.error() is None and key.startswith(self._prefix):
                    self._note(int(key[len(self._prefix) :]))

    def _note(self, sequence: int) -> None:
        if self.seen_s[sequence]:
            self.repeated += 1
        else:
            self.seen += 1
            self.seen_s[sequence] = time.time()

    def close(self) -> None:
        self._consumer.close()
        if self.repeated or self.seen < len(self.seen_s) - 1:
            sys.exit(f"not exactly once: {self.seen} of {len(self.seen_s) - 1} records, {self.repeated} came twice")


def throughput(endpoints: Endpoints, out: Figures, count: int, *, alike: bool) -> None:
    """Both loops on the same records, the shipped one first."""
    traffic = Traffic(endpoints, alike)
    groups = [group_at_the_end(endpoints) for _ in range(2)]
    audit = Audit(endpoints, traffic.tap, count)
    traffic.send(count)
    traffic.flush()
    counts, ran = (count, min(count, PLAIN_EVENTS_MAX)), []
    for plain in (False, True):
        with serving(endpoints, groups[plain], plain, counts[plain]) as answer:
            ran.append(answer.get(timeout=60 + count / 2_000))
        if not plain:
            audit.read(60 + count / 20_000)
            audit.close()
    name = f"{'exactly once' if alike else 'no two statements alike'}, {traffic.mean_bytes:.0f} bytes a record"
    rates = [round(n / each.seconds) for n, each in zip(counts, ran, strict=True)]
    out.figure(name, rates[0], "events/s", PLAIN, rates[1])
    cpu = [round(1e6 * each.cpu_seconds / n, 1) for n, each in zip(counts, ran, strict=True)]
    out.figure(f"{name}, CPU of all threads", cpu[0], "us/event", PLAIN, cpu[1])
    if alike:
        added = round(ran[0].growth_bytes / 2**20, 1)
        out.figure(f"memory added in the second half of {count:,} events", added, "MiB", "at most", 16)


def latencies(endpoints: Endpoints, plain: bool) -> list[float]:
    """Milliseconds from a record's hand-over to Kafka to the read_committed reader, at RATE."""
    traffic = Traffic(endpoints)
    warm_up, count = RATE * WARM_UP_SECONDS, RATE * (WARM_UP_SECONDS + LATENCY_SECONDS)
    sent = [0.0] * (count + 1)
    with serving(endpoints, group_at_the_end(endpoints), plain):
        audit = Audit(endpoints, traffic.tap, count)
        reader = threading.Thread(target=audit.read, args=(LATENCY_SECONDS + WARM_UP_SECONDS + 20,))
        reader.start()
        begun = time.perf_counter()
        while traffic.sequence < count:
            time.sleep(0.002)
            due = int((time.perf_counter() - begun) * RATE)
            traffic.send(min(due, count) - traffic.sequence, sent.__setitem__)
        traffic.flush()
        reader.join()
        audit.close()
    return [1000 * (audit.seen_s[n] - sent[n]) for n in range(warm_up + 1, count + 1)]


@contextlib.contextmanager
def stack() -> Iterator[Endpoints]:
    running = os.environ.get("TAPRAIL_TEST_ENDPOINTS")
    if running:
        yield read_endpoints(Path(running))
        return
    with tempfile.TemporaryDirectory(prefix="taprail-bench-") as home, LocalStack(Path(home)) as local:
        provision(local.endpoints.kafka)
        yield local.endpoints


def main() -> None:
    count = int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else EVENTS
    out = Figures("statement_path")
    with stack() as endpoints:
        throughput(endpoints, out, count, alike=True)
        throughput(endpoints, out, min(count, PLAIN_EVENTS_MAX), alike=False)
        shipped, plain = (latencies(endpoints, plain) for plain in (False, True))
    for percent in (50, 99):
        values = [round(statistics.quantiles(v, n=100)[percent - 1], 1) for v in (shipped, plain)]
        out.figure(f"tap's record to committed audit, p{percent} at {RATE:,}/s", values[0], "ms", PLAIN, values[1])


if __name__ == "__main__":
    main()
