"""What waits for a decision: fed with approvals and decisions, asked by the page and the command line."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from msgspec import Struct

from taprail.schemas.control import Decision
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, Person
from taprail.streams.approvals.decide import check_approver

KEPT_MAX = 10_000
State = Literal["requested", "approved", "denied", "expired"]

# From each state, what may happen, and where it leads. What isn't here doesn't happen.
TRANSITIONS: dict[tuple[State, str], State] = {
    ("requested", "approve"): "approved",
    ("requested", "deny"): "denied",
    ("requested", "expire"): "expired",
}


class Entry(Struct):
    """`confirmed`: the decision was read from its topic; the first one there is the one that the tap believes."""

    approval: Approval
    state: State = "requested"
    decision: Decision | None = None
    deciding: bool = False
    confirmed: bool = False


class PendingApprovals:
    """The newest approvals by id. Taking a record twice changes nothing."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._early: OrderedDict[str, Decision] = OrderedDict()  # topics have no common order

    def take_approval(self, approval: Approval) -> None:
        if approval.approval_id in self._entries:
            return
        self._entries[approval.approval_id] = Entry(approval)
        while len(self._entries) > KEPT_MAX:
            self._entries.popitem(last=False)
        if (early := self._early.pop(approval.approval_id, None)) is not None:
            self.take_decision(early)

    def take_decision(self, decision: Decision, *, confirmed: bool = True) -> None:
        """The first one counts that was made in time, on exactly this, even where it is read after that time.

        One that isn't confirmed was published by ourselves just now, and not read yet.
        """
        entry = self._entries.get(decision.approval_id)
        if entry is None:
            self._early.setdefault(decision.approval_id, decision)
            while len(self._early) > KEPT_MAX:
                self._early.popitem(last=False)
            return
        approval = entry.approval
        fits = decision.binding == approval.binding and decision.decided_us < approval.expires_us
        if fits and not entry.confirmed:
            entry.state, entry.decision = TRANSITIONS["requested", decision.decision], decision
            entry.confirmed = confirmed

    @contextmanager
    def deciding(self, approval_id: str, now_us: int) -> Iterator[Entry]:
        """While a decision is on its way nobody decides beside it, and time doesn't run out; if it fails, it's open.

        Raises RefusedError where it is decided, or being decided.
        """
        entry = self.get(approval_id)
        self.expire(now_us)
        if entry.state != "requested" or entry.deciding:
            state = "being decided" if entry.deciding else entry.state
            raise RefusedError(f"approval {approval_id} is {state} already", hint="nothing to do")
        entry.deciding = True
        try:
            yield entry
        finally:
            entry.deciding = False

    def expire(self, now_us: int) -> list[Approval]:
        """Those whose time has just run out."""
        open_ = [e for e in self._entries.values() if e.state == "requested" and not e.deciding]
        late = [e for e in open_ if now_us >= e.approval.expires_us]
        for entry in late:
            entry.state = TRANSITIONS[entry.state, "expire"]
        return [entry.approval for entry in late]

    def get(self, approval_id: str) -> Entry:
        try:
            return self._entries[approval_id]
        except KeyError:
            raise RefusedError(f"there is no approval {approval_id!r}", hint="`taprail approvals list`") from None

    def requested(self, now_us: int) -> list[Approval]:
        """Everything that waits, the newest first."""
        self.expire(now_us)
        return [e.approval for e in reversed(self._entries.values()) if e.state == "requested"]

    def for_approver(self, approver: Person, now_us: int) -> list[Approval]:
        """What this person may decide on."""
        return [approval for approval in self.requested(now_us) if may_decide(approval, approver)]


def may_decide(approval: Approval, approver: Person) -> bool:
    try:
        check_approver(approval, approver)
    except RefusedError:
        return False
    return True
