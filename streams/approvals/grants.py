"""What somebody may do for a time: the taps' side of the signed records on `taprail.grants`.

A grant counts while its signature holds, its time runs and nobody has taken it back, and only once everything that
stood in the topic at the start is read: one that was taken back must not count for a moment. A tap keeps none of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import MsgspecError

from taprail.schemas.control import Grant, SignedRecord, open_signed
from taprail.schemas.errors import SignatureError
from taprail.schemas.guard import Request, SessionContext, Verdict
from taprail.schemas.records import Person
from taprail.streams.approvals import binding
from taprail.streams.approvals.votes import asked_by

TOPIC = "taprail.grants"
REVOKED = "/revoked"  # a record of its own, which nobody can replace by what the grant was before
CURRENT_SECONDS = 10.0  # how long a grant counts after Kafka was last heard of
SKEW_US = 30_000_000  # how far the clock of who grants may be before ours: an approval counts at once
_log = logging.getLogger("taprail.approvals")


def open_grant(record: SignedRecord, public_keys: Mapping[str, Ed25519PublicKey]) -> Grant:
    """The grant in a record. Raises SignatureError where it isn't to be believed.

    Nobody gives himself anything, but for an emergency, and that stays open until it is looked at.
    """
    if record.kind != "grant":
        raise SignatureError(f"a {record.kind} record stands among the grants", hint="find out who wrote it")
    try:
        grant = open_signed(record, Grant, public_keys=dict(public_keys))
    except MsgspecError as error:
        raise SignatureError(f"grant {record.key!r} can't be read: {error}", hint="is all of one version?") from None
    keys = (grant.grant_id, grant.grant_id + REVOKED) if grant.revoked else (grant.grant_id,)
    if record.key not in keys:
        raise SignatureError(f"the grant {grant.grant_id!r} stands under the key {record.key!r}")
    if grant.kind == "break_glass":
        if not grant.review:
            raise SignatureError(f"the emergency {grant.grant_id!r} asks for no review")
    elif not grant.granted_by or any(asked_by(grant.person, giver) for giver in grant.granted_by):
        raise SignatureError(f"nobody but its holder has given the grant {grant.grant_id!r}")
    return grant


class Grants:
    """The grants that count now. Not for several threads.

    taps     the ids of this tap's processes: whoever was told to run a statement again may come to any of them
    ended    is told of each grant that has ended, by its time or by somebody; somebody calls `sweep` often
    """

    def __init__(
        self,
        public_keys: Mapping[str, Ed25519PublicKey],
        taps: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys, self._taps, self._clock = dict(public_keys), taps, clock
        self._grants: dict[str, Grant] = {}
        self._signed_us: dict[str, int] = {}
        self._revoked: set[str] = set()
        self.ended: Callable[[Grant], None] = lambda grant: None
        self.is_spent: Callable[[str], bool] = lambda grant_id: False
        self.complete = threading.Event()  # everything that stood in Kafka at the start has been read
        self._current_s = float("-inf")  # when everything that stands there was last known to be read (monotonic)
        self.refused = 0

    def take(self, record: SignedRecord) -> None:
        """Believe a grant that is newer than what is known of it; tell of any other record."""
        try:
            grant = open_grant(record, self._keys)
        except SignatureError as error:
            self.refused += 1
            _log.error("a grant is not believed: %s", error)
            return
        if record.signed_us < self._signed_us.get(grant.grant_id, 0) or grant.grant_id in self._revoked:
            return
        before = self._grants.pop(grant.grant_id, None)
        if grant.revoked or grant.until_us <= self._now_us():
            if before is not None:
                self.ended(grant)
        else:
            self._grants[grant.grant_id], self._signed_us[grant.grant_id] = grant, record.signed_us
        if grant.revoked:  # for good, whatever is signed later
            self._revoked.add(grant.grant_id)
            self._signed_us.pop(grant.grant_id, None)

    def current(self) -> None:
        """Everything that stands in the topic now has been taken."""
        self._current_s = time.monotonic()

    @property
    def is_current(self) -> bool:
        """Whether a grant that was taken back would be known of. A tap that doesn't reach Kafka lifts nothing."""
        return self.complete.is_set() and time.monotonic() - self._current_s < CURRENT_SECONDS

    def sweep(self) -> None:
        """Forget those whose time is over, and tell of them."""
        now_us = self._now_us()
        for grant in [each for each in self._grants.values() if each.until_us <= now_us]:
            del self._grants[grant.grant_id]
            self._signed_us.pop(grant.grant_id, None)
            self.ended(grant)

    def lifting(self, request: Request, verdict: Verdict) -> Grant | None:
        """The grant that lets a held or denied statement run; standing ones before one that it would use up."""
        if not self._grants or not self.is_current:
            return None
        now_us = self._now_us()
        running = (g for g in self._grants.values() if g.from_us - SKEW_US <= now_us < g.until_us)
        found = [grant for grant in running if self._lifts(grant, request, verdict)]
        return min(found, key=lambda grant: grant.kind == "statement", default=None)

    def role(self, person: Person, environment: str, database: str) -> Grant | None:
        """The newest grant with a role that this person may use there."""
        if not self.is_current:
            return None
        now_us = self._now_us()
        found = [
            grant
            for grant in self._grants.values()
            if grant.role
            and not grant.relations  # a role can do more than what is done on some relations
            and grant.kind in ("access", "break_glass")
            and grant.from_us - SKEW_US <= now_us < grant.until_us
            and _same(grant.person, person)
            and grant.environment == environment
            and grant.database in ("", database)
        ]
        return max(found, key=lambda grant: grant.from_us, default=None)

    def _lifts(self, grant: Grant, request: Request, verdict: Verdict) -> bool:
        session = request.session
        if grant.environment != session.environment or grant.database not in ("", session.database):
            return False
        if grant.kind == "statement":
            return self._is_for_this(grant, request, verdict)
        if grant.kind == "remembered":
            # Not for who asked alone, but for the role; and only as long as the same policy asks.
            equal = verdict.action == "hold" and grant.role == session.role and grant.rule == verdict.rule
            equal = equal and grant.person.kind == session.person.kind  # what a person was trusted with, no agent is
            return equal and bool(grant.binding) and grant.binding == binding.of_equals(request, verdict)
        if not _same(grant.person, session.person) or not verdict.by_policy:
            return False
        if verdict.action == "deny" and grant.kind != "break_glass":
            return False
        if grant.relations:
            return verdict.own_code and bool(verdict.touches) and verdict.touches <= set(grant.relations)
        return grant.kind == "break_glass" or not grant.role  # whoever is given a role is given that alone

    def _is_for_this(self, grant: Grant, request: Request, verdict: Verdict) -> bool:
        return (
            verdict.action == "hold"
            and _same(grant.person, request.session.person)
            and grant.tap in self._taps
            and grant.rule == verdict.rule
            and not self.is_spent(grant.grant_id)
            and grant.binding == binding.of_retry(request, verdict)
        )

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)


def stands_on(grant: Grant) -> Callable[[SessionContext], bool]:
    """Whether a session uses the role of this grant."""
    return lambda context: context.grant == grant.grant_id


def leans_on(grant: Grant) -> Callable[[SessionContext], bool]:
    """Whether what runs in a session, or its open transaction, needs this one."""
    return lambda context: grant.grant_id in context.leans_on


def _same(holder: Person, person: Person) -> bool:
    """The holder himself: an agent in his name has grants of its own."""
    mine = (holder.issuer, holder.subject, holder.kind, holder.on_behalf_of, holder.via)
    return mine == (person.issuer, person.subject, person.kind, person.on_behalf_of, person.via)
