"""What is told of an approval, and when: each state once, in whatever order its records are read."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec import convert, structs, to_builtins

from taprail.schemas.control import Decision
from taprail.schemas.records import Access, Approval, Person, Terms
from taprail.streams.approvals import notices
from taprail.streams.approvals.notices import KEPT_US, TAP_SAYS_US, Watched
from taprail.streams.approvals.states import Course

ANN, BOB = Person("ann", "Ann", "person"), Person("bob", "Bob", "person", ("data-owners",))
HELD = Approval(
    "tap-1-7-12", 1_000_000, 301_000_000, "tap-1", 7, 12, "s-1", "prod", "db1", "shop", ANN, "", "engineer",
    "unbounded-write", "DELETE without WHERE", "DELETE", ("public.carts",), "DELETE FROM carts", "f", "b",
    ("data-owners",)
)  # fmt: skip
TOLD = structs.replace(HELD, terms=Terms("retry", grant_seconds=60))


def decision(kind: str = "approve", **changed: Any) -> Decision:
    body = Decision(HELD.approval_id, "b", kind, BOB, "fine", 5_000_000, HELD.expires_us)  # type: ignore[arg-type]
    return structs.replace(body, **changed)


def told(watched: Watched, now_us: int = 6_000_000) -> list[str]:
    return [state.status for state in notices.steps(watched, now_us)]


def test_each_state_is_told_once_with_who_and_why() -> None:
    watched = Watched(Course(HELD))
    (asked,) = notices.steps(watched, 2_000_000)
    assert (asked.status, asked.person, asked.reason, asked.time_us) == ("requested", ANN, HELD.reason, HELD.time_us)
    assert told(watched) == []
    watched.course.vote(decision(ticket="OPS-1"))
    (done,) = notices.steps(watched, 7_000_000)
    assert (done.status, done.person, done.reason, done.ticket) == ("approved", BOB, "fine", "OPS-1")
    assert (done.time_us, done.approval_id, done.environment) == (5_000_000, HELD.approval_id, "prod")
    assert told(watched) == []


@pytest.mark.parametrize("wrong", [{"binding": "another text"}, {"decided_us": HELD.expires_us}, {"approver": ANN}])
def test_a_decision_on_something_else_too_late_or_by_the_requester_is_not_told(wrong: dict[str, Any]) -> None:
    assert told(Watched(Course(HELD, [decision(**wrong)]))) == ["requested"]


@pytest.mark.parametrize("order", sorted(set(itertools.permutations(["ask", "vote", "vote", "tick", "crash"]))))
def test_in_any_order_nothing_is_told_twice_and_a_decision_in_time_counts(order: tuple[str, ...]) -> None:
    watched, found = Watched(), []
    for step in order:
        if step == "ask":
            watched.course.approval = TOLD
        elif step == "vote":
            watched.course.vote(decision())
        elif step == "crash":
            watched = convert(to_builtins(watched), Watched)
        found += told(watched, TOLD.expires_us if step == "tick" else 6_000_000)
    assert len(found) == len(set(found)), found
    assert "approved" in found


def test_what_runs_or_fails_is_told_by_its_tap_alone() -> None:
    watched = Watched(Course(HELD, [decision()], ["run"]))
    assert told(watched) == ["requested", "approved"]
    assert watched.ended_us == 6_000_000


def test_where_somebody_waits_the_tap_is_given_a_moment_to_say_that_time_is_over() -> None:
    watched = Watched(Course(HELD))
    assert told(watched, HELD.expires_us + TAP_SAYS_US - 1) == ["requested"]
    assert told(watched, HELD.expires_us + TAP_SAYS_US) == ["expired"]


def test_where_nobody_waits_its_time_ends_here() -> None:
    watched = Watched(Course(TOLD))
    assert told(watched, TOLD.expires_us - 1) == ["requested"]
    assert told(watched, TOLD.expires_us) == ["expired"]
    unused = Watched(Course(TOLD, [decision()]))
    assert told(unused) == ["requested", "approved"]
    assert told(unused, 65_000_000) == ["expired"]


def test_what_has_ended_is_forgotten_a_day_later() -> None:
    watched = Watched(Course(TOLD))
    told(watched, TOLD.expires_us)
    assert not notices.is_over(watched, TOLD.expires_us + KEPT_US - 1)
    assert notices.is_over(watched, TOLD.expires_us + KEPT_US)
    early = Watched(Course(None, [decision()]))
    assert not notices.is_over(early, HELD.expires_us)
    assert notices.is_over(early, HELD.expires_us + KEPT_US)


def test_the_notice_says_who_what_until_when_and_where_to_decide() -> None:
    alert = notices.requested_alert(HELD, "https://approvals.example/")
    assert alert.title == "Ann asks for an approval in shop"
    assert alert.summary == "DELETE on public.carts: DELETE without WHERE. Within 5 min may decide: data-owners."
    assert (alert.link, alert.approval_id) == ("https://approvals.example/approvals/tap-1-7-12", "tap-1-7-12")
    odd = structs.replace(HELD, approval_id="tap/../x?y#z")
    assert notices.requested_alert(odd, "https://a").link == "https://a/approvals/tap%2F..%2Fx%3Fy%23z"


def test_the_notice_of_a_script_and_of_access() -> None:
    script = structs.replace(HELD, kind="script", statements=3)
    assert notices.requested_alert(script, "https://a").summary.startswith("A script of 3 statements on public.carts: ")
    access = structs.replace(HELD, kind="access", access=Access(1800, "writer", ("public.carts",)))
    said = notices.requested_alert(access, "https://a").summary
    assert said.startswith("Access to role writer on public.carts for 30 min: ")


def test_the_end_names_approver_and_requester() -> None:
    assert notices.decided_alert(HELD, decision("deny")).title == "Bob denied what Ann asked for in shop"
    expired = notices.expired_detection(HELD)
    assert (expired.rule, expired.person, expired.sequence) == ("approval-expired", ANN, 12)
