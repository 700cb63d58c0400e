"""A running tap whose statements wait for Kafka: the record is there with the answer, or the statement didn't run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.records import Statement
from tests.fakes.running_tap import RunningTap

TOPIC = "taprail.statements"


class Records:
    """The statements of one tap that Kafka has, read when it is asked."""

    def __init__(self, stack: Endpoints, tap: str) -> None:
        self._tap = tap.encode()
        config = {**stack.kafka.client_config("admin"), "group.id": "test-durability", "enable.auto.commit": False}
        self._consumer = Consumer(config)
        partitions = self._consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        self._next = {
            number: self._consumer.get_watermark_offsets(TopicPartition(TOPIC, number), 10)[1] for number in partitions
        }
        self._consumer.assign([TopicPartition(TOPIC, number, offset) for number, offset in self._next.items()])
        self._decode = avro.decoder(Statement)
        self.texts: list[str] = []

    def now(self) -> list[str]:
        """Everything up to the ends that the partitions have at this moment."""
        ends = {n: self._consumer.get_watermark_offsets(TopicPartition(TOPIC, n), 10)[1] for n in self._next}
        while any(self._next[number] < end for number, end in ends.items()):
            for message in self._consumer.consume(1000, 0.2):
                self._next[message.partition() or 0] = (message.offset() or 0) + 1
                if self._tap in (message.value() or b""):
                    self.texts.append(self._decode((message.value() or b"")[5:]).normalized)
        return self.texts


@pytest.mark.parametrize("where", ["tap", "database"])
def test_a_record_is_in_kafka_when_its_statement_is_answered(
    stack: Endpoints, tmp_path: Path, fresh_database: str, where: str
) -> None:
    tap = RunningTap(tmp_path, stack, fresh_database, tap='durability = "kafka"' if where == "tap" else "")
    if where == "database":
        text = tap.config.read_text()
        tap.config.write_text(text.replace('environment = "dev"\n', 'environment = "dev"\ndurability = "kafka"\n'))
    records = Records(stack, tap.id)
    with tap, tap.connect() as connection:
        for number in range(5):
            connection.execute(f"SELECT {number} AS answer_{number}".encode())
            assert f"SELECT $1 AS answer_{number}" in records.now()
        with connection.pipeline():
            piped: list[Any] = [connection.execute("SELECT %s::int AS piped", [n]) for n in range(5)]
            assert [cursor.fetchone()[0] for cursor in piped] == list(range(5))
        assert records.now().count("SELECT $1::int AS piped") == 5


def test_where_kafka_is_away_only_those_who_want_it_are_refused(
    stack: Endpoints, tmp_path: Path, fresh_database: str
) -> None:
    away = msgspec.structs.replace if isinstance(stack.kafka, msgspec.Struct) else replace
    nowhere = away(stack, kafka=away(stack.kafka, bootstrap="127.0.0.1:1"))
    tap = RunningTap(tmp_path, nowhere, fresh_database, tap='durability = "kafka"')
    with tap, tap.connect() as connection:
        with pytest.raises(psycopg.errors.IoError, match="Kafka didn't take its record within 10 s"):
            connection.execute("CREATE TABLE never (id int)")
        tap.write(tap='durability = "machine"')
        with psycopg.connect(stack.postgres.dsn(fresh_database)) as direct:
            assert direct.execute("SELECT to_regclass('never')").fetchone() == (None,)
    with tap, tap.connect() as connection:
        connection.execute("CREATE TABLE now_it_does (id int)")
