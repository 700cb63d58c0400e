"""The statements that taps have written down lately: what a mark names, and what may have written without one.

Fed from `taprail.statements` and `taprail.outcomes`. Bounded: a statement that is older than the last
STATEMENTS_MAX writing ones isn't found any more, and a change then carries the mark's id alone.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import fastavro
from msgspec import Struct

from taprail.schemas import avro
from taprail.schemas.errors import RecordError
from taprail.schemas.mark import Mark
from taprail.schemas.records import Outcome, Person, Statement
from taprail.streams.attribution.join import Change, Ddl, Feed

FRAME_BYTES = 5  # Confluent wire format
STATEMENTS_MAX = 100_000
WINDOWS_MAX = 1_000
ENDED_MAX = 20_000
CLOCK_SKEW_US = 1_000_000  # between a tap's clock and the server's
WINDOW_US_MAX = 3_600_000_000  # a statement whose outcome never came explains nothing for longer than this
# Their text doesn't say what they change.
OPAQUE_TAGS = frozenset({"CALL", "DO"})


class Known(Struct, frozen=True):
    """What a change takes from its statement."""

    tap: str
    epoch: int
    sequence: int
    time_us: int
    session: str
    server: str
    database: str
    person: Person
    purpose: str
    approval: str
    fingerprint: str
    tag: str
    written: frozenset[str]


class _Window(Struct):
    known: Known
    closed_us: int = 0


class Statements:
    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int], Known] = OrderedDict()
        self._windows: OrderedDict[tuple[str, int, int], _Window] = OrderedDict()
        self._ended: OrderedDict[tuple[str, int, int], int] = OrderedDict()
        self._decode = avro.decoder(Statement)

    def take_statement(self, framed: bytes) -> None:
        """Learn from a record of `taprail.statements`. Raises RecordError where it is none.

        Reads are the most of all statements: only the first fields of a record are decoded, unless it writes.
        """
        if _prefix(framed, _STATEMENT)["writes"]:
            self.add(self._decode(framed[FRAME_BYTES:]))

    def take_outcome(self, framed: bytes) -> None:
        """Learn from a record of `taprail.outcomes`. Raises RecordError where it is none."""
        outcome = _prefix(framed, _OUTCOME)
        self.end(outcome["tap"], outcome["statement_epoch"], outcome["statement_sequence"], outcome["time_us"])

    def add(self, statement: Statement) -> None:
        if statement.mark == "none" or statement.action not in ("allow", "mask"):
            return  # it doesn't run, or not now: when a held one runs, it is written down again
        s = statement
        written = frozenset(str(r) for r in s.relations if r.access == "write")
        known = Known(
            s.tap, s.epoch, s.sequence, s.time_us, s.session, s.server, s.database, s.person, s.purpose, s.approval,
            s.fingerprint, s.tag, written
        )  # fmt: skip
        key = (s.tap, s.epoch, s.sequence)
        if s.mark == "impossible":
            _put(self._windows, key, _Window(known, self._ended.get(key, 0)), WINDOWS_MAX)
        else:
            _put(self._known, key, known, STATEMENTS_MAX)

    def end(self, tap: str, epoch: int, sequence: int, time_us: int) -> None:
        """Its outcome came. The two topics are read side by side, so it may come before the statement itself."""
        key = (tap, epoch, sequence)
        _put(self._ended, key, time_us, ENDED_MAX)
        if (window := self._windows.get(key)) is not None:
            window.closed_us = time_us

    def find(self, mark: Mark) -> Known | None:
        return self._known.get((mark.tap, mark.epoch, mark.sequence))

    def probable(self, feed: Feed, change: Change) -> Known | None:
        """A statement that can't share a transaction with a mark, ran when the change was committed, and fits it.

        VACUUM, CREATE INDEX CONCURRENTLY, CALL of a procedure that commits: the latest that fits. It is no proof, and
        what takes it says 'probable'.
        """
        for window in reversed(self._windows.values()):
            known = window.known
            if (known.server, known.database) != (feed.server, feed.database):
                continue
            until_us = window.closed_us or known.time_us + WINDOW_US_MAX
            if known.time_us - CLOCK_SKEW_US <= change.time_us <= until_us + CLOCK_SKEW_US and _fits(known, change):
                return known
        return None


def _fits(known: Known, change: Change) -> bool:
    if known.tag in OPAQUE_TAGS:
        return True
    if isinstance(change, Ddl):
        return known.tag == change.tag
    return not known.written.isdisjoint({change.table, f"{change.schema}.{change.table}"})


def _put(cache: OrderedDict[Any, Any], key: tuple[str, int, int], value: Any, size_max: int) -> None:
    cache[key] = value
    if len(cache) > size_max:
        cache.popitem(last=False)


def _until(schema: dict[str, Any], last: str) -> Any:
    """The schema of a record's first fields: a reader may decode a prefix and leave the rest alone."""
    names = [field["name"] for field in schema["fields"]]
    return fastavro.parse_schema({**schema, "fields": schema["fields"][: names.index(last) + 1]})


_STATEMENT = _until(avro.schema_of(Statement), "writes")
_OUTCOME = _until(avro.schema_of(Outcome), "statement_sequence")


def _prefix(framed: bytes, schema: Any) -> Any:
    try:
        return fastavro.schemaless_reader(io.BytesIO(memoryview(framed)[FRAME_BYTES:]), schema, None)
    except (EOFError, IndexError, ValueError, TypeError, StopIteration) as error:
        raise RecordError(f"{len(framed)} bytes are not a {schema['name']}: {error}") from error
