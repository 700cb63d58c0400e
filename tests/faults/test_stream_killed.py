"""SIGKILL of the stream role under load: each record of the taps is in the audit topic once, and its event at the SIEM.

The role is the process that the supervisor makes, on a stack of its own. The load is what taps send: statements,
outcomes, sessions, and from time to time what they had sent already, as a spool does after a crash.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from msgspec import json, structs

from taprail.connectors.kafka.registry import Registry, frame
from taprail.connectors.local.stack import LocalStack
from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints, KafkaEndpoint
from taprail.schemas.records import Coverage, Outcome, Person, RelationUse, Session, Statement
from taprail.streams import keys
from taprail.streams.sequence import ranges
from taprail.streams.supervise import Supervisor
from tests.system.installation import eventually, new_home

KILLS, KILLS_MAX = 6, 30  # until one has cut a transaction off
TAPS = ("tap-1", "tap-2")
ANN = Person("ann", "Ann", "person")
STATEMENT = Statement(
    "", 7, 0, 0, "", "prod", "local", "orders", ANN, "", "allow", "default", "SELECT", False,
    (RelationUse("public", "orders", "read"),), "f", "SELECT 1", "", "v1", 1, "app", "psql", "", "simple", 1, "none",
)  # fmt: skip
OUTCOME = Outcome(
    "", 7, 0, 0, "", "prod", "local", "orders", ANN, "", 7, 0, "ok", "SELECT", (), 1, 10, 0, 5, "", 1, "none", "f"
)
SESSION = Session("", 7, 0, 0, "", "prod", "local", "orders", ANN, "opened", "oidc", "app", "psql", "")
TOPIC = {Statement: "taprail.statements", Outcome: "taprail.outcomes", Session: "taprail.sessions"}
CONFIG = """
databases = []
[kafka]
bootstrap = "{bootstrap}"
security = "SASL_PLAINTEXT"
[kafka.passwords]
stream = "env:STREAM_PASSWORD"
[registry]
url = "{registry_url}"
[identity]
issuer = "{issuer_url}"
[keys]
mark = "file:secrets/mark"
data = "file:secrets/data"
[keys.control_public]
control-1 = "control.pub.pem"
"""


class Load:
    """Two taps at some 500 records a second each. `sent` is how far each has come; both repeat 200 now and then."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.sent = dict.fromkeys(TAPS, 0)
        self.repeated = 0
        registry = Registry(endpoints.registry_url)
        self._frames = {r: frame(registry.register(f"taprail.{r.__name__}", avro.schema_of(r))) for r in TOPIC}
        self._producer = Producer({**endpoints.kafka.client_config("tap"), "linger.ms": 1, "enable.idempotence": True})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self._producer.flush(30) == 0

    def _run(self) -> None:
        for turn in itertools.count(1):
            if self._stop.wait(0.02):
                return
            for tap in TAPS:
                first = self.sent[tap] + 1
                if turn % 40 == 0:
                    first = max(1, first - 200)
                    self.repeated += self.sent[tap] + 1 - first
                for sequence in range(first, self.sent[tap] + 11):
                    self._send(tap, sequence)
                self.sent[tap] += 10

    def _send(self, tap: str, sequence: int) -> None:
        kind: Any = (STATEMENT, OUTCOME)[sequence % 2] if sequence % 50 else SESSION
        record = structs.replace(
            kind, tap=tap, sequence=sequence, time_us=sequence, session=f"{tap}-{sequence // 2 % 7}"
        )
        self._producer.produce(TOPIC[type(record)], self._frames[type(record)] + avro.encode(record), record.session)
        self._producer.poll(0)


class Role:
    """The stream under its supervisor."""

    def __init__(self, home: Path, endpoints: Endpoints) -> None:
        secrets = home / "secrets"
        for name in ("mark", "data"):
            keys.new_symmetric(secrets / name)
        keys.new_pair(secrets / "control.pem", home / "control.pub.pem")
        config = home / "taprail.toml"
        config.write_text(
            CONFIG.format(
                bootstrap=endpoints.kafka.bootstrap,
                registry_url=endpoints.registry_url,
                issuer_url=endpoints.issuer_url,
            )
        )
        self.supervisor = Supervisor(config, home / "run", ("stream",))

    def start(self) -> None:
        self.supervisor["stream"].start()
        self.supervisor["stream"].wait_ready()

    def kill(self) -> None:
        child = self.supervisor["stream"].child
        os.kill(child.pid, signal.SIGKILL)
        eventually(lambda: not child.running, 10, "it is dead")


