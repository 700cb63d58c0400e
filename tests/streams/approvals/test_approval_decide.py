"""Who may decide on a held statement, when, and on exactly what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person
from taprail.streams.approvals.decide import decide
from taprail.streams.approvals.votes import asked_by
from tests.fakes.approvals import AGENT, ANN, BINDING, BOB, EVE, approval

OF_ANN = approval()
NOW = OF_ANN.time_us + 1


def test_an_approver_decides() -> None:
    made = decide(OF_ANN, BOB, "approve", "  cleaned up with Ann ", now_us=NOW, ticket="OPS-1")
    assert (made.approval_id, made.binding, made.decision) == ("tap-1-7-12", BINDING, "approve")
    assert (made.approver, made.reason, made.ticket) == (BOB, "cleaned up with Ann", "OPS-1")
    assert (made.decided_us, made.expires_us) == (NOW, OF_ANN.expires_us)


@pytest.mark.parametrize("answer", ["approve", "deny"])
@pytest.mark.parametrize(
    ("requester", "approver"),
    [
        (ANN, replace(ANN, groups=("data-owners",))),
        (ANN, replace(BOB, subject="ann", name="Bob")),
        (ANN, replace(ANN, groups=("data-owners",), issuer="https://other.example")),
        (AGENT, replace(ANN, groups=("data-owners",))),
        (AGENT, AGENT),
        (AGENT, replace(AGENT, kind="person", on_behalf_of="")),
        (ANN, replace(AGENT, kind="person")),
        (replace(AGENT, subject="bot-1"), replace(AGENT, subject="bot-2", kind="person")),
    ],
)
def test_nobody_decides_on_his_own(requester: Person, approver: Person, answer: Any) -> None:
    with pytest.raises(RefusedError, match="what he asked for himself"):
        decide(approval(person=requester), approver, answer, "because", now_us=NOW)


@pytest.mark.parametrize("kind", ["agent", "service"])
def test_only_people_decide(kind: Any) -> None:
    with pytest.raises(RefusedError, match=f"a {kind} can't decide"):
        decide(OF_ANN, replace(BOB, kind=kind), "approve", "because", now_us=NOW)


@pytest.mark.parametrize("groups", [(), ("engineers",), ("DATA-OWNERS",), ("data-owners ",), ("",)])
def test_other_groups_do_not(groups: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="may not decide") as caught:
        decide(OF_ANN, replace(BOB, groups=groups), "approve", "because", now_us=NOW)
    assert "data-owners" in caught.value.hint


def test_without_approvers_nobody_decides() -> None:
    with pytest.raises(RefusedError, match="may not decide"):
        decide(approval(approvers=()), BOB, "approve", "because", now_us=NOW)


@pytest.mark.parametrize("late_us", [0, 1, 10**12])
def test_too_late_is_too_late(late_us: int) -> None:
    with pytest.raises(RefusedError, match="expired"):
        decide(OF_ANN, BOB, "approve", "because", now_us=OF_ANN.expires_us + late_us)


def test_the_last_microsecond_counts() -> None:
    assert decide(OF_ANN, BOB, "deny", "because", now_us=OF_ANN.expires_us - 1).decision == "deny"


@pytest.mark.parametrize("reason", ["", " ", "\n\t", "x" * 501])
def test_a_reason_is_a_sentence(reason: str) -> None:
    with pytest.raises(RefusedError, match="reason"):
        decide(OF_ANN, BOB, "approve", reason, now_us=NOW)


def test_a_ticket_is_short() -> None:
    with pytest.raises(RefusedError, match="ticket"):
        decide(OF_ANN, BOB, "approve", "because", now_us=NOW, ticket="x" * 101)


def test_who_has_no_rights_is_told_before_anything_else() -> None:
    with pytest.raises(RefusedError, match="may not decide"):
        decide(approval(expires_us=0), EVE, "approve", "", now_us=NOW)


_names = st.sampled_from(["", "ann", "bob", "bot"])


@given(_names, _names, _names, _names)
def test_nobody_is_nobodys_requester(one: str, for_one: str, other: str, for_other: str) -> None:
    requester = Person(one, one, "person", (), "", for_one)
    person = Person(other, other, "person", (), "", for_other)
    shared = {one, for_one} & {other, for_other} - {""}
    assert asked_by(requester, person) == asked_by(person, requester) == bool(shared)
