"""Feeds the approvals service from its topics, from a day back: it needs no memory of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taprail.connectors.kafka.follow import Follower
from taprail.schemas import avro
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import RefusedError, SignatureError
from taprail.schemas.records import Approval
from taprail.streams.approvals.decide import open_decision
from taprail.streams.approvals.pending import PendingApprovals

BACK_US = 24 * 3600 * 1_000_000
APPROVALS, DECISIONS = "taprail.approvals", "taprail.decisions"
_log = logging.getLogger("taprail.approvals")


def follow(
    config: Mapping[str, str | int],
    pending: PendingApprovals,
    public_keys: dict[str, Ed25519PublicKey],
    loop: asyncio.AbstractEventLoop,
    stop: threading.Event,
) -> None:
    """Read both topics until `stop` is set; records are taken in the service's own loop."""
    decoders = {APPROVALS: avro.decoder(Approval), DECISIONS: avro.decoder(SignedRecord)}

    def take(topic: str, record: Approval | SignedRecord) -> None:
        if isinstance(record, Approval):
            pending.take_approval(record)
            return
        try:
            pending.take_decision(open_decision(record, public_keys))
        except SignatureError as error:
            _log.error("%s: %s", topic, error)

    with Follower(config, decoders, since_us=time.time_ns() // 1000 - BACK_US) as follower:
        while not stop.is_set():
            if (followed := follower.poll(0.2)) is not None:
                loop.call_soon_threadsafe(take, followed.topic, followed.record)


class DecisionPublisher:
    """Puts signed decisions into their topic. Waits for Kafka's confirmation before anybody is told."""

    def __init__(self, config: Mapping[str, str | int], frame: bytes, timeout_s: float = 10.0) -> None:
        self._frame = frame
        self._producer = Producer(
            {**config, "enable.idempotence": True, "message.timeout.ms": int(timeout_s * 1000)}, logger=_log
        )

    async def __call__(self, record: SignedRecord) -> None:
        """Raises RefusedError where Kafka doesn't take it."""
        error = await asyncio.to_thread(self._publish, record)
        if error:
            raise RefusedError(f"the decision could not be published: {error}", hint="decide again")

    def _publish(self, record: SignedRecord) -> str:
        """What went wrong, if anything did."""
        failed: list[str] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error.str())

        value = self._frame + avro.encode(record)
        try:
            self._producer.produce(DECISIONS, value, record.key.encode(), on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            return str(error)
        self._producer.flush()
        return failed[0] if failed else ""
