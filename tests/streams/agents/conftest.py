"""The Faust application on a real broker, with alerts to a receiver that checks signatures."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.kafka.registry import Registry
from taprail.connectors.kafka.topics import AGENTS_PREFIX
from taprail.connectors.retry import Retry
from taprail.connectors.webhook import WebhookSink
from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.envelope import Sealer
from taprail.schemas.records import Alert, DeadLetter, Detection
from taprail.streams import pipeline
from taprail.streams.agents.app import Outbox, application, shut_down
from taprail.streams.agents.approvals import watch_approvals
from taprail.streams.agents.correlations import watch_correlations
from taprail.streams.agents.coverage import watch_coverage
from taprail.streams.agents.deliver import Sink, deliver
from taprail.streams.agents.grants import watch_grants
from taprail.streams.agents.refusals import watch_refusals
from taprail.streams.policy.ruling import PolicySet
from tests.fakes.webhook import FakeReceiver

CONTROL = Ed25519PrivateKey.generate()
SEALER = Sealer("data-test", secrets.token_bytes(32))
FOLLOWED = {"taprail.alerts": Alert, "taprail.detections": Detection}
CONSUMED = ("alerts", "approval-states", "approvals", "coverage", "decisions", "detections", "grants", "matches")
WAIT_SECONDS = 60.0
SECRET = "a secret that both sides know"


class Scene:
    """What the tests write, and what came of it; `tag` tells this test's records from any other's."""

    def __init__(self, stack: Endpoints, receiver: FakeReceiver) -> None:
        self.stack, self.receiver = stack, receiver
        self.tag = secrets.token_hex(4)
        self.frames = pipeline.register(Registry(stack.registry_url).register).plain
        self._producers: dict[str, Producer] = {}
        self.policies = PolicySet([])

    def put(self, role: str, topic: str, record: Struct | bytes, key: str = "") -> None:
        """Write it as `role`; returns when Kafka has it."""
        config = self.stack.kafka.client_config(role)  # type: ignore[arg-type]
        producer = self._producers.setdefault(role, Producer({**config, "linger.ms": 1}))
        value = record if isinstance(record, bytes) else self.frames[type(record)] + avro.encode(record)
        producer.produce(topic, value, key)
        assert producer.flush(10) == 0

    def application(self, sink: Sink | None = None) -> Any:
        app = application(self.stack.kafka.client_config("agents"), tempfile.gettempdir())
        outbox = Outbox(app, self.frames, SEALER)
        watch_approvals(app, outbox, {"control-1": CONTROL.public_key()}, "https://approvals.example")
        watch_grants(app, outbox, {"control-1": CONTROL.public_key()}, "https://approvals.example")
        watch_coverage(app, outbox, lambda now_s: now_s)
        watch_refusals(app, outbox)
        watch_correlations(app, outbox, lambda: self.policies)
        deliver(app, outbox, [sink or self.sink()])
        return app

    def sink(self) -> Sink:
        return WebhookSink(self.receiver.url, SECRET, Retry(3, 0.05, 0.2))

    @asynccontextmanager
    async def running(self, sink: Sink | None = None) -> AsyncIterator[Any]:
        app, ready = self.application(sink), asyncio.Event()

        async def started() -> None:
            ready.set()

        app.on_startup_finished = started
        task = asyncio.ensure_future(app.start())
        await self.until(lambda: ready.is_set() or app.crash_reason, bool)
        assert app.crash_reason is None
        try:
            yield app
        finally:
            await shut_down(app)
            await asyncio.wait({task}, timeout=WAIT_SECONDS)

    async def told(self, count: int, rule: str = "") -> list[dict[str, Any]]:
        """This test's alerts at the receiver, when there are at least `count`."""
        return await self.until(lambda: self._mine(rule), lambda found: len(found) >= count)

    def _mine(self, rule: str) -> list[dict[str, Any]]:
        alerts = [payload["data"] for payload in list(self.receiver.received)]
        return [a for a in alerts if self.tag in str(a) and a["rule"].startswith(rule)]

    async def until(self, look: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + WAIT_SECONDS
        while not wanted(seen := look()):
            assert time.monotonic() < deadline, f"not within {WAIT_SECONDS} s; last seen: {seen}"
            await asyncio.sleep(0.05)
        return seen

    def follow(self, *topics: str) -> Follower:
        """Committed records from now on."""
        decoders = {topic: avro.decoder(FOLLOWED[topic]) for topic in topics}
        return Follower(self.stack.kafka.client_config("viewer"), decoders)

    def follow_dead_letters(self) -> Follower:
        decoders = {"taprail.dead-letters": avro.decoder(DeadLetter)}
        return Follower(self.stack.kafka.client_config("admin"), decoders)


@pytest.fixture(scope="session")
def fresh_group(stack: Endpoints) -> None:
    """The topics are shared: what other tests have left there isn't the agents' business here."""
    consumer = Consumer({**stack.kafka.client_config("agents"), "group.id": AGENTS_PREFIX})
    places = [TopicPartition(f"taprail.{topic}", 0) for topic in CONSUMED]
    ends = [TopicPartition(p.topic, 0, consumer.get_watermark_offsets(p, 10.0)[1]) for p in places]
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            consumer.commit(offsets=ends, asynchronous=False)
            break
        except KafkaException:  # a static member of before is in the group until its session ends
            assert time.monotonic() < deadline, "another application is in the agents' group"
            time.sleep(0.5)
    consumer.close()


@pytest.fixture
def scene(stack: Endpoints, fresh_group: None) -> Any:
    with FakeReceiver(SECRET) as receiver:
        yield Scene(stack, receiver)
