"""What an approval gives that isn't used at once: grants, made of what the topics say, so that a restart makes the
same ones again; and the book of all that were given."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec.structs import replace

from taprail.schemas.control import Grant, SignedRecord
from taprail.schemas.errors import RefusedError, SignatureError
from taprail.schemas.records import Approval, Person
from taprail.streams.approvals.decide import check_words
from taprail.streams.approvals.grants import REVOKED, open_grant
from taprail.streams.approvals.pending import Entry, decided
from taprail.streams.approvals.votes import Count, asked_by
from taprail.streams.keys import ControlKey

KEPT_US = 30 * 86_400 * 1_000_000  # how long a grant that is over is shown; an open review stays
Publish = Callable[[SignedRecord], Awaitable[None]]
_log = logging.getLogger("taprail.approvals")


def grants_of(approval: Approval, counted: Count) -> list[Grant]:
    """What these votes give; the same votes, the same grants."""
    vote = counted.deciding
    if counted.answer != "approve" or vote is None:
        return []
    ticket = next((v.ticket for v in counted.approved if v.ticket), approval.ticket)
    made = Grant(
        grant_id=approval.approval_id,
        kind="statement",
        person=approval.person,
        environment=approval.environment,
        database=approval.database,
        reason=vote.reason,
        from_us=vote.decided_us,
        until_us=vote.decided_us + approval.terms.grant_seconds * 1_000_000,
        granted_by=tuple(v.approver for v in counted.approved),
        approvers=approval.approvers,
        role=approval.role,
        rule=approval.rule,
        tap=approval.tap,
        ticket=ticket,
    )
    if (access := approval.access) is not None:
        until_us = vote.decided_us + access.seconds * 1_000_000
        return [replace(made, kind="access", until_us=until_us, role=access.role, relations=access.relations)]
    found = [replace(made, binding=approval.binding)] if approval.terms.mode == "retry" else []
    if approval.remember and any(v.remember for v in counted.approved):
        until_us = vote.decided_us + approval.terms.remember_seconds * 1_000_000
        identifier = f"{approval.approval_id}-remembered"
        remembered = replace(made, kind="remembered", grant_id=identifier, binding=approval.remember, tap="")
        found.append(replace(remembered, until_us=until_us))
    return found


class Granting:
    """Not for several threads. `take` is given every record of the grants' topic, `settle` what was decided."""

    def __init__(self, key: ControlKey, public_keys: dict[str, Ed25519PublicKey], publish: Publish) -> None:
        self._key, self._public_keys, self._publish = key, public_keys, publish
        self._grants: dict[str, Grant] = {}
        self._signed_us: dict[str, int] = {}
        self._changing = asyncio.Lock()
        self.complete = threading.Event()  # everything that stood in Kafka at the start has been read

    def take(self, record: SignedRecord) -> None:
        try:
            grant = open_grant(record, self._public_keys)
        except SignatureError as error:
            _log.error("a grant is not believed: %s", error)
            return
        known = self._grants.get(grant.grant_id)
        if known is not None and known.revoked and not grant.revoked:
            return
        if record.signed_us >= self._signed_us.get(grant.grant_id, 0):
            self._grants[grant.grant_id], self._signed_us[grant.grant_id] = grant, record.signed_us

    async def settle(self, entry: Entry) -> None:
        """Publish what was given and isn't in the topic yet. Raises RefusedError where Kafka doesn't take it."""
        for grant in grants_of(entry.approval, decided(entry)):
            if grant.grant_id not in self._grants and grant.until_us > _now_us():
                await self.put(grant)

    async def put(self, grant: Grant) -> None:
        """Raises RefusedError where Kafka doesn't take it."""
        async with self._changing:
            await self._put(grant)

    async def _put(self, grant: Grant) -> None:
        now_us = max(_now_us(), self._signed_us.get(grant.grant_id, 0) + 1)
        if grant.revoked:
            await self._publish(self._key.sign("grant", grant.grant_id + REVOKED, grant, now_us))
        record = self._key.sign("grant", grant.grant_id, grant, now_us)
        await self._publish(record)
        self.take(record)

    async def revoke(self, grant_id: str, by: Person, reason: str) -> Grant:
        """Raises RefusedError where it isn't up to this person, or there is nothing to take back."""
        async with self._changing:  # what is signed is what the grant is, not what it was before somebody changed it
            grant = self.get(grant_id)
            check_words(reason, "")
            if not (asked_by(grant.person, by) or _answers_for(grant, by)):
                raise RefusedError(f"{by.name} may not take this back", hint=f"its holder may, or {_groups(grant)}")
            if grant.revoked or grant.until_us <= _now_us():
                raise RefusedError(f"grant {grant_id} is over already", hint="nothing to do")
            await self._put(replace(grant, revoked=reason.strip(), revoked_by=by))
            return self.get(grant_id)

    async def review(self, grant_id: str, by: Person, findings: str) -> Grant:
        """Close the review of an emergency. Raises RefusedError where it isn't up to this person."""
        async with self._changing:
            return await self._review(grant_id, by, findings)

    async def _review(self, grant_id: str, by: Person, findings: str) -> Grant:
        grant = self.get(grant_id)
        check_words(findings, "")
        if grant.review != "open":
            raise RefusedError(f"no review of {grant_id} is open", hint="nothing to do")
        if asked_by(grant.person, by):
            raise RefusedError("nobody reviews his own emergency", hint=f"one of {_groups(grant)} does")
        if not _answers_for(grant, by):
            raise RefusedError(f"{by.name} may not review this", hint=f"one of {_groups(grant)} may")
        closed = replace(grant, review="closed", reviewed_by=by, reviewed_us=_now_us(), findings=findings.strip())
        await self._put(closed)
        return closed

    def get(self, grant_id: str) -> Grant:
        try:
            return self._grants[grant_id]
        except KeyError:
            raise RefusedError(f"there is no grant {grant_id!r}", hint="`taprail access list`") from None

    def concerning(self, person: Person) -> Iterator[Grant]:
        """What this person holds or answers for, the newest first: what counts now, and what waits for a review."""
        now_us = _now_us()
        for grant in sorted(self._grants.values(), key=lambda each: -each.from_us):
            recent = grant.review == "open" or grant.until_us > now_us - KEPT_US
            if recent and (asked_by(grant.person, person) or _answers_for(grant, person)):
                yield grant


def state_of(grant: Grant, now_us: int) -> str:
    return "taken back" if grant.revoked else "over" if grant.until_us <= now_us else "in force"


def _answers_for(grant: Grant, person: Person) -> bool:
    return person.kind == "person" and bool(set(grant.approvers) & set(person.groups))


def _groups(grant: Grant) -> str:
    return " or ".join(grant.approvers) or "nobody"


def _now_us() -> int:
    return time.time_ns() // 1000
