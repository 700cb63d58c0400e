"""Which mark a change stands behind: a state machine over one database's change feed. Pure.

A tap puts a mark before every writing statement, into the statement's own transaction. So, within a transaction, a
mark covers the changes after it until the next mark: functions' and triggers' changes included. PostgreSQL itself takes
the marks of a savepoint away with its changes when it is rolled back. Nothing waits for the transaction's end: a
change is judged when it comes, and memory stays flat however large the transaction is.

Fail closed: a mark that isn't valid, or was used before, leaves the changes after it without one, whatever came before.

    no transaction ──BEGIN──► no mark ──valid mark──► marked ──END──► no transaction
                                 ▲ └──invalid mark──►  refused: reason  ▲ (a mark leads from any of these to any other)
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from msgspec import Struct

from taprail.connectors.debezium.envelope import Begin, End, Event, Heartbeat, Message, RowChange, Truncate
from taprail.schemas import mark as marks
from taprail.schemas import writer as writers
from taprail.schemas.errors import SignatureError
from taprail.schemas.mark import Mark
from taprail.schemas.records import AcceptedMark
from taprail.streams.attribution.memory import MarkMemory

NO_MARK = "no mark"
BAD_MARK = "mark's MAC doesn't hold"
USED_MARK = "mark was used before"
OTHER_DATABASE = "mark of another database"
UNKNOWN_WRITER = "declared by a writer that isn't known"
OTHER_TRANSACTION = "declaration of another transaction"
NO_BEGIN = "the start of its transaction was not seen"
LOST_RECORD = "a record of its transaction can't be read"
ORIGIN = "origin:"  # a known writer that is a replication origin
RECENT_TRANSACTIONS = 65_536
OBJECT_CHARACTERS_MAX = 200


class Feed(Struct, frozen=True):
    """A database whose changes are attributed. `server` and `database` are named as in taps' records and marks.

    known_writers   names of declared writers, and `origin:NAME` for replication origins (only a superuser can set one)
    """

    server: str
    database: str
    environment: str
    topic: str
    known_writers: tuple[str, ...] = ()


class Marked(Struct, frozen=True, tag="marked"):
    """Behind a tap's mark. `doubtful`: the memory may have forgotten it, so its statement must be seen."""

    mark: Mark
    doubtful: bool = False


class Declared(Struct, frozen=True, tag="declared"):
    writer: str


class Unclaimed(Struct, frozen=True, tag="unclaimed"):
    reason: str


Claim = Marked | Declared | Unclaimed


class Ddl(Struct, frozen=True):
    """A command that the event trigger has told of. Any user can emit such a message, so it is only text."""

    txid: int
    lsn: int
    order: int
    time_us: int
    tag: str
    schema: str
    object: str


Change = RowChange | Truncate | Ddl


class Claimed(Struct, frozen=True):
    """A change with what it stands behind. `ordinal` tells changes at one LSN apart."""

    change: Change
    ordinal: int
    claim: Claim


class JoinState(Struct, frozen=True):
    """Where the join stands between two events: small, so that it can be kept with the offset."""

    txid: int = 0
    claim: Claim = Unclaimed(NO_BEGIN)
    lsn: int = 0
    ordinal: int = 0


