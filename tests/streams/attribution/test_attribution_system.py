"""Attribution on real parts: PostgreSQL, Debezium, Kafka and the registry."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from taprail.connectors.kafka.admin import admin_client
from taprail.schemas import writer as writers
from taprail.schemas.records import Change
from taprail.streams.attribution import join, resolve


def who(change: Change) -> tuple[str, str, int]:
    return change.attribution, change.person.subject if change.person else "", change.sequence


def test_what_people_do_round_and_through_the_tap(world: Any, running: Any) -> None:
    """One walk over everything that can be written: feeds take seconds to start, so the cases share one."""
    _marked_and_round_the_tap(world)
    _savepoints_and_many_rows(world)
    _truncate_and_ddl(world)
    _forged_replayed_and_foreign_marks(world)
    _a_declared_writer(world)
    _an_unseen_and_an_impossible_statement(world)


def _marked_and_round_the_tap(world: Any) -> None:
    world.run(f"BEGIN; {world.mark()} UPDATE accounts SET cents = 1 WHERE id = 1; COMMIT")
    (change,) = world.changes(1)
    assert (who(change), change.key) == (("statement", "ann", 1), "id=1")
    assert (change.environment, change.operation, change.table) == ("prod", "update", "accounts")

    started_s = time.monotonic()
    world.run("UPDATE accounts SET email = 'mallory@mail.example' WHERE id = 2")
    (alert,) = world.alerts(1)
    assert time.monotonic() - started_s < 5
    assert (alert.rule, alert.severity, alert.database) == ("unattributed-change", "high", world.database)
    assert "public.accounts, row id=2, in transaction" in alert.summary and "mallory" not in alert.summary
    (change,) = world.changes(1)
    assert who(change) == ("unattributed", "", 0) and change.reason == join.NO_MARK
    assert f"transaction {change.transaction} " in alert.summary


def _savepoints_and_many_rows(world: Any) -> None:
    world.run(
        f"BEGIN; {world.mark()} UPDATE accounts SET cents = 2 WHERE id = 1; SAVEPOINT s;"
        f"{world.mark()} DELETE FROM accounts WHERE id = 1; ROLLBACK TO s;"
        f"{world.mark(tag='DELETE')} DELETE FROM accounts WHERE id BETWEEN 3 AND 6; COMMIT"
    )
    changes = world.changes(5)
    assert [(c.operation, c.key, c.sequence) for c in changes] == [
        ("update", "id=1", 2), *(("delete", f"id={i}", 4) for i in range(3, 7))
    ]  # fmt: skip


def _truncate_and_ddl(world: Any) -> None:
    world.run(f"BEGIN; {world.mark(tag='TRUNCATE')} TRUNCATE accounts, notes; COMMIT")
    assert [(c.operation, c.table, c.sequence) for c in world.changes(2)] == [
        ("truncate", "accounts", 5),
        ("truncate", "notes", 5),
    ]
    world.run(f"BEGIN; {world.mark(tag='DROP TABLE')} DROP TABLE notes; COMMIT")
    (change,) = world.changes(1)
    assert (change.operation, change.schema, change.table, change.reason) == ("ddl", "public", "notes", "DROP TABLE")
    assert who(change) == ("statement", "ann", 6)
    world.run("ALTER TABLE accounts ADD COLUMN extra int")
    (alert,) = world.alerts(1)
    assert "ALTER TABLE of public.accounts" in alert.summary
    assert [c.reason for c in world.changes(1)] == [f"ALTER TABLE: {join.NO_MARK}"]


def _forged_replayed_and_foreign_marks(world: Any) -> None:
    marked = world.mark()
    world.run(f"BEGIN; {marked} INSERT INTO accounts VALUES (20, 'a', 1); COMMIT")
    for mark in (marked, world.mark_of(99, key=b"x" * 32), world.mark_of(99, database="elsewhere")):
        world.run(f"BEGIN; {mark} UPDATE accounts SET cents = cents + 1 WHERE id = 20; COMMIT")
    assert [c.reason for c in world.changes(4)] == ["", join.USED_MARK, join.BAD_MARK, join.OTHER_DATABASE]
    assert len({a.alert_id for a in world.alerts(3)}) == 3


def _a_declared_writer(world: Any) -> None:
    with world.connection.transaction():
        (xid,) = world.connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        declaration = writers.Declaration("migrations", "test", world.database, int(xid), time.time_ns() // 1000)
        key = writers.writer_key(world.job().mark_key, "migrations", "test", world.database)
        emit = "SELECT pg_logical_emit_message(true, 'taprail', %s)"
        world.connection.execute(emit, [writers.render(declaration, key)])
        world.connection.execute("ALTER TABLE accounts DROP COLUMN extra")
        world.connection.execute("UPDATE accounts SET cents = 7")
    changes = world.changes(3)
    assert {(c.attribution, c.reason.split(": ")[-1]) for c in changes} == {("known_writer", "known writer migrations")}
    assert [c.operation for c in changes] == ["ddl", "ddl", "update"]


def _an_unseen_and_an_impossible_statement(world: Any) -> None:
    world.run(f"BEGIN; {world.mark(publish=False)} UPDATE accounts SET cents = 8; COMMIT")
    (change,) = world.changes(1)
    assert (change.reason, who(change)) == (resolve.NOT_SEEN, ("statement", "", world.sequence))

    world.sequence += 1
    world.publish(world.statement(world.sequence, mark="impossible", tag="CREATE INDEX", relations=()))
    world.run("CREATE INDEX CONCURRENTLY accounts_email ON accounts (email)")
    (change,) = world.changes(1)
    assert who(change) == ("probable", "ann", world.sequence)


def test_a_record_that_can_not_be_read_is_told_and_passed_over(world: Any, running: Any) -> None:
    producer = Producer(world.stack.kafka.client_config("admin"))
    producer.produce(world.feed.topic, b"no avro")
    producer.flush(10)
    world.run("UPDATE accounts SET cents = 1 WHERE id = 1")
    assert sorted(a.rule for a in world.alerts(2)) == ["change-feed-gap", "unattributed-change"]


def test_a_feed_that_lost_records_says_so(world: Any) -> None:
    """Retention took what attribution hadn't read: the group's place is before what the topic still has."""
    world.run("UPDATE accounts SET cents = 1 WHERE id = 1")
    consumer = Consumer({**world.stack.kafka.client_config("stream"), "group.id": world.group})
    deadline = time.monotonic() + 20
    while consumer.get_watermark_offsets(TopicPartition(world.feed.topic, 0), 5)[1] < 3:
        assert time.monotonic() < deadline
    consumer.commit(offsets=[TopicPartition(world.feed.topic, 0, 1)], asynchronous=False)
    consumer.close()
    admin = admin_client(world.stack.kafka)
    (future,) = admin.delete_records([TopicPartition(world.feed.topic, 0, 3)]).values()
    future.result(20)
    world.start()
    (alert,) = world.alerts(1)
    assert alert.rule == "change-feed-gap" and "1 is where attribution was" in alert.summary


def test_the_connector_repeats_itself_and_nothing_is_told_twice(world: Any, running: Any) -> None:
    """What Debezium sends again after a crash is the same bytes again: written here by hand, to be sure of it."""
    world.run(f"BEGIN; {world.mark()} UPDATE accounts SET cents = 1; COMMIT")
    world.run("UPDATE accounts SET cents = 2 WHERE id = 1")
    assert len(world.changes(10)) == 10
    consumer = Consumer({**world.stack.kafka.client_config("stream"), "group.id": world.group + "-again"})
    high = consumer.get_watermark_offsets(TopicPartition(world.feed.topic, 0), 5)[1]
    consumer.assign([TopicPartition(world.feed.topic, 0, 0)])
    again: list[Any] = []
    while len(again) < high:
        again += [m for m in consumer.consume(high - len(again), 1) if not m.error()]
    consumer.close()
    producer = Producer({**world.stack.kafka.client_config("admin"), "linger.ms": 20})
    for message in again:
        producer.produce(world.feed.topic, message.value(), message.key())
    producer.flush(10)
    world.run(f"BEGIN; {world.mark()} UPDATE accounts SET cents = 3 WHERE id = 2; COMMIT")
    (change,) = world.changes(1)
    assert who(change) == ("statement", "ann", 2)
    assert len(world.alerts(1)) == 1
