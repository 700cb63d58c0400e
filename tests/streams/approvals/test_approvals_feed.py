"""The service's memory is its topics: what stands there is read again after a restart, and what is forged isn't."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time

import pytest
from confluent_kafka import Producer
from msgspec import Struct
from msgspec.structs import replace

from taprail.connectors.kafka.registry import Registry
from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints, KafkaEndpoint
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, ApprovalStatus
from taprail.streams import pipeline
from taprail.streams.approvals.feed import APPROVALS, DECISIONS, Publisher, follow
from taprail.streams.approvals.pending import PendingApprovals
from tests.fakes.approvals import PUBLIC_KEYS, STRANGER, approval, decision, signed

WAIT_SECONDS = 20.0


def held() -> Approval:
    """One that no other test's records are about."""
    return approval(approval_id=f"tap-{secrets.token_hex(6)}-7-12")


class Topics:
    def __init__(self, stack: Endpoints) -> None:
        self.stack = stack
        self.frames = pipeline.register(Registry(stack.registry_url).register).plain
        self.publish = Publisher(stack.kafka.client_config("agents"), self.frames).control

    def put(self, topic: str, record: Struct, key: str) -> None:
        role = "stream" if topic == APPROVALS else "agents"
        producer = Producer(self.stack.kafka.client_config(role))  # type: ignore[arg-type]
        producer.produce(topic, self.frames[type(record)] + avro.encode(record), key)
        assert producer.flush(10) == 0

    async def read(self, *expected: tuple[Approval, ApprovalStatus]) -> PendingApprovals:
        """What a service that starts now comes to know; returns when it knows what is expected."""
        pending, stop = PendingApprovals(), threading.Event()
        arguments = (self.stack.kafka.client_config("agents"), pending, PUBLIC_KEYS, asyncio.get_running_loop(), stop)
        following = asyncio.create_task(asyncio.to_thread(follow, *arguments))
        end = time.monotonic() + WAIT_SECONDS
        try:
            while not all(state_of(pending, of) == state for of, state in expected):
                assert time.monotonic() < end, [state_of(pending, of) for of, _ in expected]
                assert not following.done(), following.exception()
                await asyncio.sleep(0.05)
        finally:
            stop.set()
            await following
        return pending


def state_of(pending: PendingApprovals, of: Approval) -> ApprovalStatus | None:
    try:
        return pending.get(of.approval_id).state
    except RefusedError:
        return None


@pytest.fixture(scope="module")
def topics(stack: Endpoints) -> Topics:
    return Topics(stack)


async def test_decisions_are_read_again_and_forgeries_are_not(topics: Topics) -> None:
    """The last one's decision comes behind the forgeries, so they were read when it is known."""
    forged, denied, last = held(), held(), held()
    for one in (forged, denied, last):
        topics.put(APPROVALS, one, one.approval_id)
    good = signed(decision(forged))
    for record in (
        signed(decision(forged), STRANGER),
        signed(decision(forged), STRANGER, "stranger"),
        replace(good, signature=b""),
        replace(good, key=last.approval_id),
        signed(decision(forged, binding="another")),
    ):
        topics.put(DECISIONS, record, record.key)
    await topics.publish(signed(decision(denied, "deny")))
    await topics.publish(signed(decision(denied, "approve")))
    await topics.publish(signed(decision(last)))
    await topics.read((forged, "requested"), (denied, "refused"), (last, "approved"))


async def test_a_broker_that_is_not_there_is_told(topics: Topics) -> None:
    nowhere = KafkaEndpoint("127.0.0.1:1", topics.stack.kafka.users, topics.stack.kafka.security_protocol)
    config = {**nowhere.client_config("agents"), "log_level": 0}
    publish = Publisher(config, topics.frames, timeout_s=0.5).control
    with pytest.raises(RefusedError, match="could not be published") as caught:
        await publish(signed(decision(held())))
    assert caught.value.hint == "do it again when Kafka answers"
