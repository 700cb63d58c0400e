"""What waits for a decision: fed with what the topics say of approvals, asked by the page and the command line."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct, field

from taprail.schemas.control import Decision
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, ApprovalState, ApprovalStatus, Person
from taprail.streams.approvals.states import Course
from taprail.streams.approvals.votes import Count, asked_by, bars, count, question_of

KEPT_MAX = 10_000


class Entry(Struct):
    """`sent` are votes that were published by ourselves just now, and not read yet: they come last."""

    approval: Approval
    course: Course
    sent: list[Decision] = field(default_factory=list)
    deciding: bool = False

    @property
    def counted(self) -> Count:
        return self.course.counted(self.sent)

    @property
    def state(self) -> ApprovalStatus:
        return self.course.status(self.sent)

    @property
    def votes(self) -> list[Decision]:
        """One by one, as they count."""
        counted = self.counted
        refusing = [counted.deciding] if counted.answer == "deny" and counted.deciding is not None else []
        return [*counted.approved, *refusing]


class PendingApprovals:
    """The newest approvals by id. Taking a record twice changes nothing."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._early: OrderedDict[str, Course] = OrderedDict()  # topics have no common order
        self._asked: dict[tuple[str, ...], str] = {}  # what may be run again -> the newest request for it

    def take_approval(self, approval: Approval) -> None:
        identifier = approval.approval_id
        if identifier in self._entries:
            return
        course = self._early.pop(identifier, None) or Course()
        course.approval = approval
        self._entries[identifier] = Entry(approval, course)
        if len(self._entries) > KEPT_MAX:
            del self._entries[self._superfluous()]
        self._withdraw_repeated(approval)

    def take_decision(self, decision: Decision, *, confirmed: bool = True) -> None:
        """The first ones count that were made in time, on exactly this, even where they are read after that time."""
        entry = self._entries.get(decision.approval_id)
        if entry is not None and not confirmed:
            entry.sent.append(decision)
            return
        self._course(decision.approval_id).vote(decision)
        if entry is not None and decision in entry.sent:
            entry.sent.remove(decision)

    def take_state(self, state: ApprovalState) -> None:
        """How an approval went on where it was asked for."""
        self._course(state.approval_id).end(state.status)

    def _course(self, identifier: str) -> Course:
        entry = self._entries.get(identifier)
        if entry is not None:
            return entry.course
        course = self._early.setdefault(identifier, Course())
        while len(self._early) > KEPT_MAX:
            self._early.popitem(last=False)
        return course

    def _superfluous(self) -> str:
        """The oldest that has ended; where none has, the oldest of whoever has asked for most: nobody buries others."""
        asked: Counter[tuple[str, str]] = Counter()
        for identifier, entry in self._entries.items():
            if entry.state not in ("requested", "approved"):
                return identifier
            asked[_requester(entry.approval)] += 1
        [(most, _)] = asked.most_common(1)
        return next(name for name, entry in self._entries.items() if _requester(entry.approval) == most)

    def _withdraw_repeated(self, approval: Approval) -> None:
        """Who runs it again before anybody has decided asks for the same thing: the newest stays."""
        if approval.terms.mode != "retry" or not approval.binding:
            return
        if len(self._asked) > 2 * KEPT_MAX:
            self._asked = {key: name for key, name in self._asked.items() if name in self._entries}
        before = self._entries.get(self._asked.get(_what(approval), ""))
        if before is not None and not is_repeated(before.approval, approval):
            return  # read later, and asked earlier
        self._asked[_what(approval)] = approval.approval_id
        if before is not None and not before.counted.approved:
            before.course.end("cancelled")

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
        return [e.approval for e in self._entries.values() if not (e.deciding or e.sent) and e.course.expire(now_us)]

    def get(self, approval_id: str) -> Entry:
        try:
            return self._entries[approval_id]
        except KeyError:
            raise RefusedError(f"there is no approval {approval_id!r}", hint="`taprail approvals list`") from None

    def newest(self) -> Iterator[Entry]:
        return reversed(self._entries.values())

    def requested(self, now_us: int) -> list[Approval]:
        """Everything that waits, the newest first."""
        self.expire(now_us)
        return [e.approval for e in self.newest() if e.state == "requested"]

    def for_approver(self, approver: Person, now_us: int) -> list[Approval]:
        """What this person may decide on, and has not."""
        self.expire(now_us)
        return [e.approval for e in self.newest() if e.state == "requested" and may_decide(e, approver)]

    def of(self, person: Person, now_us: int) -> list[Entry]:
        """What this person has asked for himself."""
        self.expire(now_us)
        return [e for e in self.newest() if asked_by(e.approval.person, person)]


def may_decide(entry: Entry, person: Person) -> bool:
    """Whether it is up to this person, who hasn't approved it already."""
    has_voted = any(vote.approver.subject == person.subject for vote in entry.counted.approved)
    return not has_voted and bars(question_of(entry.approval), person) is None


def is_repeated(before: Approval, now: Approval) -> bool:
    """Whether `now` asks for what `before` has asked for already."""
    return before.time_us <= now.time_us and _what(before) == _what(now)


def _requester(approval: Approval) -> tuple[str, str]:
    return approval.person.issuer, approval.person.subject


def _what(approval: Approval) -> tuple[str, ...]:
    return approval.binding, approval.tap, approval.person.issuer, approval.person.subject


def decided(entry: Entry) -> Count:
    """What the topic alone says: votes that are on their way may not arrive."""
    return count(question_of(entry.approval), entry.course.votes)
