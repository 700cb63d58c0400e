"""A real cluster as `topics.py` describes it: what is allowed works, and nothing else does."""

from __future__ import annotations

import secrets

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from taprail.connectors.kafka.admin import admin_client, delete_topics, ensure_access, ensure_change_feed, provision
from taprail.connectors.kafka.topics import TOPICS, Rule, access_rules
from taprail.schemas.endpoints import Endpoints, Role


def produce(stack: Endpoints, role: Role, topic: str, value: bytes = b"x") -> KafkaError | None:
    """Produce one record as `role`; the broker's error, or None."""
    errors: list[KafkaError | None] = []
    producer = Producer({**stack.kafka.client_config(role), "message.timeout.ms": 5_000, "log_level": 0})
    producer.produce(topic, value, on_delivery=lambda error, _message: errors.append(error))
    producer.flush(10)
    return errors[0]


def read_all(stack: Endpoints, role: Role, topic: str, group: str = "") -> list[bytes]:
    """All records of a topic as `role`; KafkaException when the broker refuses."""
    settings = {"group.id": group or f"taprail-{role}-{secrets.token_hex(6)}", "enable.auto.commit": False}
    client = stack.kafka.client_config(role)
    consumer = Consumer({**client, **settings, "enable.partition.eof": True, "log_level": 0})
    try:
        metadata = consumer.list_topics(topic, timeout=10).topics[topic]
        if metadata.error is not None:  # it isn't even shown to this role
            raise KafkaException(metadata.error)
        partitions = range(len(metadata.partitions))
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        values, ended = [], 0
        while ended < len(partitions):
            message = consumer.poll(10)
            assert message is not None, "the broker did not answer"
            error = message.error()
            if error is None:
                values.append(message.value() or b"")
            elif error.code() == KafkaError._PARTITION_EOF:
                ended += 1
            else:
                raise KafkaException(error)
        return values
    finally:
        consumer.close()


def test_every_topic_is_there_as_described(stack: Endpoints) -> None:
    found = admin_client(stack.kafka).list_topics(timeout=10).topics
    assert {t.name: t.partitions for t in TOPICS}.items() <= {n: len(m.partitions) for n, m in found.items()}.items()


def test_a_tap_writes_and_the_stream_reads(stack: Endpoints) -> None:
    value = secrets.token_bytes(16)
    assert produce(stack, "tap", "taprail.statements", value) is None
    assert value in read_all(stack, "stream", "taprail.statements")


@pytest.mark.parametrize("role", ["viewer", "tap", "agents", "ledger", "connect"])
def test_raw_changes_are_closed_to(stack: Endpoints, role: Role) -> None:
    topic = ensure_change_feed(stack.kafka, "closed", secrets.token_hex(6))
    assert produce(stack, "connect", topic, b"personal data") is None
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        read_all(stack, role, topic, group="taprail-connect" if role == "connect" else "")
    assert read_all(stack, "stream", topic) == [b"personal data"]
    delete_topics(stack.kafka, [topic])


@pytest.mark.parametrize(
    ("role", "topic"),
    [
        ("viewer", "taprail.decisions"),
        ("tap", "taprail.decisions"),
        ("tap", "taprail.audit"),
        ("connect", "taprail.changes"),
        ("ledger", "taprail.audit"),
        ("stream", "taprail.policies"),
    ],
)
def test_a_role_may_not_write(stack: Endpoints, role: Role, topic: str) -> None:
    error = produce(stack, role, topic)
    assert error is not None
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_topic_that_is_not_there_is_not_made(stack: Endpoints) -> None:
    name = f"cdc.{secrets.token_hex(6)}"
    assert produce(stack, "connect", name) is not None
    assert name not in admin_client(stack.kafka).list_topics(timeout=10).topics


def test_one_role_cannot_fence_anothers_transactions(stack: Endpoints) -> None:
    def begin(role: Role) -> None:
        settings = {"transactional.id": "taprail-stream-fence", "log_level": 0}
        Producer({**stack.kafka.client_config(role), **settings}).init_transactions(20)

    begin("stream")
    with pytest.raises(KafkaException, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
        begin("tap")


@pytest.mark.parametrize(
    "change",
    [{"sasl.password": "wrong"}, {"security.protocol": "PLAINTEXT"}],
    ids=["wrong password", "no login"],
)
def test_nobody_enters_without_the_password(stack: Endpoints, change: dict[str, str]) -> None:
    client = AdminClient({**stack.kafka.client_config("admin"), **change, "log_level": 0})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=2)


def test_provisioning_again_changes_nothing_and_removes_what_was_added(stack: Endpoints) -> None:
    client = admin_client(stack.kafka)
    ensure_access(client, access_rules() | {Rule("viewer", "READ", "TOPIC", "taprail.dead-letters")})
    assert read_all(stack, "viewer", "taprail.dead-letters") is not None
    provision(stack.kafka)
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        read_all(stack, "viewer", "taprail.dead-letters")
