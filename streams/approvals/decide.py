"""May this person decide on this held statement? A plain function, and the signature on its answer."""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from taprail.schemas.control import Decision, SignedRecord, sign
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, Person

REASON_CHARACTERS_MAX = 500


def decide(
    approval: Approval,
    approver: Person,
    decision: Literal["approve", "deny"],
    reason: str,
    *,
    now_us: int,
    ticket: str = "",
) -> Decision:
    """Raises RefusedError where the approver is the requester, has no right to decide, or comes too late."""
    check_approver(approval, approver)
    if now_us >= approval.expires_us:
        raise RefusedError(f"approval {approval.approval_id} has expired", hint="the requester may run it again")
    if not reason.strip():
        raise RefusedError("a decision needs a reason", hint="say in a sentence why")
    if len(reason) > REASON_CHARACTERS_MAX:
        raise RefusedError(f"a reason has at most {REASON_CHARACTERS_MAX} characters", hint="say it in a sentence")
    return Decision(
        approval_id=approval.approval_id,
        binding=approval.binding,
        decision=decision,
        approver=approver,
        reason=reason.strip(),
        decided_us=now_us,
        expires_us=approval.expires_us,
        ticket=ticket,
    )


def check_approver(approval: Approval, approver: Person) -> None:
    """Nobody decides on what he asked for himself, nor on what an agent asks in his name; agents never decide."""
    requesters = {approval.person.subject, approval.person.on_behalf_of} - {""}
    if requesters & ({approver.subject, approver.on_behalf_of} - {""}):
        raise RefusedError("nobody decides on what he asked for himself", hint="ask another approver")
    if approver.kind != "person":
        raise RefusedError(f"a {approver.kind} can't decide, only a person can", hint="ask an approver")
    if not set(approver.groups) & set(approval.approvers):
        groups = ", ".join(approval.approvers) or "nobody"
        raise RefusedError(f"{approver.name} may not decide on this", hint=f"these groups may: {groups}")


def sign_decision(decision: Decision, private_key: Ed25519PrivateKey, key_id: str) -> SignedRecord:
    return sign(
        "decision",
        decision.approval_id,
        decision,
        private_key=private_key,
        key_id=key_id,
        now_us=decision.decided_us,
    )
