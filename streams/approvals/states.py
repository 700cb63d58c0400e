"""The states of an approval, as one table; everything else is a way to ask it.

            ┌── deny ────► refused
            ├── expire ──► expired ◄──────── expire ─┐ (not used in its time)
requested ──┼── cancel ──► cancelled ◄───── cancel ──┤
            ├── approve ─► approved ────────────────┼── run ──► run
            └── run, fail: the end was read first ──┴── fail ─► failed  (and of a script, after run)

Topics have no common order, so a state isn't stepped from record to record: it is what all that is known comes to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from taprail.schemas.control import Decision
from taprail.schemas.records import Approval, ApprovalStatus
from taprail.streams.approvals.votes import Count, count, question_of

Event = Literal["approve", "deny", "expire", "cancel", "run", "fail"]
# From each state, what may happen, and where it leads. What isn't here doesn't happen.
TRANSITIONS: dict[tuple[ApprovalStatus, Event], ApprovalStatus] = {
    ("requested", "approve"): "approved",
    ("requested", "deny"): "refused",
    ("requested", "expire"): "expired",
    ("requested", "cancel"): "cancelled",
    ("requested", "run"): "run",
    ("requested", "fail"): "failed",
    ("approved", "run"): "run",
    ("approved", "fail"): "failed",
    ("approved", "cancel"): "cancelled",
    ("approved", "expire"): "expired",
    ("run", "fail"): "failed",
}
EVENT_OF: dict[ApprovalStatus, Event] = {
    "approved": "approve",
    "refused": "deny",
    "expired": "expire",
    "cancelled": "cancel",
    "run": "run",
    "failed": "fail",
}


def walk(events: Iterable[Event]) -> ApprovalStatus:
    status: ApprovalStatus = "requested"
    for event in events:
        status = TRANSITIONS.get((status, event), status)
    return status


class Course(Struct):
    """What is known of an approval. `ends` are the states that taps have told, `late` says for what its time was over.

    Votes, and ends, may be known before what they are about.
    """

    approval: Approval | None = None
    votes: list[Decision] = field(default_factory=list)
    ends: list[ApprovalStatus] = field(default_factory=list)
    late: Literal["", "undecided", "unused"] = ""

    def vote(self, decision: Decision) -> None:
        if decision not in self.votes:
            self.votes.append(decision)

    def end(self, status: ApprovalStatus) -> None:
        if status in ("run", "failed", "cancelled", "expired") and status not in self.ends:
            self.ends.append(status)

    def counted(self, unread: Iterable[Decision] = ()) -> Count:
        """What the votes come to, with those that are on their way behind those of the topic."""
        return count(question_of(self.approval), (*self.votes, *unread)) if self.approval is not None else Count()

    def status(self, unread: Iterable[Decision] = ()) -> ApprovalStatus:
        events: list[Event] = []
        if answer := self.counted(unread).answer:
            events.append(answer)
        events += (EVENT_OF[status] for status in self.ends if self._ends_with(status))
        if self.late == "unused" or (self.late and not answer):  # a vote in time may be read late
            events.append("expire")
        return walk(events)

    @property
    def waits(self) -> bool:
        """Whether somebody waits at a tap, which knows best when that is over."""
        approval = self.approval
        return approval is not None and approval.kind != "access" and approval.terms.mode == "wait"

    def _ends_with(self, status: ApprovalStatus) -> bool:
        """Access for a time isn't used up; and where nobody waits, time is looked at here."""
        if status == "expired":
            return self.waits
        return status == "cancelled" or self.approval is None or self.approval.kind != "access"

    def runs_out_us(self) -> int:
        """When its time is over: to be decided, or to be used where it waits for that. 0 for never."""
        assert self.approval is not None
        counted, terms = self.counted(), self.approval.terms
        if not counted.answer:
            return self.approval.expires_us
        if counted.answer == "deny" or counted.deciding is None or self.waits or self.approval.kind == "access":
            return 0
        return counted.deciding.decided_us + terms.grant_seconds * 1_000_000

    def expire(self, now_us: int) -> bool:
        """Whether its time has just run out."""
        if self.approval is None or self.status() not in ("requested", "approved"):
            return False
        runs_out_us = self.runs_out_us()
        if not 0 < runs_out_us <= now_us:
            return False
        self.late = "unused" if self.counted().answer else "undecided"
        return True
