"""What the page knows of approvals, whatever the order in which records are read; and that all who read them agree."""

from __future__ import annotations

import asyncio
import itertools
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec.structs import replace

from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, ApprovalState, Person, Terms
from taprail.streams.approvals import notices, pending
from taprail.streams.approvals.decide import decide, open_decision, sign_decision
from taprail.streams.approvals.notices import Watched
from taprail.streams.approvals.pending import PendingApprovals, decided, may_decide
from taprail.streams.approvals.waiter import DecisionDesk
from tests.fakes.approvals import (
    AGENT,
    ANN,
    BOB,
    CAT,
    CONTROL,
    EVE,
    PUBLIC_KEYS,
    approval,
    decision,
    now_us,
    question,
)

HELD = approval()
LEAD = Person("gus", "Gus", "person", ("leads",), "https://idp.example")


def of(*approvals: Approval) -> PendingApprovals:
    made = PendingApprovals()
    for one in approvals:
        made.take_approval(one)
    return made


@pytest.mark.parametrize("answer", ["approve", "deny"])
def test_taking_a_record_again_changes_nothing(answer: Literal["approve", "deny"]) -> None:
    one = of(HELD, HELD)
    one.take_decision(decision(HELD, answer))
    one.take_decision(decision(HELD, "deny" if answer == "approve" else "approve"))
    one.take_approval(HELD)
    assert one.get(HELD.approval_id).state == {"approve": "approved", "deny": "refused"}[answer]


def test_a_second_approval_of_the_same_name_does_not_replace_the_first() -> None:
    """Who can write to the topic can't put another text under what an approver has open."""
    one = of(HELD, approval(text="DROP TABLE carts", binding="other"))
    assert one.get(HELD.approval_id).approval == HELD


@pytest.mark.parametrize("order", list(itertools.permutations(["hold", "decide", "expire"])))
def test_a_decision_in_time_counts_in_whatever_order_it_is_read(order: tuple[str, ...]) -> None:
    one = PendingApprovals()
    for step in order:
        if step == "hold":
            one.take_approval(HELD)
        elif step == "decide":
            one.take_decision(decision(HELD, decided_us=HELD.expires_us - 1))
        else:
            one.expire(HELD.expires_us)
    assert one.get(HELD.approval_id).state == "approved"


def test_a_decision_that_came_too_late_does_not() -> None:
    one = of(HELD)
    one.take_decision(decision(HELD, decided_us=HELD.expires_us))
    assert one.get(HELD.approval_id).state == "requested"


def test_a_decision_on_another_text_does_not() -> None:
    one = of(HELD)
    one.take_decision(decision(HELD, binding="other"))
    assert one.get(HELD.approval_id).state == "requested"


def test_it_expires_once_at_its_time() -> None:
    one = of(HELD)
    assert one.expire(HELD.expires_us - 1) == []
    assert one.expire(HELD.expires_us) == [HELD]
    assert one.expire(HELD.expires_us + 1) == []
    assert one.requested(HELD.expires_us) == []


def test_while_it_is_being_decided_nobody_else_decides_and_it_does_not_expire() -> None:
    one = of(HELD)
    with one.deciding(HELD.approval_id, HELD.time_us):
        with pytest.raises(RefusedError, match="being decided"), one.deciding(HELD.approval_id, HELD.time_us):
            pytest.fail("two decide")
        assert one.expire(HELD.expires_us + 1) == []
        one.take_decision(decision(HELD))
    assert one.get(HELD.approval_id).state == "approved"


def test_a_decision_that_fails_leaves_it_open() -> None:
    one = of(HELD)
    with pytest.raises(RuntimeError), one.deciding(HELD.approval_id, HELD.time_us):
        raise RuntimeError
    with one.deciding(HELD.approval_id, HELD.time_us) as entry:
        assert entry.state == "requested"


def test_the_topic_says_which_decision_was_first() -> None:
    """Kafka took an approval and couldn't tell; then somebody denied. The tap has read the approval first."""
    one, approved, denied = of(HELD), decision(HELD), decision(HELD, "deny")
    with one.deciding(HELD.approval_id, HELD.time_us):
        one.take_decision(denied, confirmed=False)
    assert one.get(HELD.approval_id).state == "refused"
    for record in (approved, denied):
        one.take_decision(record)
    assert one.get(HELD.approval_id).state == "approved"


@pytest.mark.parametrize(("person", "may"), [(ANN, False), (BOB, True), (CAT, True), (EVE, False), (AGENT, False)])
def test_each_sees_what_he_may_decide_on(person: Person, may: bool) -> None:
    assert of(HELD).for_approver(person, HELD.time_us) == ([HELD] if may else [])
    assert may_decide(of(HELD).get(HELD.approval_id), person) is may


