"""What is told of an approval, and when: asked once, decided once, expired once, in whatever order records are read."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec import structs

from taprail.schemas.control import Decision
from taprail.schemas.records import Approval, Person
from taprail.streams.approvals import notices
from taprail.streams.approvals.notices import Watched

ANN, BOB = Person("ann", "Ann", "person"), Person("bob", "Bob", "person", ("data-owners",))
HELD = Approval(
    "tap-1-7-12", 1_000_000, 301_000_000, "tap-1", 7, 12, "s-1", "prod", "db1", "shop", ANN, "", "engineer",
    "unbounded-write", "DELETE without WHERE.", "DELETE", ("public.carts",), "DELETE FROM carts", "f", "b",
    ("data-owners",)
)  # fmt: skip


def decision(kind: str = "approve", **changed: Any) -> Decision:
    body = Decision(HELD.approval_id, "b", kind, BOB, "fine", 5_000_000, HELD.expires_us)  # type: ignore[arg-type]
    return structs.replace(body, **changed)


def test_it_is_asked_once() -> None:
    watched, _, tell = notices.asked(None, HELD)
    assert tell and watched.state == "requested"
    assert notices.asked(watched, HELD) == (watched, None, False)


def test_the_first_decision_counts() -> None:
    watched, _, _ = notices.asked(None, HELD)
    approved, counts = notices.decided(watched, decision("approve"))
    assert counts and approved.state == "approved"
    assert notices.decided(approved, decision("deny")) == (approved, False)


@pytest.mark.parametrize("wrong", [{"binding": "another text"}, {"decided_us": HELD.expires_us}])
def test_a_decision_on_something_else_or_too_late_counts_nowhere(wrong: dict[str, Any]) -> None:
    watched, _, _ = notices.asked(None, HELD)
    assert notices.decided(watched, decision(**wrong)) == (watched, False)
    early, _ = notices.decided(None, decision(**wrong))
    after, counted, tell = notices.asked(early, HELD)
    assert (after.state, counted, tell) == ("requested", None, True)


@pytest.mark.parametrize("order", sorted(set(itertools.permutations(["ask", "ask", "decide", "decide", "tick"]))))
def test_in_any_order_nothing_is_told_twice_and_a_decision_in_time_counts(order: tuple[str, ...]) -> None:
    watched: Watched | None = None
    told: list[str] = []
    for step in order:
        if step == "ask":
            watched, early, tell = notices.asked(watched, HELD)
            told += ["requested"] * tell + ["decided"] * (early is not None)
        elif step == "decide":
            watched, counts = notices.decided(watched, decision())
            told += ["decided"] * counts
        elif watched is not None and (late := notices.ran_out(watched, HELD.expires_us)) is not None:
            watched = late
            told.append("expired")
    assert len(told) == len(set(told)), told
    assert watched is not None and watched.state == "approved" and "decided" in told


def test_a_decision_on_what_never_comes_is_forgotten() -> None:
    early, _ = notices.decided(None, decision())
    assert notices.ran_out(early, HELD.expires_us) is None
    assert not notices.is_over(early, HELD.expires_us)
    assert notices.is_over(early, HELD.expires_us + notices.KEPT_US)


def test_it_runs_out_at_its_time_and_is_forgotten_a_day_later() -> None:
    watched, _, _ = notices.asked(None, HELD)
    assert notices.ran_out(watched, HELD.expires_us - 1) is None
    late = notices.ran_out(watched, HELD.expires_us)
    assert late is not None and late.state == "expired"
    assert notices.ran_out(late, HELD.expires_us + 1) is None
    assert not notices.is_over(late, HELD.expires_us + notices.KEPT_US - 1)
    assert notices.is_over(late, HELD.expires_us + notices.KEPT_US)


def test_the_notice_says_who_what_until_when_and_where_to_decide() -> None:
    alert = notices.requested_alert(HELD, "https://approvals.example/")
    assert alert.title == "Ann asks for an approval in shop"
    assert "DELETE on public.carts is held by unbounded-write" in alert.summary
    assert "data-owners may decide within 5 min" in alert.summary
    assert alert.link == "https://approvals.example/approvals/tap-1-7-12"
    odd = structs.replace(HELD, approval_id="tap/../x?y#z")
    assert notices.requested_alert(odd, "https://a").link == "https://a/approvals/tap%2F..%2Fx%3Fy%23z"


def test_the_end_names_approver_and_requester() -> None:
    assert notices.decided_alert(HELD, decision("deny")).title == "Bob denied what Ann asked for in shop"
    expired = notices.expired_detection(HELD)
    assert (expired.rule, expired.person, expired.sequence) == ("approval-expired", ANN, 12)
