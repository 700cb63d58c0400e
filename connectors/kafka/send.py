"""One record to Kafka, and its confirmation: for commands, which have no stream of them."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from taprail.schemas.errors import StackError

TIMEOUT_MS = 10_000


def send(config: Mapping[str, str | int], topic: str, key: str, value: bytes) -> None:
    """Returns when every in-sync replica has it. Raises StackError where Kafka doesn't take it in time."""
    failed: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    producer = Producer({**config, "enable.idempotence": True, "message.timeout.ms": TIMEOUT_MS})
    try:
        producer.produce(topic, value, key.encode(), on_delivery=delivered)
    except KafkaException as error:
        failed.append(str(error))
    producer.flush()
    if failed:
        raise StackError(f"Kafka didn't take the record {key!r} for {topic}: {failed[0]}", hint="is the broker up?")
