"""What whoever decides is shown beside the statement: what the planner expects, history, what an approval allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from taprail.schemas.records import Approval, ApprovalStatus
from taprail.streams.approvals.access import words
from taprail.streams.approvals.pending import Entry
from taprail.streams.approvals.votes import question_of, who

SHOWN_MAX = 5


class Before(Struct, frozen=True):
    """An earlier request for an equal statement."""

    approval_id: str
    time_us: int
    person: str
    state: ApprovalStatus


class History(Struct, frozen=True):
    """What became of what this person asked for before, by state, and of equal statements of anybody."""

    person: dict[str, int]
    statement: tuple[Before, ...]


def history(entries: Iterable[Entry], approval: Approval) -> History:
    """From all that is remembered, the newest first."""
    states: Counter[str] = Counter()
    equal: list[Before] = []
    who_asks = (approval.person.issuer, approval.person.subject)
    for entry in entries:
        other = entry.approval
        if other.approval_id == approval.approval_id:
            continue
        if (other.person.issuer, other.person.subject) == who_asks:
            states[entry.state] += 1
        if approval.normalized and other.normalized == approval.normalized and len(equal) < SHOWN_MAX:
            equal.append(Before(other.approval_id, other.time_us, other.person.name, entry.state))
    return History(dict(sorted(states.items())), tuple(equal))


def allows(approval: Approval) -> str:
    """What an approval lets happen, in a sentence."""
    if approval.kind == "access":
        seconds = approval.access.seconds if approval.access is not None else 0
        return f"{words(approval)}, for {minutes(seconds)} from the approval on"
    what = f"these {approval.statements} statements run" if approval.kind == "script" else "the statement runs"
    if approval.terms.mode == "wait":
        return f"{what} once, exactly as shown, in the session that waits"
    lasts = minutes(approval.terms.grant_seconds)
    return f"{what} once, exactly as shown, when {approval.person.name} sends it within {lasts}"


def remembers(approval: Approval) -> str:
    """What it means to remember the approval; '' where that isn't offered."""
    if not (approval.remember and approval.terms.remember_seconds):
        return ""
    days = approval.terms.remember_seconds // 86_400
    return f"equal statements with any values pass without asking, by role {approval.role}, for {days} days"


def expects(approval: Approval) -> str:
    return f"about {approval.estimated_rows:,} rows" if approval.estimated_rows >= 0 else "not known"


def progress(entry: Entry) -> str:
    """Who decides, and who has said yes."""
    approved = [vote.approver.name for vote in entry.counted.approved]
    said = who(question_of(entry.approval))
    return f"{said}; approved by {', '.join(approved)}" if approved else said


def lately(found: History) -> str:
    """A person's history in a line."""
    return ", ".join(f"{count} {state}" for state, count in found.person.items()) or "nothing in 30 days"


def minutes(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def clock(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
