"""The tap's waits: for a catalog that is current, and for the decision on a held statement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Durability, Guard, Release, Request, Ticket, Verdict, asks_otherwise
from taprail.schemas.records import approval_id_of
from taprail.streams.approvals.votes import Question, who
from taprail.streams.approvals.waiter import DecisionDesk
from taprail.streams.recording import request_binding


class Catalogs(Protocol):
    """A database's catalog, which may be behind for a moment."""

    async def wait_current(self) -> None:
        """Returns when it is current. Raises RefusedError where it doesn't get so in time."""
        ...


Recorded = Callable[[Durability], Awaitable[None]]


class TapGate:
    """Implements `Gate`."""

    def __init__(self, guard: Guard, desk: DecisionDesk, catalogs: Mapping[str, Catalogs], recorded: Recorded) -> None:
        self._guard, self._desk, self._catalogs, self._recorded = guard, desk, catalogs, recorded

    async def catalog(self, request: Request) -> None:
        await self._catalogs[request.session.database].wait_current()

    async def recorded(self, durability: Durability) -> None:
        await self._recorded(durability)

    async def approval(
        self, request: Request, verdict: Verdict, ticket: Ticket, requests: tuple[Request, ...] = ()
    ) -> Release:
        """The decision, if what it was about is still so: a table may have become another one meanwhile."""
        session = request.session
        approval_id = approval_id_of(session.tap, ticket.epoch, ticket.sequence)
        bound = request_binding(request, verdict)
        question = Question(bound, session.person, verdict.approvers, verdict.terms)
        try:
            await self._recorded("kafka")
        except RefusedError as error:
            reason = f"an approval is needed and can't be asked for: {error.message}"
            return Release(False, approval_id, reason, "expired", "try again when Kafka answers")
        if verdict.terms.mode == "retry":
            return _asked(approval_id, question, verdict)
        release = await self._desk.wait(approval_id, question, verdict.hold_seconds)
        if not release.approved:
            return release
        for each in requests or (request,):
            if not await self._is_still_so(each, verdict):
                reason = "it was approved, but the catalog or the policy has changed since it was held"
                return Release(False, approval_id, reason, "error", "run it again")
        return release

    async def _is_still_so(self, request: Request, held: Verdict) -> bool:
        """Whether nothing is denied or asked for that wasn't when it was held."""
        now = self._guard.judge(request)
        if now.needs_catalog:
            await self.catalog(request)
            now = self._guard.judge(request)
        same_catalog = not now.needs_catalog and now.catalog_epoch == held.catalog_epoch
        return same_catalog and now.action != "deny" and not asks_otherwise(now, held)


def _asked(approval_id: str, question: Question, verdict: Verdict) -> Release:
    reason = f"this needs an approval, and {approval_id} asks for it: {verdict.reason}"
    opens, lasts = max(1, verdict.hold_seconds // 60), max(1, verdict.terms.grant_seconds // 60)
    hint = f"{who(question)} may approve within {opens} min; run it again then, within {lasts} min"
    return Release(False, approval_id, reason, "denied", hint)
