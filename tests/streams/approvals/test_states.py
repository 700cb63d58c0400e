"""The table of an approval's states, and that it comes to the same in whatever order its records are read."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest

from taprail.schemas.records import Access, ApprovalStatus, Terms
from taprail.streams.approvals.states import EVENT_OF, TRANSITIONS, Course, Event, walk
from tests.fakes.approvals import BOB, CAT, approval, decision

HELD = approval(time_us=0, expires_us=300)
TOLD = approval(time_us=0, expires_us=300, terms=Terms("retry", grant_seconds=1))
ACCESS = approval(time_us=0, expires_us=300, kind="access", terms=Terms("retry"), access=Access(60))


def test_the_table_leads_from_every_state_only_to_ends_that_stay() -> None:
    states, events = set(get_args(ApprovalStatus)), set(get_args(Event))
    assert {before for before, _ in TRANSITIONS} | set(TRANSITIONS.values()) == states
    assert {event for _, event in TRANSITIONS} == events == set(EVENT_OF.values())
    for state, event in itertools.product(("refused", "expired", "cancelled", "failed"), events):
        assert (state, event) not in TRANSITIONS
    assert {event for state, event in TRANSITIONS if state == "run"} == {"fail"}, "a statement of a script"


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((), "requested"),
        (("approve",), "approved"),
        (("approve", "run"), "run"),
        (("approve", "fail"), "failed"),
        (("approve", "deny"), "approved"),
        (("deny", "run"), "refused"),
        (("expire", "approve"), "expired"),
        (("cancel", "approve"), "cancelled"),
        (("approve", "expire"), "expired"),
        (("approve", "run", "expire"), "run"),
    ],
)
def test_walks(events: tuple[Event, ...], state: str) -> None:
    assert walk(events) == state


@pytest.mark.parametrize("order", list(itertools.permutations(["ask", "vote", "run"])))
def test_an_end_and_its_votes_may_be_read_before_what_they_are_about(order: tuple[str, ...]) -> None:
    course = Course()
    for step in order:
        if step == "ask":
            course.approval = HELD
        elif step == "vote":
            course.vote(decision(HELD))
        else:
            course.end("run")
    assert course.status() == "run"


def test_a_vote_in_time_counts_where_it_is_read_late() -> None:
    course = Course(HELD)
    assert course.expire(300) and course.status() == "expired"
    course.vote(decision(HELD, decided_us=299))
    assert course.status() == "approved"
    assert not course.expire(10_000_000), "whoever waits at a tap is told there"


def test_what_a_tap_gave_up_stays_so() -> None:
    """It has waited, and nobody waits any more: a vote that it never read changes nothing."""
    course = Course(HELD, [decision(HELD)], ["expired"])
    assert course.status() == "expired"


def test_an_approval_that_nobody_uses_in_its_time_runs_out() -> None:
    course = Course(TOLD, [decision(TOLD, decided_us=100)])
    assert not course.expire(100 + 999_999)
    assert course.status() == "approved"
    assert course.expire(100 + 1_000_000)
    assert course.status() == "expired"


def test_one_that_was_used_does_not() -> None:
    course = Course(TOLD, [decision(TOLD, decided_us=100)], ["run"])
    assert not course.expire(2**62) and course.status() == "run"


def test_access_is_not_used_up() -> None:
    course = Course(ACCESS, [decision(ACCESS, decided_us=100)], ["run", "failed"])
    assert course.status() == "approved"
    assert not course.expire(2**62)
    assert Course(ACCESS, [], ["cancelled"]).status() == "cancelled"


def test_it_waits_for_as_many_as_it_needs() -> None:
    two: Any = approval(time_us=0, expires_us=300, terms=Terms(quorum=2))
    course = Course(two, [decision(two)])
    assert course.status() == "requested" and [v.approver for v in course.counted().approved] == [BOB]
    assert course.status([decision(two, approver=CAT)]) == "approved", "one that is on its way counts behind them"
    assert course.expire(300) and course.status() == "expired", "and isn't there where it doesn't arrive"
