"""What a tap believes: signed decisions on its own statements, once, and nothing that only looks like one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from taprail.schemas import avro
from taprail.schemas.control import Grant, SignedRecord, sign
from taprail.schemas.guard import Release
from taprail.schemas.records import ApprovalState, Person, Terms
from taprail.streams.approvals import waiter
from taprail.streams.approvals.waiter import DecisionDesk
from tests.fakes.approvals import (
    AGENT,
    ANN,
    BINDING,
    BOB,
    CAT,
    CONTROL,
    PUBLIC_KEYS,
    STRANGER,
    approval,
    decision,
    question,
    signed,
)

HELD = approval()
APPROVED = signed(decision(HELD))
DENIED = signed(decision(HELD, "deny", reason="not today"))


def desk() -> DecisionDesk:
    return DecisionDesk(PUBLIC_KEYS)


async def outcome(*records: SignedRecord, at: DecisionDesk | None = None, **asked: Any) -> Release:
    """What a wait comes to that reads these records while it waits."""
    one = at or desk()
    waiting = asyncio.create_task(one.wait(HELD.approval_id, question(**asked), 0.05))
    await asyncio.sleep(0)
    for record in records:
        one.take(record)
    return await waiting


async def test_an_approval_lets_it_run() -> None:
    assert await outcome(APPROVED) == Release(True, "tap-1-7-12", "Bob: fine")


async def test_a_denial_tells_why() -> None:
    assert await outcome(DENIED) == Release(False, "tap-1-7-12", "Bob said no: not today", "denied")


async def test_nobody_decides_and_the_time_runs_out() -> None:
    release = await outcome()
    assert (release.approved, release.status) == (False, "expired")


def forged() -> dict[str, SignedRecord]:
    good = decision(HELD)
    other = approval(tap="tap-2", approval_id="tap-2-7-12")
    grant = Grant("g", "access", ANN, "prod", "shop", "because", 0, 2**60, (BOB,))
    flipped = bytes([APPROVED.signature[0] ^ 1]) + APPROVED.signature[1:]
    changed = json.encode(replace(good, approver=replace(BOB, name="Boss")))
    odd = json.encode({"approval_id": HELD.approval_id, "decision": "maybe"})
    made: Any = lambda kind, key, body: sign(kind, key, body, private_key=CONTROL, key_id="control-1", now_us=1)  # noqa: E731
    return {
        "unsigned": replace(APPROVED, signature=b""),
        "a signature of zeros": replace(APPROVED, signature=bytes(64)),
        "a flipped bit": replace(APPROVED, signature=flipped),
        "a longer signature": replace(APPROVED, signature=APPROVED.signature + b"\0"),
        "signed by a stranger in our name": signed(good, STRANGER),
        "signed by a stranger": signed(good, STRANGER, "stranger"),
        "an empty key id": replace(APPROVED, key_id=""),
        "a changed payload": replace(APPROVED, payload=changed),
        "a denial made an approval": replace(DENIED, payload=APPROVED.payload),
        "another kind": replace(APPROVED, kind="grant"),
        "under another approval's key": replace(signed(decision(other)), key=HELD.approval_id),
        "signed under this key for another": made("decision", HELD.approval_id, decision(other)),
        "a real grant": made("grant", HELD.approval_id, grant),
        "a grant signed as a decision": made("decision", HELD.approval_id, grant),
        "an unreadable payload": replace(
            APPROVED,
            payload=odd,
            signature=CONTROL.sign(b"taprail/control/v1\0decision\0tap-1-7-12\0" + odd),
        ),
    }


@pytest.mark.parametrize("how", forged())
async def test_what_is_forged_is_not_believed(how: str, caplog: pytest.LogCaptureFixture) -> None:
    one = desk()
    release = await outcome(forged()[how], at=one)
    assert (release.approved, release.status) == (False, "expired")
    assert one.refused == 1
    assert "not believed" in caplog.text


@pytest.mark.parametrize("how", forged())
async def test_a_forgery_does_not_keep_the_real_one_out(how: str) -> None:
    assert (await outcome(forged()[how], APPROVED)).approved


async def test_a_decision_for_another_tap_decides_nothing_here() -> None:
    other = approval(tap="tap-2", approval_id="tap-2-7-12")
    one = desk()
    release = await outcome(signed(decision(other)), at=one)
    assert (release.status, one.refused) == ("expired", 0)


@pytest.mark.parametrize("change", [{"binding": "another"}, {"binding": ""}, {"binding": BINDING.upper()}])
async def test_an_approval_of_another_text_lets_nothing_run(change: dict[str, Any]) -> None:
    release = await outcome(signed(decision(HELD, **change)))
    assert (release.approved, release.status) == (False, "expired")


async def test_the_statement_that_changed_meanwhile_does_not_run() -> None:
    assert not (await outcome(APPROVED, binding="what it would be now")).approved


@pytest.mark.parametrize(
    ("requester", "approver"),
    [
        (BOB, BOB),
        (AGENT, replace(ANN, groups=("data-owners",))),
        (ANN, AGENT),
        (replace(AGENT, on_behalf_of="bob"), BOB),
        (ANN, replace(BOB, kind="agent")),
        (ANN, replace(BOB, kind="service")),
    ],
)
async def test_the_tap_checks_the_approver_itself(requester: Person, approver: Person) -> None:
    """Even with the control key: four eyes are four."""
    release = await outcome(signed(decision(HELD, approver=approver)), requester=requester)
    assert not release.approved


async def test_a_decision_after_its_time_is_none() -> None:
    release = await outcome(signed(decision(HELD, decided_us=HELD.expires_us)))
    assert (release.approved, release.status) == (False, "expired")


async def test_the_first_decision_counts() -> None:
    assert not (await outcome(DENIED, APPROVED)).approved
    assert (await outcome(APPROVED, DENIED)).approved


async def test_the_first_decision_counts_before_anybody_waits_as_well() -> None:
    one = desk()
    one.take(DENIED)
    one.take(APPROVED)
    assert not (await outcome(at=one)).approved


async def test_a_decision_may_come_before_the_wait() -> None:
    one = desk()
    one.take(APPROVED)
    assert (await outcome(at=one)).approved


async def test_votes_before_and_during_the_wait_count_together() -> None:
    one, two = desk(), Terms(quorum=2)
    one.take(APPROVED)
    release = await outcome(APPROVED, signed(decision(HELD, approver=CAT, reason="yes")), at=one, terms=two)
    assert release == Release(True, "tap-1-7-12", "Bob, Cat: yes")


async def test_too_few_approvals_are_none_and_say_so() -> None:
    release = await outcome(APPROVED, APPROVED, terms=Terms(quorum=2))
    assert (release.approved, release.status) == (False, "expired")
    assert "1 approved, which is not enough" in release.reason


async def test_an_approval_is_used_once() -> None:
    one = desk()
    assert (await outcome(APPROVED, at=one)).approved
    again = await outcome(APPROVED, at=one)
    assert (again.approved, again.reason) == (False, "this approval was used already")


async def test_a_replay_after_a_cancelled_wait_is_not_used() -> None:
    """The client went away: its approval doesn't wait for the next one."""
    one = desk()
    waiting = asyncio.create_task(one.wait(HELD.approval_id, question(), 5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    one.take(APPROVED)
    assert not (await outcome(APPROVED, at=one)).approved


async def test_two_waits_for_one_approval_release_one_statement() -> None:
    one = desk()
    waits = [asyncio.create_task(one.wait(HELD.approval_id, question(), 0.05)) for _ in range(3)]
    await asyncio.sleep(0)
    one.take(APPROVED)
    assert [release.approved for release in await asyncio.gather(*waits)] == [True, False, False]


async def test_decisions_that_nobody_waits_for_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiter, "EARLY_MAX", 3)
    one = desk()
    for sequence in range(10):
        other = approval(approval_id=f"tap-1-7-{sequence}", sequence=sequence)
        one.take(signed(decision(other)))
    assert len(one._early) == 3


def test_a_decision_survives_its_topics_encoding() -> None:
    assert avro.decoder(SignedRecord)(avro.encode(APPROVED)) == APPROVED


async def test_where_the_approvals_service_takes_no_request_nobody_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiter, "ASKED_SECONDS", 0.05)
    one = desk()
    release = await asyncio.wait_for(one.wait(HELD.approval_id, question(), 60), 1.0)
    assert (release.approved, release.status) == (False, "expired")
    assert "nobody could be asked: the approvals service hasn't taken the request" in release.reason


@pytest.mark.parametrize("early", [True, False])
async def test_where_it_has_taken_it_people_have_their_time(monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    monkeypatch.setattr(waiter, "ASKED_SECONDS", 0.05)
    one, taken = desk(), ApprovalState(HELD.approval_id, 1, "requested", "prod", "shop", ANN)
    if early:
        one.take_state(taken)
    waiting = asyncio.create_task(one.wait(HELD.approval_id, question(), 60))
    await asyncio.sleep(0)
    if not early:
        one.take_state(taken)
    await asyncio.sleep(0.15)
    assert not waiting.done()
    one.take(APPROVED)
    assert (await waiting).approved


async def test_a_first_vote_says_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiter, "ASKED_SECONDS", 0.05)
    one, two = desk(), Terms(quorum=2)
    waiting = asyncio.create_task(one.wait(HELD.approval_id, question(terms=two), 0.3))
    await asyncio.sleep(0)
    one.take(APPROVED)
    assert "1 approved, which is not enough" in (await waiting).reason
