"""How far a group has read, as a time, on a real broker: what isn't committed isn't read."""

from __future__ import annotations

import secrets

from confluent_kafka import Consumer, Producer, TopicPartition

from taprail.connectors.kafka.admin import admin_client, delete_topics, ensure_topics
from taprail.connectors.kafka.lag import ReadUntil
from taprail.connectors.kafka.topics import Topic
from taprail.schemas.endpoints import Endpoints

NEVER = float("-inf")


def test_it_is_the_last_time_whose_records_are_all_committed(stack: Endpoints) -> None:
    name, group = f"taprail.test-{secrets.token_hex(4)}", f"taprail-stream-{secrets.token_hex(4)}"
    topic = Topic(name, ("admin",), ("admin",), partitions=2)  # type: ignore[arg-type]
    config = stack.kafka.client_config("admin")
    ensure_topics(admin_client(stack.kafka), [topic])
    producer = Producer(dict(config))
    consumer = Consumer({**config, "group.id": group, "enable.auto.commit": False})
    until = ReadUntil(config, group, [name])
    try:
        assert until.ask(1.0) == 1.0, "an empty topic has been read"
        for partition in (0, 1, 1):
            producer.produce(name, b"x", partition=partition)
        producer.flush(10)
        assert until.ask(2.0) == 1.0
        consumer.commit(offsets=[TopicPartition(name, 1, 2)], asynchronous=False)
        assert until.ask(3.0) == 1.0, "one partition hasn't been read"
        consumer.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
        producer.produce(name, b"x", partition=0)
        producer.flush(10)
        assert until.ask(4.0) == 3.0, "what came since then hasn't"
    finally:
        consumer.close()
        delete_topics(stack.kafka, [name])


def test_the_agents_may_ask_and_nobody_answers_is_no_error(stack: Endpoints) -> None:
    topics = ["taprail.statements", "taprail.outcomes", "taprail.sessions"]
    asked = ReadUntil(stack.kafka.client_config("agents"), "taprail-stream-nobody", topics)
    assert asked._ends(), "access rules let the agents see how long the taps' topics are"
    away = ReadUntil({"bootstrap.servers": "127.0.0.1:1"}, "taprail-stream", topics)
    assert away.ask(1.0) == NEVER
