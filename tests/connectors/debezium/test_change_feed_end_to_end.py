"""PostgreSQL to Kafka through Debezium, for real: transaction order, messages, TRUNCATE, and Avro by the registry."""

from __future__ import annotations

import base64
import io
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from taprail.connectors.debezium.connector import connector_config, register, status, unregister
from taprail.connectors.http import request
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import StackError

Feed = Callable[[str], str]


class Records:
    """Decoded values of a topic, from its beginning."""

    def __init__(self, stack: Endpoints, topic: str) -> None:
        self._url = f"{stack.schema_registry_url}/schemas/ids"
        self._schemas: dict[int, Any] = {}
        group = {"group.id": f"taprail-stream-{secrets.token_hex(6)}", "enable.auto.commit": False}
        self._consumer = Consumer({**stack.kafka.client_config("stream"), **group})
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    def until(self, done: Callable[[dict[str, Any]], bool], timeout_s: float = 20.0) -> Iterator[dict[str, Any]]:
        """Values without heartbeats, up to the first one that is `done`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            message = self._consumer.poll(0.2)
            if message is None or message.value() is None:
                continue
            assert message.error() is None
            name, value = self._decode(message.value() or b"")
            if name != "io.debezium.connector.common.Heartbeat":
                yield value
                if done(value):
                    return
        pytest.fail("the change feed did not bring it in time")

    def close(self) -> None:
        self._consumer.close()

    def _decode(self, data: bytes) -> tuple[str, dict[str, Any]]:
        assert data[0] == 0, "Confluent framing"
        schema_id = int.from_bytes(data[1:5], "big")
        if schema_id not in self._schemas:
            answer = request(f"{self._url}/{schema_id}")
            assert answer.status == 200
            self._schemas[schema_id] = fastavro.parse_schema(json.loads(json.loads(answer.body)["schema"]))
        schema = self._schemas[schema_id]
        value = fastavro.schemaless_reader(io.BytesIO(data[5:]), schema)
        assert isinstance(value, dict)
        return schema["name"], value


def kind(value: dict[str, Any]) -> str:
    """BEGIN, END, c, u, d, t or m."""
    return str(value.get("status") or value["op"])


def test_a_transaction_arrives_whole_and_in_order(stack: Endpoints, fresh_database: str, change_feed: Feed) -> None:
    with psycopg.connect(stack.postgres.dsn(fresh_database), autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id int PRIMARY KEY, email text)")
        connection.execute("ALTER TABLE people REPLICA IDENTITY FULL")
        connection.execute("INSERT INTO people VALUES (0, 'before the feed')")
        topic = change_feed(fresh_database)
        with connection.transaction():
            connection.execute("SELECT pg_logical_emit_message(true, 'taprail', 'mark one')")
            connection.execute("INSERT INTO people VALUES (1, 'ann@example.com')")
            connection.execute("SELECT pg_logical_emit_message(true, 'foreign', 'not for us')")
            connection.execute("UPDATE people SET email = 'a@example.com' WHERE id = 1")
            with connection.transaction() as savepoint:
                connection.execute("SELECT pg_logical_emit_message(true, 'taprail', 'rolled back')")
                connection.execute("DELETE FROM people")
                raise psycopg.Rollback(savepoint)
        connection.execute("TRUNCATE people")
    records = Records(stack, topic)
    values = list(records.until(lambda value: value.get("op") == "t"))
    records.close()

    assert topic == f"cdc.test.{fresh_database}"
    assert [kind(value) for value in values] == ["BEGIN", "m", "c", "u", "END", "BEGIN", "t"]
    mark, insert, update = values[1:4]
    assert base64.b64decode(mark["message"]["content"]) == b"mark one"
    assert insert["after"] == {"id": 1, "email": "ann@example.com"}
    assert update["before"]["email"] == "ann@example.com"
    assert mark["source"]["txId"] == insert["source"]["txId"] == update["source"]["txId"]
    assert [value["transaction"]["total_order"] for value in (mark, insert, update)] == [1, 2, 3]
    assert values[4]["event_count"] == 3


def test_an_idle_feed_sends_heartbeats_and_lets_go_of_wal(
    stack: Endpoints, fresh_database: str, change_feed: Feed
) -> None:
    change_feed(fresh_database)
    slot = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE database = %s"
    with psycopg.connect(stack.postgres.dsn(), autocommit=True) as connection:
        first = connection.execute(slot, [fresh_database]).fetchone()
        deadline = time.monotonic() + 30
        while connection.execute(slot, [fresh_database]).fetchone() == first:
            assert time.monotonic() < deadline, "the slot of an idle database did not move on"
            time.sleep(0.2)


def test_registering_again_is_safe(stack: Endpoints, fresh_database: str, change_feed: Feed) -> None:
    change_feed(fresh_database)
    change_feed(fresh_database)
    assert status(stack.connect, fresh_database)["connector"]["state"] == "RUNNING"


def test_a_wrong_password_is_told_with_its_cause(stack: Endpoints, fresh_database: str) -> None:
    config = connector_config(
        server="test",
        database=fresh_database,
        host=stack.postgres.host,
        port=stack.postgres.port,
        user="postgres",
        password="wrong",
        registry_url=stack.registry_url,
    )
    with pytest.raises(StackError, match="password authentication failed"):
        register(stack.connect, fresh_database, config)
    unregister(stack.connect, fresh_database)


def test_connects_rest_api_wants_the_password(stack: Endpoints) -> None:
    assert request(f"{stack.connect.url}/connectors").status == 401
