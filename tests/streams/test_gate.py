"""The tap believes a decision that is signed, for exactly this statement, by somebody else, in time, once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from taprail.schemas.control import Decision
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Durability, Facts, Part, Request, SessionContext, Ticket, Verdict
from taprail.schemas.records import Person, Terms, approval_id_of
from taprail.streams.approvals.decide import sign_decision
from taprail.streams.approvals.waiter import DecisionDesk
from taprail.streams.gate import TapGate
from taprail.streams.recording import request_binding

KEY = Ed25519PrivateKey.generate()
ANN, BOB = Person("ann", "ann", "person"), Person("bob", "bob", "person", ("data-owners",))
CONTEXT = SessionContext("s-1", "tap-1", "prod", "local", "prod", "app", ANN, "oidc")
REQUEST = Request("DELETE FROM t", CONTEXT, "simple")
VERDICT = Verdict("hold", Facts("DELETE", writes=True), "DELETE FROM t", "f", "v", catalog_epoch=3, hold_seconds=1)
VERDICT = replace(VERDICT, approvers=("data-owners",))
TICKET = Ticket(7, 5, "", 0)
APPROVAL = approval_id_of("tap-1", 7, 5)


class StillTheSame:
    """A guard that says of every statement what it said before."""

    verdict = VERDICT

    def split(self, text: str) -> tuple[Part, ...]:
        return (Part(0, len(text)),)

    def judge(self, request: Request) -> Verdict:
        return self.verdict

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        return verdict


async def at_once(_: Durability) -> None:
    """Whatever is recorded is as durable as it shall be."""


def _decision(**changes: Any) -> Decision:
    decision = Decision(APPROVAL, request_binding(REQUEST, VERDICT), "approve", BOB, "fine", 10, 20)
    return structs.replace(decision, **changes)


async def _answer(
    decision: Decision, key: Ed25519PrivateKey = KEY, guard: StillTheSame | None = None
) -> tuple[bool, str]:
    desk = DecisionDesk({"control-1": KEY.public_key()})
    gate = TapGate(guard or StillTheSame(), desk, {}, at_once)
    waiting = asyncio.create_task(gate.approval(REQUEST, VERDICT, TICKET))
    await asyncio.sleep(0)
    desk.take(sign_decision(decision, key, "control-1"))
    release = await waiting
    return release.approved, release.status


async def test_an_approval_lets_it_run() -> None:
    assert await _answer(_decision()) == (True, "ok")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"decision": "deny"}, "denied"),
        ({"binding": "another statement"}, "expired"),
        ({"approver": ANN}, "expired"),
        ({"approver": structs.replace(BOB, groups=("nobody",))}, "expired"),
        ({"decided_us": 21}, "expired"),
    ],
)
async def test_any_other_decision_does_not(changes: dict[str, Any], status: str) -> None:
    assert await _answer(_decision(**changes)) == (False, status)


async def test_a_decision_signed_with_another_key_is_as_if_it_never_came() -> None:
    assert await _answer(_decision(), Ed25519PrivateKey.generate()) == (False, "expired")


async def test_an_approval_runs_once() -> None:
    desk = DecisionDesk({"control-1": KEY.public_key()})
    gate = TapGate(StillTheSame(), desk, {}, at_once)
    desk.take(sign_decision(_decision(), KEY, "control-1"))
    assert (await gate.approval(REQUEST, VERDICT, TICKET)).approved
    desk.take(sign_decision(_decision(), KEY, "control-1"))
    again = await gate.approval(REQUEST, VERDICT, TICKET)
    assert (again.approved, again.status) == (False, "denied")


async def test_a_catalog_that_changed_meanwhile_voids_the_approval() -> None:
    guard = StillTheSame()
    guard.verdict = replace(VERDICT, catalog_epoch=4)
    assert await _answer(_decision(), guard=guard) == (False, "error")


TOLD = replace(VERDICT, hold_seconds=3600, terms=Terms("retry", quorum=2, grant_seconds=900))


async def test_who_is_told_at_once_learns_what_was_asked_and_what_to_do() -> None:
    gate = TapGate(StillTheSame(), DecisionDesk({}), {}, at_once)
    release = await asyncio.wait_for(gate.approval(REQUEST, TOLD, TICKET), 0.5)
    assert (release.approved, release.status, release.approval_id) == (False, "denied", APPROVAL)
    assert f"{APPROVAL} asks for it" in release.reason
    assert release.hint == "2 of data-owners may approve within 60 min; run it again then, within 15 min"


@pytest.mark.parametrize("verdict", [VERDICT, TOLD], ids=["waits", "told at once"])
async def test_what_cannot_be_asked_for_is_refused_at_once_and_says_so(verdict: Verdict) -> None:
    async def away(durability: Durability) -> None:
        assert durability == "kafka"
        raise RefusedError("Kafka didn't take its record within 10 s")

    gate = TapGate(StillTheSame(), DecisionDesk({}), {}, away)
    release = await asyncio.wait_for(gate.approval(REQUEST, verdict, TICKET), 0.5)
    assert (release.approved, release.status) == (False, "expired")
    assert release.reason == "an approval is needed and can't be asked for: Kafka didn't take its record within 10 s"


async def test_as_many_must_approve_as_the_policy_says() -> None:
    desk, two = DecisionDesk({"control-1": KEY.public_key()}), replace(VERDICT, terms=Terms(quorum=2))
    guard = StillTheSame()
    guard.verdict = two
    gate = TapGate(guard, desk, {}, at_once)
    waiting = asyncio.create_task(gate.approval(REQUEST, two, TICKET))
    await asyncio.sleep(0)
    desk.take(sign_decision(_decision(), KEY, "control-1"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    cat = Person("cat", "cat", "person", ("data-owners",))
    desk.take(sign_decision(_decision(approver=cat, reason="yes"), KEY, "control-1"))
    assert (await waiting).reason == "bob, cat: yes"


@pytest.mark.parametrize("change", [{"terms": Terms(quorum=2)}, {"approvers": ("security",)}])
async def test_a_policy_that_asks_for_more_by_now_isnt_met_by_what_was_approved_before(change: dict[str, Any]) -> None:
    guard = StillTheSame()
    guard.verdict = replace(VERDICT, **change)
    assert await _answer(_decision(), guard=guard) == (False, "error")


async def test_of_a_script_every_statement_must_still_be_what_it_was() -> None:
    class Moving(StillTheSame):
        def judge(self, request: Request) -> Verdict:
            return replace(VERDICT, catalog_epoch=4) if request.text.endswith("u") else VERDICT

    desk = DecisionDesk({"control-1": KEY.public_key()})
    gate = TapGate(Moving(), desk, {}, at_once)
    desk.take(sign_decision(_decision(), KEY, "control-1"))
    parts = (Request("DELETE FROM t", CONTEXT, "simple"), Request("DELETE FROM u", CONTEXT, "simple"))
    release = await gate.approval(REQUEST, VERDICT, TICKET, parts)
    assert (release.approved, release.status) == (False, "error")
