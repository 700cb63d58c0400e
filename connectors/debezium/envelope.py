"""What Debezium's PostgreSQL connector says, as small typed events. Pure: decoded Avro in, one event out.

Everything of a database stands in one topic, in commit order, and transactions don't interleave there:

    BEGIN 771 · message · row · row · TRUNCATE · message · row · END 771 · BEGIN 773 · …

Seen with Debezium 3.6 and pgoutput: `transaction.id` is `txid:lsn` of the *event*, so it differs from event to event
of one transaction, and only the part before the colon names the transaction. `source.lsn` never falls within a
transaction, but several events may share one (COPY, TRUNCATE of two tables, an UPDATE of a primary key, which comes
as a delete and an insert). A message that was emitted outside its transaction (`transactional => false`) has no txid.
Source: Debezium documentation, connector for PostgreSQL (data change events, transaction metadata, messages).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from taprail.schemas.errors import RecordError

Row = Mapping[str, Any]
RowOperation = Literal["insert", "update", "delete"]
_ROW_OPERATIONS: dict[str, RowOperation] = {"c": "insert", "u": "update", "d": "delete"}


class Begin(Struct, frozen=True):
    """A transaction that has committed starts here."""

    txid: int
    time_us: int


class End(Struct, frozen=True):
    """It ends here. `events` is how many messages and changes it had."""

    txid: int
    events: int
    time_us: int


class RowChange(Struct, frozen=True):
    """A row as it was and as it became. `time_us` is the commit; `origin` a replication origin's name, or ''."""

    txid: int
    lsn: int
    order: int
    time_us: int
    operation: RowOperation
    schema: str
    table: str
    before: Row | None
    after: Row | None
    origin: str = ""


class Truncate(Struct, frozen=True):
    """A table that was emptied; TRUNCATE of several tables gives one event for each, at the same LSN."""

    txid: int
    lsn: int
    order: int
    time_us: int
    schema: str
    table: str
    origin: str = ""


class Message(Struct, frozen=True):
    """What `pg_logical_emit_message` wrote. `txid` is 0 outside a transaction: such a one proves nothing."""

    txid: int
    lsn: int
    order: int
    time_us: int
    prefix: str
    content: bytes


class Heartbeat(Struct, frozen=True):
    """A sign of life, a tombstone, a snapshot's row: nothing that has happened to a row."""

    time_us: int


Event = Begin | End | RowChange | Truncate | Message | Heartbeat


def read(value: Mapping[str, Any] | None) -> Event:
    """The event of a decoded value; None is a tombstone. Raises RecordError where it is nothing of Debezium's."""
    if value is None:
        return Heartbeat(0)
    try:
        if "status" in value:
            return _boundary(value)
        if "op" in value:
            return _event(value)
        if "ts_ms" in value and len(value) == 1:
            return Heartbeat(int(value["ts_ms"]) * 1000)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise RecordError(f"a Debezium event lacks or misuses {error}", hint=_HINT) from error
    raise RecordError(f"no Debezium event has the fields {sorted(value)}", hint=_HINT)


_HINT = "taprail knows Debezium 3's envelope; no transform may change it, apart from the topic's name"


def _boundary(value: Mapping[str, Any]) -> Event:
    txid, time_us = int(value["id"].partition(":")[0]), int(value["ts_ms"]) * 1000
    if value["status"] == "BEGIN":
        return Begin(txid, time_us)
    if value["status"] == "END":
        return End(txid, int(value["event_count"] or 0), time_us)
    raise ValueError(f"status {value['status']!r}")


def _event(value: Mapping[str, Any]) -> Event:
    operation, source = value["op"], value["source"]
    time_us = int(source.get("ts_us") or source["ts_ms"] * 1000)
    if operation == "r":  # a row that a snapshot has read
        return Heartbeat(time_us)
    txid, lsn = int(source["txId"] or 0), int(source["lsn"] or 0)
    order = int((value.get("transaction") or {}).get("total_order", 0))
    if operation == "m":
        message = value["message"]
        return Message(txid, lsn, order, time_us, str(message["prefix"]), _bytes(message["content"]))
    schema, table, origin = str(source["schema"]), str(source["table"]), str(source.get("origin") or "")
    if operation == "t":
        return Truncate(txid, lsn, order, time_us, schema, table, origin)
    if operation not in _ROW_OPERATIONS:
        raise ValueError(f"op {operation!r}")
    row = _ROW_OPERATIONS[operation]
    return RowChange(txid, lsn, order, time_us, row, schema, table, value["before"], value["after"], origin)


def _bytes(content: bytes | str | None) -> bytes:
    """`binary.handling.mode` decides whether a message's content comes as bytes or as Base64."""
    if isinstance(content, str):
        return base64.b64decode(content, validate=True)
    return content or b""
