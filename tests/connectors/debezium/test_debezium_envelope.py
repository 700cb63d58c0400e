"""Debezium's envelope, read from a recording.

`recorded.json` was recorded from Debezium 3.6.3 on Kafka Connect 4.1 with PostgreSQL 18, through the connector's
configuration in `connectors/debezium/connector.py`: two transactions with marks and a savepoint, a write without mark,
TRUNCATE of two tables, DDL, a message outside a transaction, a replication origin, an UPDATE of a primary key, a key
of UUID, date and text, GRANT, a declared writer, CREATE INDEX CONCURRENTLY.
"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.debezium.decode import FeedDecoder, FeedRecord
from taprail.connectors.debezium.envelope import Begin, End, Heartbeat, Message, RowChange, Truncate, read
from taprail.schemas.errors import RecordError

RECORDING: Any = msgspec.json.decode(Path(__file__).with_name("recorded.json").read_bytes())


def unpack(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def decoder() -> FeedDecoder:
    return FeedDecoder(lambda schema_id: str(RECORDING["schemas"][str(schema_id)]))


@pytest.fixture(scope="module")
def records() -> list[FeedRecord]:
    feed = decoder()
    return [feed.decode(unpack(r["key"]), unpack(r["value"])) for r in RECORDING["records"]]


def test_transactions_do_not_interleave(records: list[FeedRecord]) -> None:
    open_txid, seen = 0, 0
    for event in (r.event for r in records):
        if isinstance(event, Begin):
            assert open_txid == 0
            open_txid, seen = event.txid, 0
        elif isinstance(event, End):
            assert (event.txid, event.events) == (open_txid, seen)
            open_txid = 0
        elif isinstance(event, (RowChange, Truncate, Message)) and event.txid:
            seen += 1
            assert (event.txid, event.order) == (open_txid, seen)
    assert open_txid == 0


def test_lsn_never_falls_within_a_transaction(records: list[FeedRecord]) -> None:
    places: dict[int, int] = {}
    for event in (r.event for r in records):
        if isinstance(event, (RowChange, Truncate, Message)) and event.txid:
            assert event.lsn >= places.get(event.txid, 0)
            places[event.txid] = event.lsn


def test_rows_carry_what_they_were_and_became(records: list[FeedRecord]) -> None:
    rows = [r.event for r in records if isinstance(r.event, RowChange)]
    assert [row.operation for row in rows][:6] == ["insert", "insert", "update", "update", "delete", "delete"]
    assert rows[0].before is None and rows[0].after is not None and rows[0].after["email"] == "ann@example.com"
    assert rows[4].before is not None and rows[4].before["id"] == 1 and rows[4].after is None
    assert [row.origin for row in rows if row.origin] == ["migrate"]


def test_a_primary_key_that_changes_comes_as_delete_and_insert_at_one_place(records: list[FeedRecord]) -> None:
    rows = [r for r in records if isinstance(r.event, RowChange) and r.event.txid == 790]
    assert [(r.event.operation, r.key[0].value) for r in rows if isinstance(r.event, RowChange)] == [
        ("insert", 9),
        ("delete", 9),
        ("insert", 10),
    ]
    assert len({r.event.lsn for r in rows[1:] if isinstance(r.event, RowChange)}) == 1


def test_truncate_names_each_table(records: list[FeedRecord]) -> None:
    tables = [r.event.table for r in records if isinstance(r.event, Truncate)]
    assert tables == ["customers", "notes"]


def test_messages_come_as_bytes_and_one_outside_a_transaction_has_no_txid(records: list[FeedRecord]) -> None:
    messages = [r.event for r in records if isinstance(r.event, Message)]
    assert messages[0].prefix == "taprail" and messages[0].content.startswith(b"1|tap-1|1|1|srv|shop|")
    assert [m.content.split(b"|")[3] for m in messages if not m.txid] == [b"99"]
    assert b"1|tap-1|1|3" not in b"".join(m.content for m in messages), "a savepoint's rollback takes its mark away"


def test_only_numbers_and_uuids_of_a_key_are_clear(records: list[FeedRecord]) -> None:
    (key,) = [r.key for r in records if len(r.key) == 3]
    assert [(part.column, part.clear) for part in key] == [("id", True), ("born", False), ("mail", False)]


def test_message_content_may_be_base64() -> None:
    value = {
        "op": "m",
        "source": {"ts_ms": 5, "txId": 7, "lsn": 9},
        "transaction": {"total_order": 1},
        "message": {"prefix": "taprail", "content": base64.b64encode(b"1|t").decode()},
    }
    assert read(value) == Message(7, 9, 1, 5000, "taprail", b"1|t")


def test_tombstones_heartbeats_and_snapshots_are_signs_of_life() -> None:
    snapshot = {"op": "r", "source": {"ts_us": 5}, "before": None, "after": {}}
    assert [read(v) for v in (None, {"ts_ms": 3}, snapshot)] == [Heartbeat(0), Heartbeat(3000), Heartbeat(5)]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"ts_ms": 1, "ddl": "DROP TABLE a"},
        {"status": "PREPARED", "id": "1:2", "ts_ms": 1},
        {"status": "BEGIN", "id": "x", "ts_ms": 1},
        {"op": "z", "source": {"ts_us": 1, "txId": 1, "lsn": 1, "schema": "s", "table": "t"}},
        {"op": "c", "source": {}},
        {"op": "m", "source": {"ts_us": 1, "txId": 1, "lsn": 1}, "message": {"prefix": "p", "content": "%%"}},
    ],
)
def test_what_is_no_envelope_is_an_error(value: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        read(value)


FEED = decoder()


@given(st.sampled_from(sorted(RECORDING["schemas"])), st.binary(max_size=300))
def test_any_bytes_give_an_event_or_the_one_error(schema_id: str, data: bytes) -> None:
    with contextlib.suppress(RecordError):
        FEED.decode(None, b"\0" + int(schema_id).to_bytes(4, "big") + data)


@pytest.mark.parametrize("framed", [b"", b"\0\0\0\0", b"\1\0\0\0\1", b'{"op": "c"}'])
def test_bytes_without_a_frame_are_an_error(framed: bytes) -> None:
    with pytest.raises(RecordError):
        FEED.decode(None, framed)
