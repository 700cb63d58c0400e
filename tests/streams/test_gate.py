"""The tap believes a decision that is signed, for exactly this statement, by somebody else, in time, once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from taprail.schemas.control import Decision
from taprail.schemas.guard import Durability, Facts, Part, Request, SessionContext, Ticket, Verdict
from taprail.schemas.records import Person, approval_id_of
from taprail.streams.approvals.decide import sign_decision
from taprail.streams.approvals.waiter import DecisionDesk
from taprail.streams.gate import TapGate
from taprail.streams.recording import request_binding

KEY = Ed25519PrivateKey.generate()
ANN, BOB = Person("ann", "ann", "person"), Person("bob", "bob", "person", ("data-owners",))
CONTEXT = SessionContext("s-1", "tap-1", "prod", "local", "prod", "app", ANN, "oidc")
REQUEST = Request("DELETE FROM t", CONTEXT, "simple")
VERDICT = Verdict("hold", Facts("DELETE", writes=True), "DELETE FROM t", "f", "v", catalog_epoch=3, hold_seconds=1)
TICKET = Ticket(7, 5, "", 0)
APPROVAL = approval_id_of("tap-1", 7, 5)


class StillTheSame:
    """A guard that says of every statement what it said before."""

    verdict = VERDICT

    def split(self, text: str) -> tuple[Part, ...]:
        return (Part(0, len(text)),)

    def judge(self, request: Request) -> Verdict:
        return self.verdict


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
        ({"binding": "another statement"}, "denied"),
        ({"approver": ANN}, "denied"),
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
    assert await _answer(_decision(), guard=guard) == (False, "denied")