def test_an_unknown_one_is_refused_with_a_hint() -> None:
    with pytest.raises(RefusedError, match="there is no approval 'tap-9'") as caught:
        PendingApprovals().get("tap-9")
    assert caught.value.hint


def test_memory_is_bounded_and_nobody_buries_what_others_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "KEPT_MAX", 3)
    many = [approval(approval_id=f"tap-1-7-{number}") for number in range(10)]
    one = of(*many)
    assert [a.approval_id for a in one.requested(HELD.time_us)] == ["tap-1-7-9", "tap-1-7-8", "tap-1-7-7"]
    bob = approval(approval_id="bobs", person=replace(ANN, subject="bob"))
    assert [a.approval_id for a in of(bob, *many).requested(HELD.time_us)] == ["tap-1-7-9", "tap-1-7-8", "bobs"]
    ended = of(*many[:2])
    ended.take_state(ApprovalState("tap-1-7-1", 1, "cancelled", "prod", "shop", None))
    for made in many[2:4]:
        ended.take_approval(made)
    assert [e.approval.approval_id for e in ended.newest()] == ["tap-1-7-3", "tap-1-7-2", "tap-1-7-0"]
    early = PendingApprovals()
    for made in many:
        early.take_decision(decision(made))
    assert len(early._early) == 3


def test_who_has_approved_is_not_asked_again() -> None:
    two = approval(terms=Terms(quorum=2))
    one = of(two)
    one.take_decision(decision(two))
    assert one.for_approver(BOB, two.time_us) == []
    assert one.for_approver(CAT, two.time_us) == [two]


def test_who_runs_it_again_before_anybody_has_decided_asks_once() -> None:
    told = Terms("retry", grant_seconds=60)
    first, again = (approval(approval_id=f"tap-1-7-{n}", time_us=now_us() + n, terms=told) for n in (12, 13))
    other = approval(approval_id="tap-1-7-14", terms=told, person=EVE)
    one = of(first, other, again)
    assert {a.approval_id for a in one.for_approver(BOB, first.time_us)} == {"tap-1-7-13", "tap-1-7-14"}
    assert one.get("tap-1-7-12").state == "cancelled"


def test_what_somebody_has_begun_to_approve_stays_when_it_is_asked_again() -> None:
    told = Terms("retry", quorum=2, grant_seconds=60)
    first, again = (approval(approval_id=f"tap-1-7-{n}", time_us=now_us() + n, terms=told) for n in (12, 13))
    one = of(first)
    one.take_decision(decision(first))
    one.take_approval(again)
    assert one.get("tap-1-7-12").state == "requested"


def test_a_request_that_nobody_waits_for_is_not_shown() -> None:
    one = of(HELD)
    one.take_state(ApprovalState(HELD.approval_id, HELD.time_us, "cancelled", "prod", "shop", ANN))
    assert one.for_approver(BOB, HELD.time_us) == []
    assert one.get(HELD.approval_id).state == "cancelled"
    assert [entry.state for entry in one.of(ANN, HELD.time_us)] == ["cancelled"]
    with pytest.raises(RefusedError, match="is cancelled already"), one.deciding(HELD.approval_id, HELD.time_us):
        pytest.fail("it is decided")


