"""The tap's waits: for a catalog that is current, and for the decision on a held statement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from taprail.schemas.guard import Durability, Guard, Release, Request, Ticket, Verdict
from taprail.schemas.records import approval_id_of
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

    async def approval(self, request: Request, verdict: Verdict, ticket: Ticket) -> Release:
        """The decision, if what it was about is still so: a table may have become another one meanwhile."""
        session = request.session
        approval_id = approval_id_of(session.tap, ticket.epoch, ticket.sequence)
        binding = request_binding(request, verdict)
        release = await self._desk.wait(approval_id, binding, session.person, verdict.hold_seconds)
        if not release.approved:
            return release
        now = self._guard.judge(request)
        if now.needs_catalog:
            await self.catalog(request)
            now = self._guard.judge(request)
        if now.needs_catalog or now.action == "deny" or request_binding(request, now) != binding:
            return Release(False, approval_id, "the catalog or the policy has changed since it was held", "denied")
        return release
