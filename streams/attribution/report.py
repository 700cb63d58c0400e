"""What attribution says: change records, and a detection with its alert where a change has no statement. Pure.

Ids are made of where the change stands in the WAL, so the same change always has the same id. Row values go into
envelopes; titles and summaries name table, row key, transaction and time.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct, json

from taprail.connectors.debezium.decode import KeyPart
from taprail.connectors.debezium.envelope import Row, RowChange
from taprail.schemas.envelope import Sealer
from taprail.schemas.mark import Mark
from taprail.schemas.records import Change, Detection, Envelope
from taprail.streams.attribution.join import Claimed, Ddl, Feed
from taprail.streams.attribution.statements import Known
from taprail.streams.detections.found import alert_of

UNATTRIBUTED = "unattributed-change"
FEED_GAP = "change-feed-gap"


class Decision(Struct, frozen=True):
    """How a change was attributed. `known` is the statement; `mark` alone where its record was not seen."""

    attribution: Literal["statement", "known_writer", "probable", "unattributed"]
    reason: str = ""
    known: Known | None = None
    mark: Mark | None = None


def change_id(feed: Feed, claimed: Claimed) -> str:
    change = claimed.change
    return f"{feed.server}/{feed.database}/{change.txid}/{change.lsn}/{claimed.ordinal}"


def change_record(feed: Feed, claimed: Claimed, key: tuple[KeyPart, ...], decision: Decision, sealer: Sealer) -> Change:
    change, identity = claimed.change, change_id(feed, claimed)
    row = change if isinstance(change, RowChange) else None
    source = decision.known or decision.mark
    known = decision.known
    return Change(
        change_id=identity,
        time_us=change.time_us,
        environment=feed.environment,
        server=feed.server,
        database=feed.database,
        attribution=decision.attribution,
        operation=operation(claimed),
        schema=change.schema,
        table=table(claimed),
        key=row_key(row, key, sealer) if row else "",
        reason=_reason(claimed, decision),
        transaction=str(change.txid),
        order=change.order,
        lsn=change.lsn,
        tap=source.tap if source else "",
        epoch=source.epoch if source else 0,
        sequence=source.sequence if source else 0,
        person=known.person if known else None,
        purpose=known.purpose if known else "",
        approval=known.approval if known else "",
        fingerprint=known.fingerprint if known else "",
        before=_sealed(row.before, f"{identity}/before", sealer) if row else None,
        after=_sealed(row.after, f"{identity}/after", sealer) if row else None,
    )


def operation(claimed: Claimed) -> Literal["insert", "update", "delete", "truncate", "ddl"]:
    if isinstance(claimed.change, RowChange):
        return claimed.change.operation
    return "ddl" if isinstance(claimed.change, Ddl) else "truncate"


def table(claimed: Claimed) -> str:
    """The table; for DDL the object, without its schema."""
    change = claimed.change
    return change.object.removeprefix(f"{change.schema}.") if isinstance(change, Ddl) else change.table


def row_key(row: RowChange, key: tuple[KeyPart, ...], sealer: Sealer) -> str:
    """`id=7`, `email=#5f0c…`: numbers and UUIDs in the clear, the rest as keyed hashes; a row without key as one."""
    if key:
        return ",".join(f"{p.column}={p.value if p.clear else _hashed(p.value, sealer)}" for p in key)
    return f"row={_hashed(row.before or row.after, sealer)}"


def unattributed(feed: Feed, claimed: Claimed, key: tuple[KeyPart, ...], reason: str, sealer: Sealer) -> list[Struct]:
    """The detection and the alert of a change without a statement."""
    change = claimed.change
    relation = ".".join(part for part in (change.schema, table(claimed)) if part)
    what = change.tag if isinstance(change, Ddl) else operation(claimed).upper()
    row = f", row {row_key(change, key, sealer)}" if isinstance(change, RowChange) else ""
    at = datetime.fromtimestamp(change.time_us / 1e6, UTC).isoformat(timespec="milliseconds")
    summary = (
        f"{what} of {relation or 'an object'}{row}, in transaction {change.txid} of {feed.server}/{feed.database} "
    )
    summary += f"at {at}: {reason}. Further changes of the same transaction and table are not told one by one."
    return _told(
        feed,
        UNATTRIBUTED,
        "A committed change has no statement",
        summary,
        time_us=change.time_us,
        record=change_id(feed, claimed),
        tag=what,
        relations=(relation,) if relation else (),
    )


def feed_gap(feed: Feed, reason: str, place: str, time_us: int) -> list[Struct]:
    """The detection and the alert of records that nobody will attribute. `place` tells one gap from another."""
    summary = f"The change feed of {feed.server}/{feed.database} has a gap: {reason}. "
    summary += "Changes in it were not attributed; the database's own log is the only record of them."
    title = "Changes were lost before they were attributed"
    return _told(feed, FEED_GAP, title, summary, time_us=time_us, record=f"{feed.topic}/{place}", tag="", relations=())


def _told(
    feed: Feed, rule: str, title: str, summary: str, *, time_us: int, record: str, tag: str, relations: tuple[str, ...]
) -> list[Struct]:
    identity = hashlib.sha256(f"{rule}\0{record}".encode()).hexdigest()[:32]
    detection = Detection(
        detection_id=identity,
        time_us=time_us,
        rule=rule,
        severity="high",
        title=title,
        summary=summary,
        environment=feed.environment,
        server=feed.server,
        database=feed.database,
        person=None,
        purpose="",
        tap="",
        epoch=0,
        sequence=0,
        record=record,
        tag=tag,
        relations=relations,
        policy_version="",
    )
    return [detection, alert_of(detection)]


def _reason(claimed: Claimed, decision: Decision) -> str:
    """DDL has no other place for its command tag."""
    tag = claimed.change.tag if isinstance(claimed.change, Ddl) else ""
    return ": ".join(part for part in (tag, decision.reason) if part)


def _hashed(value: object, sealer: Sealer) -> str:
    return "#" + sealer.hash(json.encode(value, enc_hook=str, order="sorted"))


def _sealed(row: Row | None, purpose: str, sealer: Sealer) -> Envelope | None:
    return None if row is None else sealer.seal(json.encode(row, enc_hook=str), purpose)