class Decisions(RuleBasedStateMachine):
    """Approvers, a topic of decisions, a page, agents and a tap that read it when they like, a client, and a clock.

    The laws: a statement runs only if enough other persons than the requester have approved exactly it, in time and
    before anybody refused; it runs once; and the page and the agents come to say of it what the tap did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0
        self.page, self.desk, self.agents = PendingApprovals(), DecisionDesk(PUBLIC_KEYS), Watched()
        self.topic: list[SignedRecord] = []
        self.read_by_page = self.read_by_tap = self.read_by_agents = 0
        self.page_knows = self.agents_know = False
        self.ended: ApprovalState | None = None
        self.told: list[ApprovalState] = []

    @initialize(quorum=st.integers(1, 2), emergency=st.booleans())
    def hold(self, quorum: int, emergency: bool) -> None:
        self.terms = Terms(quorum=quorum, emergency=("leads",) if emergency else ())
        self.held = approval(time_us=0, expires_us=100, terms=self.terms)

    @precondition(lambda self: not self.page_knows)
    @rule()
    def page_reads_the_approval(self) -> None:
        self.page.take_approval(self.held)
        self.page_knows = True

    @precondition(lambda self: not self.agents_know)
    @rule()
    def agents_read_the_approval(self) -> None:
        self.agents.course.approval = self.held
        self.agents_know = True
        self._tell()

    @rule(by_us=st.integers(1, 40))
    def time_passes(self, by_us: int) -> None:
        self.now_us += by_us
        self.page.expire(self.now_us)
        self._tell()

    @precondition(lambda self: self.page_knows)
    @rule(
        who=st.sampled_from([ANN, BOB, CAT, EVE, LEAD, AGENT]),
        answer=st.sampled_from(["approve", "approve", "deny"]),
        kafka=st.sampled_from(["takes it", "takes it", "fails", "fails but takes it"]),
    )
    def somebody_decides(self, who: Person, answer: Literal["approve", "deny"], kafka: str) -> None:
        """As the service does it."""
        open_before = self.page.get(self.held.approval_id).state == "requested" and self.now_us < self.held.expires_us
        try:
            with self.page.deciding(self.held.approval_id, self.now_us):
                made = decide(self.held, who, answer, "because", now_us=self.now_us)
                if kafka != "fails":
                    self.topic.append(sign_decision(made, CONTROL, "control-1"))
                if kafka != "takes it":
                    raise RefusedError("Kafka doesn't answer")
                self.page.take_decision(made, confirmed=False)
        except RefusedError:
            return
        assert open_before, "only while it is open"
        assert who in (BOB, CAT) or (who is LEAD and self.terms.emergency), "only approvers"

    @precondition(lambda self: self.read_by_page < len(self.topic))
    @rule()
    def page_reads_a_decision(self) -> None:
        self.page.take_decision(open_decision(self.topic[self.read_by_page], PUBLIC_KEYS))
        self.read_by_page += 1

    @precondition(lambda self: self.read_by_agents < len(self.topic))
    @rule(again=st.booleans())
    def agents_read_a_decision(self, again: bool) -> None:
        self.agents.course.vote(open_decision(self.topic[self.read_by_agents], PUBLIC_KEYS))
        self.read_by_agents += 0 if again else 1
        self._tell()

    @precondition(lambda self: self.read_by_tap < len(self.topic))
    @rule(again=st.booleans())
    def tap_reads_a_decision(self, again: bool) -> None:
        """At least once, as Kafka delivers."""
        self.desk.take(self.topic[self.read_by_tap])
        self.read_by_tap += 0 if again else 1

    def _tell(self) -> None:
        self.told += notices.steps(self.agents, self.now_us)

    @invariant()
    def every_state_is_told_once_and_in_order(self) -> None:
        told = [state.status for state in self.told]
        assert len(told) == len(set(told)), told
        assert not told or told[0] == "requested"
        assert not {"approved", "refused"} <= set(told)

    @invariant()
    def nothing_is_decided_that_nobody_decided(self) -> None:
        if not self.page_knows:
            return
        entry = self.page.get(self.held.approval_id)
        assert (entry.counted.deciding is not None) == (entry.state in ("approved", "refused"))
        assert not entry.deciding
        assert all(any(open_decision(r, PUBLIC_KEYS) == vote for r in self.topic) for vote in entry.votes)

    def teardown(self) -> None:
        """All is read in the end; then the statement runs, or doesn't, and everybody agrees."""
        for record in self.topic[self.read_by_tap :]:
            self.desk.take(record)
        asked = question(terms=self.terms)
        release = asyncio.run(self.desk.wait(self.held.approval_id, asked, 0.0))
        votes = [open_decision(record, PUBLIC_KEYS) for record in self.topic]
        approved: set[str] = set()
        expected = ""
        for vote in votes:
            approved |= {vote.approver.subject} if vote.decision == "approve" else set()
            is_lead = vote.decision == "approve" and vote.approver.subject == LEAD.subject
            enough = is_lead or len(approved) >= self.terms.quorum
            expected = expected or ("deny" if vote.decision == "deny" else "approve" if enough else "")
        assert release.approved == (expected == "approve")
        state = {"": ("requested", "expired"), "approve": ("approved",), "deny": ("refused",)}[expected]
        if self.page_knows:
            for record in self.topic[self.read_by_page :]:
                self.page.take_decision(open_decision(record, PUBLIC_KEYS))
            self.page.expire(self.now_us)
            entry = self.page.get(self.held.approval_id)
            assert entry.state in state and decided(entry).answer == expected
        if self.agents_know:
            for vote in votes:
                self.agents.course.vote(vote)
            assert self.agents.course.status() in state
        again = asyncio.run(self.desk.wait(self.held.approval_id, asked, 0.0))
        assert not again.approved


TestDecisions = Decisions.TestCase
TestDecisions.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
