"""A person's vote on what is asked for, checked and signed."""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import DecodeError

from taprail.schemas.control import Decision, SignedRecord, open_signed, sign
from taprail.schemas.errors import RefusedError, SignatureError
from taprail.schemas.records import Approval, Person
from taprail.streams.approvals.votes import bars, question_of

REASON_CHARACTERS_MAX = 500
TICKET_CHARACTERS_MAX = 100


def decide(
    approval: Approval,
    approver: Person,
    decision: Literal["approve", "deny"],
    reason: str,
    *,
    now_us: int,
    ticket: str = "",
    remember: bool = False,
) -> Decision:
    """Raises RefusedError where the approver is the requester, has no right to decide, or comes too late."""
    check_approver(approval, approver)
    if now_us >= approval.expires_us:
        raise RefusedError(f"approval {approval.approval_id} has expired", hint="the requester may run it again")
    check_words(reason, ticket)
    if decision == "approve" and approval.terms.ticket and not (ticket.strip() or approval.ticket):
        raise RefusedError("an approval of this needs a ticket", hint="name the ticket that it belongs to")
    if remember and not (approval.terms.remember_seconds and approval.remember):
        raise RefusedError("an approval of this can't be remembered", hint="approve it without")
    return Decision(
        approval_id=approval.approval_id,
        binding=approval.binding,
        decision=decision,
        approver=approver,
        reason=reason.strip(),
        decided_us=now_us,
        expires_us=approval.expires_us,
        ticket=ticket.strip(),
        remember=remember and decision == "approve",
    )


def check_words(reason: str, ticket: str) -> None:
    """Raises RefusedError."""
    if not reason.strip():
        raise RefusedError("a decision needs a reason", hint="say in a sentence why")
    if len(reason) > REASON_CHARACTERS_MAX:
        raise RefusedError(f"a reason has at most {REASON_CHARACTERS_MAX} characters", hint="say it in a sentence")
    if len(ticket) > TICKET_CHARACTERS_MAX:
        raise RefusedError(f"a ticket has at most {TICKET_CHARACTERS_MAX} characters", hint="give its number")


def check_approver(approval: Approval, approver: Person) -> None:
    """Raises RefusedError for whom it isn't up to."""
    if (barred := bars(question_of(approval), approver)) is not None:
        raise barred


def sign_decision(decision: Decision, private_key: Ed25519PrivateKey, key_id: str) -> SignedRecord:
    return sign(
        "decision",
        decision.approval_id,
        decision,
        private_key=private_key,
        key_id=key_id,
        now_us=decision.decided_us,
    )


def open_decision(record: SignedRecord, public_keys: dict[str, Ed25519PublicKey]) -> Decision:
    """The decision in a record of `taprail.decisions`. Raises SignatureError where it isn't to be believed."""
    if record.kind != "decision":
        raise SignatureError(f"a {record.kind} record stands among the decisions", hint="find out who wrote it")
    try:
        decision = open_signed(record, Decision, public_keys=public_keys)
    except DecodeError as error:
        raise SignatureError(
            f"decision {record.key!r} is signed and can't be read: {error}", hint="is everything of one version?"
        ) from None
    if decision.approval_id != record.key:
        raise SignatureError(
            f"a decision on {decision.approval_id!r} has the key {record.key!r}", hint="find out who wrote it"
        )
    return decision
