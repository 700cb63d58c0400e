"""What waits for a decision: fed with approvals and decisions, asked by the page and the command line."""

from __future__ import annotations

from collections import OrderedDict
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
    approval: Approval
    state: State = "requested"
    decision: Decision | None = None


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

    def take_decision(self, decision: Decision) -> None:
        """The first decision counts."""
        entry = self._entries.get(decision.approval_id)
        if entry is None:
            self._early[decision.approval_id] = decision
            while len(self._early) > KEPT_MAX:
                self._early.popitem(last=False)
        elif (state := TRANSITIONS.get((entry.state, decision.decision))) is not None:
            entry.state, entry.decision = state, decision

    def expire(self, now_us: int) -> list[Approval]:
        """Those whose time has just run out."""
        late = [e for e in self._entries.values() if e.state == "requested" and now_us >= e.approval.expires_us]
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
