"""Held statements, people and signed decisions to test approvals with."""

from __future__ import annotations

import time
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json
from msgspec.structs import replace

from taprail.schemas.control import Decision, SignedRecord
from taprail.schemas.envelope import Sealer
from taprail.schemas.records import Approval, Person, Terms, statement_id
from taprail.streams.approvals.decide import sign_decision
from taprail.streams.approvals.votes import Question
from taprail.streams.keys import ControlKey
from taprail.streams.values import Values

CONTROL = Ed25519PrivateKey.generate()
STRANGER = Ed25519PrivateKey.generate()
KEY = ControlKey("control-1", CONTROL)
PUBLIC_KEYS = {"control-1": CONTROL.public_key()}
SEALER = Sealer("data-1", b"k" * 32)
ANN = Person("ann", "Ann", "person", ("engineers",), "https://idp.example")
BOB = Person("bob", "Bob", "person", ("data-owners",), "https://idp.example")
CAT = Person("cat", "Cat", "person", ("data-owners",), "https://idp.example")
EVE = Person("eve", "Eve", "person", (), "https://idp.example")
AGENT = Person("bot", "bot", "agent", ("data-owners",), "https://idp.example", "ann")
TEXT = "DELETE FROM carts WHERE owner = 'ann@example.com'"
BINDING = "5e" * 32  # what a tap would bind it to


def now_us() -> int:
    return time.time_ns() // 1000


def approval(text: str = TEXT, parameters: tuple[bytes | None, ...] = (), **changes: Any) -> Approval:
    """Ann's held DELETE, with its text in an envelope."""
    made = Approval(
        approval_id="tap-1-7-12",
        time_us=now_us(),
        expires_us=now_us() + 300_000_000,
        tap="tap-1",
        epoch=7,
        sequence=12,
        session="session-1",
        environment="prod",
        server="main",
        database="shop",
        person=ANN,
        purpose="clean up",
        role="engineer",
        rule="unbounded-write",
        reason="it writes personal data",
        tag="DELETE",
        relations=("public.carts",),
        normalized="DELETE FROM carts WHERE owner = $1",
        fingerprint="f",
        binding=BINDING,
        approvers=("data-owners",),
    )
    made = replace(made, **changes)
    purpose = statement_id(made.tap, made.epoch, made.sequence)
    sealed = SEALER.seal(json.encode(Values(text, parameters)), purpose)
    return made if "values" in changes else replace(made, values=sealed)


def question(**changes: Any) -> Question:
    """What a tap asks about Ann's held DELETE."""
    return replace(Question(BINDING, ANN, ("data-owners",), Terms()), **changes)


def decision(of: Approval, answer: Literal["approve", "deny"] = "approve", **changes: Any) -> Decision:
    made = Decision(of.approval_id, of.binding, answer, BOB, "fine", of.time_us + 1, of.expires_us)
    return replace(made, **changes)


def signed(made: Decision, key: Ed25519PrivateKey = CONTROL, key_id: str = "control-1") -> SignedRecord:
    return sign_decision(made, key, key_id)