class Join:
    """The state machine of one database. `take` gives what an event means, or None."""

    def __init__(self, feed: Feed, key: bytes, memory: MarkMemory, state: JoinState | None = None) -> None:
        self.state = state or JoinState()
        self._feed = feed
        self._key = key
        self._memory = memory
        # How far each of the last transactions was read: a connector that starts again repeats some of them.
        self._read: OrderedDict[int, tuple[int, int, int]] = OrderedDict()

    def take(self, event: Event) -> Claimed | AcceptedMark | None:
        match event:
            case Begin():
                self.state = JoinState(event.txid, Unclaimed(NO_MARK))
            case End():
                self.state = JoinState()
            case Message() if event.txid and event.prefix in (marks.PREFIX, marks.DDL_PREFIX):
                return self._message(event)
            case RowChange() | Truncate():
                return self._change(event)
            case Heartbeat() | Message():
                pass  # a message outside a transaction proves nothing about one
        return None

    def lose(self) -> None:
        """A record couldn't be read, and it may have been a mark: nothing after it can be believed."""
        self.state = msgspec.structs.replace(self.state, claim=Unclaimed(LOST_RECORD))

    def recall(self, event: Event) -> None:
        """Learn, from a record before the first one to take, how far its transaction was read."""
        if isinstance(event, Begin):
            self.state = JoinState(event.txid)
        elif not isinstance(event, (End, Heartbeat)) and event.txid:
            self._advance(event)

    def _message(self, message: Message) -> Claimed | AcceptedMark | None:
        repeated = self._advance(message)
        if message.prefix == marks.DDL_PREFIX:
            return None if repeated else Claimed(_ddl(message), self.state.ordinal, self.state.claim)
        claim = self._declared(message) if writers.is_declaration(message.content) else self._marked(message)
        self.state = msgspec.structs.replace(self.state, claim=claim)
        if not isinstance(claim, Marked):
            return None
        place, mark = _place(message), claim.mark
        if self._memory.check(mark, place) == "same":
            return None
        accepted = AcceptedMark(mark.tap, mark.epoch, mark.sequence, mark.server, mark.database, place)
        self._memory.remember(accepted)
        return accepted

    def _marked(self, message: Message) -> Claim:
        try:
            mark = marks.parse(message.content.decode(), self._key)
        except (SignatureError, UnicodeDecodeError):
            return Unclaimed(BAD_MARK)
        if (mark.server, mark.database) != (self._feed.server, self._feed.database):
            return Unclaimed(OTHER_DATABASE)
        if self._memory.check(mark, _place(message)) == "used":
            return Unclaimed(USED_MARK)
        return Marked(mark, self._memory.is_doubtful(mark))

    def _declared(self, message: Message) -> Claim:
        try:
            declared = writers.parse(message.content.decode(), self._key)
        except (SignatureError, UnicodeDecodeError):
            return Unclaimed(BAD_MARK)
        if (declared.server, declared.database) != (self._feed.server, self._feed.database):
            return Unclaimed(OTHER_DATABASE)
        if declared.writer not in self._feed.known_writers:
            return Unclaimed(UNKNOWN_WRITER)
        # The feed's transaction ids have 32 bits and come again after four thousand million of them; the time tells.
        same = declared.transaction & 0xFFFFFFFF == message.txid
        if not same or abs(message.time_us - declared.time_us) > writers.VALID_US:
            return Unclaimed(OTHER_TRANSACTION)
        return Declared(declared.writer)

    def _change(self, change: RowChange | Truncate) -> Claimed | None:
        if self._advance(change):
            return None
        claim = self.state.claim
        origin = ORIGIN + change.origin
        if change.origin and origin in self._feed.known_writers and claim == Unclaimed(NO_MARK):
            claim = Declared(origin)
        return Claimed(change, self.state.ordinal, claim)

    def _advance(self, event: RowChange | Truncate | Message) -> bool:
        """Move to an event's place; whether it was read before, because the connector repeats itself.

        The commit's time belongs to the answer: a server that was made anew counts its transactions from the start.
        """
        state = self.state
        if event.txid != state.txid:
            state = JoinState(event.txid, Unclaimed(NO_BEGIN))
        ordinal = state.ordinal + 1 if event.lsn == state.lsn else 1
        self.state = JoinState(event.txid, state.claim, event.lsn, ordinal)
        time_us, *read = self._read.get(event.txid, (0, 0, 0))
        if time_us == event.time_us and [event.lsn, ordinal] <= read:
            return True
        self._read[event.txid] = (event.time_us, event.lsn, ordinal)
        self._read.move_to_end(event.txid)
        if len(self._read) > RECENT_TRANSACTIONS:
            self._read.popitem(last=False)
        return False


def _place(message: Message) -> str:
    return f"{message.txid}:{message.lsn}"


def _ddl(message: Message) -> Ddl:
    try:
        told = msgspec.json.decode(message.content)
        tag, schema, name = (_printable(told.get(k)) for k in ("tag", "schema", "object"))
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
        tag, schema, name = "unreadable", "", ""
    return Ddl(message.txid, message.lsn, message.order, message.time_us, tag, schema, name)


def _printable(text: object) -> str:
    """Emitted by anyone and read by people: one line, no control characters, not endless."""
    return "".join(c if c.isprintable() else "?" for c in str(text or "")[:OBJECT_CHARACTERS_MAX])