class Growth:
    """Tells when a topic grows: records of a transaction are on their way, and its end isn't written yet."""

    def __init__(self, kafka: KafkaEndpoint, topic: str) -> None:
        self._place = TopicPartition(topic, 0)
        own = {**kafka.client_config("admin"), "group.id": "test-killed"}
        self._consumer = Consumer({**own, "isolation.level": "read_uncommitted"})
        self._committed = Consumer({**own, "isolation.level": "read_committed"})

    def wait(self) -> None:
        before = self._end()
        deadline = time.monotonic() + 20
        while self._end() <= before:
            assert time.monotonic() < deadline, "nothing is written"

    def is_cut(self) -> bool:
        """Whether records stand behind the last stable offset: a transaction has no end, and nobody to write it."""
        stable: int = self._committed.get_watermark_offsets(self._place, 10)[1]
        return self._end() > stable

    def _end(self) -> int:
        end: int = self._consumer.get_watermark_offsets(self._place, 10)[1]
        return end


def _read(kafka: KafkaEndpoint, topic: str, isolation: str, wanted: int = 0, seconds: float = 60.0) -> list[Any]:
    """Messages of a topic from its beginning: until so many have come, and a quiet while longer."""
    config = {"group.id": "test-killed", "isolation.level": isolation, "enable.auto.commit": False}
    consumer = Consumer({**kafka.client_config("admin"), **config})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Any] = []
    deadline, quiet = time.monotonic() + seconds, 0
    while time.monotonic() < deadline and quiet < 10:
        messages = [m for m in consumer.consume(5000, 0.2) if m.error() is None]
        found += messages
        quiet = quiet + 1 if not messages and len(found) >= wanted else 0
    consumer.close()
    return found


@pytest.fixture(scope="module")
def scene() -> Iterator[tuple[Endpoints, Role]]:
    with new_home() as home, LocalStack(home / "stack") as stack, pytest.MonkeyPatch.context() as environment:
        environment.setenv("STREAM_PASSWORD", stack.endpoints.kafka.users["stream"])
        role = Role(home, stack.endpoints)
        try:
            yield stack.endpoints, role
        finally:
            role.supervisor.stop()


@pytest.mark.timeout(240)
def test_each_record_is_kept_once_however_often_the_stream_is_killed(scene: tuple[Endpoints, Role]) -> None:
    endpoints, role = scene
    load, growth = Load(endpoints), Growth(endpoints.kafka, "taprail.audit")
    role.start()
    cut = 0
    with load:
        for kills in itertools.count(1):
            time.sleep(random.uniform(0.0, 1.5))
            growth.wait()
            role.kill()
            cut += growth.is_cut()
            role.start()
            if kills >= KILLS and (cut or kills == KILLS_MAX):
                break
    assert load.repeated > 1000, "no spool repeated: half of the test is missing"
    expected = {f"{tap}/7/{n}".encode() for tap, last in load.sent.items() for n in range(1, last + 1)}

    audit = _read(endpoints.kafka, "taprail.audit", "read_committed", len(expected))
    counts = Counter(message.key() for message in audit)
    assert not expected - counts.keys(), "records are missing"
    assert counts.keys() == expected, "records that nobody sent"
    assert set(counts.values()) == {1}, "a record is kept twice"

    statements = {f"{t}/7/{n}" for t, last in load.sent.items() for n in range(1, last + 1) if n % 2 == 0 and n % 50}
    events = _read(endpoints.kafka, "taprail.siem", "read_committed", len(statements))
    assert Counter(json.decode(e.value())["metadata"]["uid"] for e in events) == dict.fromkeys(statements, 1)

    decode = avro.decoder(Coverage)
    covered: dict[str, list[int]] = {tap: [] for tap in TAPS}
    for message in _read(endpoints.kafka, "taprail.coverage", "read_committed"):
        coverage = decode(message.value()[5:])
        covered[coverage.tap] += [n for r in coverage.ranges for n in range(r.first, r.last + 1)]
    assert {tap: ranges(numbers) for tap, numbers in covered.items()} == {t: [(1, n)] for t, n in load.sent.items()}
    assert all(len(numbers) == len(set(numbers)) for numbers in covered.values())

    assert len(_read(endpoints.kafka, "taprail.audit", "read_uncommitted")) > len(audit), (
        "no transaction was cut off in the middle: the kills hit nothing"
    )
    assert _read(endpoints.kafka, "taprail.dead-letters", "read_committed") == []
