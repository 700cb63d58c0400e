"""The states of an approval: requested, and then one of three ends, whatever the order in which records are read."""

from __future__ import annotations

import asyncio
import itertools
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, Person
from taprail.streams.approvals import pending
from taprail.streams.approvals.decide import decide, open_decision, sign_decision
from taprail.streams.approvals.pending import TRANSITIONS, PendingApprovals, may_decide
from taprail.streams.approvals.waiter import DecisionDesk
from tests.fakes.approvals import AGENT, ANN, BINDING, BOB, CAT, CONTROL, EVE, PUBLIC_KEYS, approval, decision

HELD = approval()
STATES = ("requested", "approved", "denied", "expired")


def of(*approvals: Approval) -> PendingApprovals:
    made = PendingApprovals()
    for one in approvals:
        made.take_approval(one)
    return made


@pytest.mark.parametrize(("state", "event"), list(itertools.product(STATES, ("approve", "deny", "expire"))))
def test_every_transition_of_the_table_and_no_other(state: pending.State, event: Literal["approve", "deny"]) -> None:
    expected = {"approve": "approved", "deny": "denied", "expire": "expired"}[event] if state == "requested" else None
    assert TRANSITIONS.get((state, event)) == expected


@pytest.mark.parametrize("answer", ["approve", "deny"])
def test_taking_a_record_again_changes_nothing(answer: Literal["approve", "deny"]) -> None:
    one = of(HELD, HELD)
    one.take_decision(decision(HELD, answer))
    one.take_decision(decision(HELD, "deny" if answer == "approve" else "approve"))
    one.take_approval(HELD)
    assert one.get(HELD.approval_id).state == {"approve": "approved", "deny": "denied"}[answer]


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
    assert one.get(HELD.approval_id).state == "denied"
    for record in (approved, denied):
        one.take_decision(record)
    assert one.get(HELD.approval_id).state == "approved"


@pytest.mark.parametrize(("person", "may"), [(ANN, False), (BOB, True), (CAT, True), (EVE, False), (AGENT, False)])
def test_each_sees_what_he_may_decide_on(person: Person, may: bool) -> None:
    assert of(HELD).for_approver(person, HELD.time_us) == ([HELD] if may else [])
    assert may_decide(HELD, person) is may


def test_an_unknown_one_is_refused_with_a_hint() -> None:
    with pytest.raises(RefusedError, match="there is no approval 'tap-9'") as caught:
        PendingApprovals().get("tap-9")
    assert caught.value.hint


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "KEPT_MAX", 3)
    many = [approval(approval_id=f"tap-1-7-{number}") for number in range(10)]
    one = of(*many)
    assert [a.approval_id for a in one.requested(HELD.time_us)] == ["tap-1-7-9", "tap-1-7-8", "tap-1-7-7"]
    early = PendingApprovals()
    for made in many:
        early.take_decision(decision(made))
    assert len(early._early) == 3


class Decisions(RuleBasedStateMachine):
    """Approvers, a topic of decisions, a page and a tap that read it when they like, and a clock.

    The law: a statement runs only if the first decision in the topic is another person's approval, made in time, and
    the page says of it what the tap does.
    """

    on_the_way = Bundle("on_the_way")

    def __init__(self) -> None:
        super().__init__()
        self.held = approval(time_us=0, expires_us=100)
        self.now_us = 0
        self.page, self.desk = PendingApprovals(), DecisionDesk(PUBLIC_KEYS)
        self.topic: list[SignedRecord] = []
        self.read_by_page = self.read_by_tap = 0
        self.page_knows = False

    @initialize(page_first=st.booleans())
    def hold(self, page_first: bool) -> None:
        if page_first:
            self.page.take_approval(self.held)
            self.page_knows = True

    @precondition(lambda self: not self.page_knows)
    @rule()
    def page_reads_the_approval(self) -> None:
        self.page.take_approval(self.held)
        self.page_knows = True

    @rule(by_us=st.integers(1, 40))
    def time_passes(self, by_us: int) -> None:
        self.now_us += by_us
        self.page.expire(self.now_us)

    @precondition(lambda self: self.page_knows)
    @rule(
        who=st.sampled_from([ANN, BOB, CAT, EVE, AGENT]),
        answer=st.sampled_from(["approve", "deny"]),
        kafka=st.sampled_from(["takes it", "fails", "fails but takes it"]),
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
        assert open_before and who in (BOB, CAT), "only approvers, only while it is open"

    @precondition(lambda self: self.read_by_page < len(self.topic))
    @rule()
    def page_reads_a_decision(self) -> None:
        self.page.take_decision(open_decision(self.topic[self.read_by_page], PUBLIC_KEYS))
        self.read_by_page += 1

    @precondition(lambda self: self.read_by_tap < len(self.topic))
    @rule(again=st.booleans())
    def tap_reads_a_decision(self, again: bool) -> None:
        """At least once, as Kafka delivers."""
        self.desk.take(self.topic[self.read_by_tap])
        self.read_by_tap += 0 if again else 1

    @invariant()
    def nothing_is_decided_that_nobody_decided(self) -> None:
        if not self.page_knows:
            return
        entry = self.page.get(self.held.approval_id)
        assert (entry.decision is None) == (entry.state in ("requested", "expired"))
        assert not entry.deciding
        if entry.decision is not None:
            assert any(open_decision(record, PUBLIC_KEYS) == entry.decision for record in self.topic)

    def teardown(self) -> None:
        """All is read in the end; then the statement runs, or doesn't."""
        for record in self.topic[self.read_by_tap :]:
            self.desk.take(record)
        release = asyncio.run(self.desk.wait(self.held.approval_id, BINDING, ANN, 0.0))
        first = open_decision(self.topic[0], PUBLIC_KEYS) if self.topic else None
        assert release.approved == (first is not None and first.decision == "approve")
        if self.page_knows:
            for record in self.topic[self.read_by_page :]:
                self.page.take_decision(open_decision(record, PUBLIC_KEYS))
            self.page.expire(self.now_us)
            states = {None: ("requested", "expired"), "approve": ("approved",), "deny": ("denied",)}
            assert self.page.get(self.held.approval_id).state in states[first.decision if first else None]
        again = asyncio.run(self.desk.wait(self.held.approval_id, BINDING, ANN, 0.0))
        assert not again.approved


TestDecisions = Decisions.TestCase
TestDecisions.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
