"""Feeds the approvals service from its topics, so that it needs no memory of its own, and publishes what it decides."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct
from msgspec.structs import replace

from taprail.connectors.kafka.follow import Follower
from taprail.schemas import avro
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import RefusedError, SignatureError
from taprail.schemas.records import Approval, ApprovalState
from taprail.streams.approvals.decide import open_decision
from taprail.streams.approvals.pending import PendingApprovals

DAY_US = 24 * 3600 * 1_000_000
BACK_US = 30 * DAY_US  # what the topics keep: the history that a request is shown with
APPROVALS, STATES, DECISIONS, GRANTS = (
    "taprail.approvals",
    "taprail.approval-states",
    "taprail.decisions",
    "taprail.grants",
)
CONTROL_TOPICS = {"decision": DECISIONS, "grant": GRANTS}
AUDIT = "taprail.audit"
_log = logging.getLogger("taprail.approvals")


def follow(
    config: Mapping[str, str | int],
    pending: PendingApprovals,
    public_keys: dict[str, Ed25519PublicKey],
    loop: asyncio.AbstractEventLoop,
    stop: threading.Event,
    changed: Callable[[str], None] = lambda approval_id: None,
    caught_up: threading.Event | None = None,
) -> None:
    """Read the topics until `stop` is set; records are taken in the service's own loop, and `changed` is told there of
    each approval that something is new of. `caught_up` is set there when all that stood there at the start is taken."""
    decoders = {
        APPROVALS: avro.decoder(Approval),
        STATES: avro.decoder(ApprovalState),
        DECISIONS: avro.decoder(SignedRecord),
    }

    def take(topic: str, record: Approval | ApprovalState | SignedRecord) -> None:
        if isinstance(record, Approval):
            is_old = record.time_us < time.time_ns() // 1000 - DAY_US
            pending.take_approval(replace(record, values=None) if is_old else record)
        elif isinstance(record, ApprovalState):
            pending.take_state(record)
        else:
            try:
                pending.take_decision(open_decision(record, public_keys))
            except SignatureError as error:
                _log.error("%s: %s", topic, error)
                return
        changed(record.key if isinstance(record, SignedRecord) else record.approval_id)

    with Follower(config, decoders, since_us=time.time_ns() // 1000 - BACK_US) as follower:
        while not stop.is_set():
            if caught_up is not None and not follower.behind():
                loop.call_soon_threadsafe(caught_up.set)
                caught_up = None
            if (followed := follower.poll(0.2)) is not None:
                loop.call_soon_threadsafe(take, followed.topic, followed.record)


class Publisher:
    """Puts records into their topics, and waits for Kafka's word before anybody is told. `frames` by record type."""

    def __init__(
        self, config: Mapping[str, str | int], frames: Mapping[type[Struct], bytes], timeout_s: float = 10.0
    ) -> None:
        self._frames = frames
        self._producer = Producer(
            {**config, "enable.idempotence": True, "message.timeout.ms": int(timeout_s * 1000)}, logger=_log
        )

    async def control(self, record: SignedRecord) -> None:
        """A signed decision or grant. Raises RefusedError where Kafka doesn't take it."""
        await self._put([(CONTROL_TOPICS[record.kind], record.key, record, "")], "the decision")

    async def approval(self, approval: Approval) -> None:
        """What somebody asks for, and into the audit log. Raises RefusedError."""
        key = approval.approval_id
        await self._put([(APPROVALS, key, approval, ""), (AUDIT, key, approval, "approval")], "the request")

    async def state(self, state: ApprovalState) -> None:
        """A step of an approval, and into the audit log. Raises RefusedError."""
        key = f"{state.approval_id}/{state.status}"
        await self._put([(STATES, key, state, ""), (AUDIT, key, state, "approval_state")], "it")

    async def _put(self, records: Sequence[tuple[str, str, Struct, str]], what: str) -> None:
        if error := await asyncio.to_thread(self._publish, records):
            raise RefusedError(f"{what} could not be published: {error}", hint="do it again when Kafka answers")

    def _publish(self, records: Sequence[tuple[str, str, Struct, str]]) -> str:
        """What went wrong, if anything did."""
        failed: list[str] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error.str())

        try:
            for topic, key, record, kind in records:
                value = self._frames[type(record)] + avro.encode(record)
                headers: list[tuple[str, str | bytes | None]] = [("kind", kind)] if kind else []
                self._producer.produce(topic, value, key.encode(), headers=headers, on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            return str(error)
        self._producer.flush()
        return failed[0] if failed else ""
