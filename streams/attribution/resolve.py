"""From change feed to change records, for one database: join, wait for the statement, say who it was. Pure.

Changes leave in the order in which they came. One whose statement hasn't been seen yet waits for it, and what came
after waits with it, each at most `statement_s` after its own mark came; alerts wait for nothing but `settle_s`, in
which a statement without a mark may still explain the change. Time is given in by the caller, in seconds.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque

from msgspec import Struct

from taprail.connectors.debezium.decode import FeedRecord, KeyPart
from taprail.schemas.envelope import Sealer
from taprail.schemas.mark import Mark
from taprail.schemas.records import AcceptedMark
from taprail.streams.attribution.join import (
    NO_MARK,
    Claim,
    Claimed,
    Declared,
    Feed,
    Join,
    JoinState,
    Marked,
    Unclaimed,
)
from taprail.streams.attribution.memory import MarkMemory
from taprail.streams.attribution.report import Decision, change_record, table, unattributed
from taprail.streams.attribution.statements import Known, Statements

NOT_SEEN = "statement not seen"
FORGOTTEN_MARK = "mark is older than the memory of marks"
TWO_SESSIONS = "marks of two sessions in one transaction"
PROBABLE = "ran without a mark at that time and fits"
ALERTED_MAX = 4_096
ALERTED_KEPT = 64  # they stand beside the offset, in 4096 bytes with all the rest


class Limits(Struct, frozen=True):
    """How long changes wait, and how much may wait or leave at once."""

    statement_s: float = 10.0
    settle_s: float = 0.5
    pending_max: int = 20_000
    released_max: int = 2_000


class State(Struct, frozen=True):
    """What has to be known to go on from an offset. Kept as the offset's metadata, so in the same transaction."""

    join: JoinState = JoinState()
    transaction: int = 0
    session: str = ""
    alerted: tuple[tuple[int, str], ...] = ()


class _Pending(Struct):
    offset: int
    resume: JoinState
    key: tuple[KeyPart, ...]
    what: Claimed | AcceptedMark
    arrived_s: float
    decision: Decision | None = None


class Attribution:
    """Attributes the changes of one feed."""

    def __init__(
        self,
        feed: Feed,
        mark_key: bytes,
        memory: MarkMemory,
        statements: Statements,
        sealer: Sealer,
        limits: Limits | None = None,
    ) -> None:
        self.feed = feed
        self.join = Join(feed, mark_key, memory)
        self._statements = statements
        self._sealer = sealer
        self._limits = limits or Limits()
        self._next = 0
        self._pending: deque[_Pending] = deque()
        self._unclaimed: deque[_Pending] = deque()
        self._claim: tuple[Claim | None, float] = (None, 0.0)  # and when the first change behind it came
        self._session = (0, "")  # of the transaction that is being released
        self._alerted: OrderedDict[tuple[int, str], None] = OrderedDict()

    def resume(self, offset: int, state: State) -> None:
        """Go on where `position` was."""
        self._next = offset
        self.join.state = state.join
        self._session = (state.transaction, state.session)
        self._alerted = OrderedDict.fromkeys(state.alerted)

    def position(self) -> tuple[int, State]:
        """The first offset that isn't done with, and the state there."""
        head = self._pending[0] if self._pending else None
        offset, join = (head.offset, head.resume) if head else (self._next, self.join.state)
        return offset, State(join, *self._session, tuple(self._alerted)[-ALERTED_KEPT:])

    @property
    def full(self) -> bool:
        return len(self._pending) >= self._limits.pending_max

    @property
    def waiting(self) -> bool:
        return bool(self._pending)

    def take(self, record: FeedRecord, offset: int, now_s: float) -> None:
        resume = self.join.state
        what = self.join.take(record.event)
        self._next = offset + 1
        if what is None:
            return
        pending = _Pending(offset, resume, record.key, what, now_s)
        if isinstance(what, Claimed):
            if what.claim is self._claim[0]:
                pending.arrived_s = self._claim[1]
            elif isinstance(what.claim, Marked):
                self._claim = (what.claim, now_s)
            if isinstance(what.claim, Unclaimed):
                self._unclaimed.append(pending)
        self._pending.append(pending)

    def lose(self, offset: int) -> None:
        """A record that can't be read was passed over."""
        self.join.lose()
        self._next = offset + 1

    def release(self, now_s: float) -> list[Struct]:
        """The records that are ready, in order: changes, accepted marks, detections and alerts."""
        out: list[Struct] = []
        self._settle(now_s, out)
        while self._pending and len(out) < self._limits.released_max:
            head = self._pending[0]
            if isinstance(head.what, AcceptedMark):
                out.append(head.what)
            else:
                decision = head.decision or self._decide(head, head.what, now_s)
                if decision is None:
                    break
                if decision.attribution == "unattributed":
                    self._alert(head, head.what, decision.reason, out)
                out.append(change_record(self.feed, head.what, head.key, decision, self._sealer))
            self._pending.popleft()
        return out

    def _settle(self, now_s: float, out: list[Struct]) -> None:
        """Decide on unclaimed changes, and alert, also where they wait behind others."""
        while self._unclaimed and len(out) < self._limits.released_max:
            first = self._unclaimed[0]
            assert isinstance(first.what, Claimed)
            first.decision = self._decide(first, first.what, now_s)
            if first.decision is None:
                break
            if first.decision.attribution == "unattributed":
                self._alert(first, first.what, first.decision.reason, out)
            self._unclaimed.popleft()

    def _decide(self, pending: _Pending, claimed: Claimed, now_s: float) -> Decision | None:
        """None: not yet."""
        waited_s = now_s - pending.arrived_s
        match claimed.claim:
            case Declared(writer):
                return Decision("known_writer", f"known writer {writer}")
            case Unclaimed(reason):
                known = self._statements.probable(self.feed, claimed.change) if reason == NO_MARK else None
                if known is not None:
                    return Decision("probable", f"{known.tag} {PROBABLE}", known)
                if reason == NO_MARK and waited_s < self._limits.settle_s:
                    return None
                return Decision("unattributed", reason)
            case Marked(mark, doubtful):
                known = self._statements.find(mark)
                if known is not None:
                    return self._of_session(claimed.change.txid, mark, known)
                if waited_s < self._limits.statement_s:
                    return None
                if doubtful:
                    return Decision("unattributed", FORGOTTEN_MARK, mark=mark)
                return Decision("statement", NOT_SEEN, mark=mark)

    def _of_session(self, txid: int, mark: Mark, known: Known) -> Decision:
        """A transaction belongs to one session: somebody else's mark in it was stolen before it could be used."""
        if self._session[0] != txid:
            self._session = (txid, known.session)
        if self._session[1] != known.session:
            return Decision("unattributed", TWO_SESSIONS, mark=mark)
        return Decision("statement", known=known, mark=mark)

    def _alert(self, pending: _Pending, claimed: Claimed, reason: str, out: list[Struct]) -> None:
        """Once for each transaction and table."""
        name = f"{claimed.change.schema}.{table(claimed)}".encode()
        about = (claimed.change.txid, hashlib.sha256(name).hexdigest()[:12])
        if about in self._alerted:
            return
        self._alerted[about] = None
        if len(self._alerted) > ALERTED_MAX:
            self._alerted.popitem(last=False)
        out += unattributed(self.feed, claimed, pending.key, reason, self._sealer)
