"""Statements of a shared account that name who acts, one by one: `SELECT … /*taprail_person='<statement>'*/`.

Stands before the guard, the recorder and the gate, and hands each a request in whose session the named person acts: the
person's groups decide what is allowed and masked, the person is in the records, and can't approve what the person asked
for. Where the comment doesn't hold, the statement is denied. The database's own role stays the service's.

Only statements that the service signs itself are taken from comments: a comment is in the server's log and in
pg_stat_activity, where a person's own token would be somebody else's to use. A signed statement isn't: it is good for
this service's sessions, and for as long as it says.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Literal

from msgspec import structs

from taprail.connectors.postgres.proxy import Hooks
from taprail.schemas.errors import RefusedError, SpoolError
from taprail.schemas.guard import (
    Durability,
    Facts,
    Gate,
    Guard,
    Part,
    Recorder,
    Release,
    Request,
    Result,
    SessionContext,
    Ticket,
    Verdict,
)
from taprail.streams.identity.speaks_for import COMMENT_KEY, Speakers, signed_by_a_service, statement_in_comment
from taprail.streams.policy import sql

RULE = "speaks-for"
JUDGED_MAX = 10_000


class Named:
    """Whose request it is."""

    def __init__(self, speakers: Speakers) -> None:
        self._speakers = speakers
        self._judged: OrderedDict[int, tuple[Request, Request]] = OrderedDict()  # by id, which is kept from reuse

    def of(self, request: Request) -> Request:
        """The same request, or one in the session of the person whom its comment names. Raises RefusedError.

        What was verified when a request was judged stays so until it has run, however long it waits for an approval.
        """
        session = request.session
        if COMMENT_KEY not in request.text or session.person.via or not self._speakers.listens_to(session.person):
            return request  # nobody's comment but a service's means anything, nor where the session names somebody
        if (judged := self._judged.get(id(request))) is not None:
            return judged[1]
        statement = statement_in_comment(request.text)
        if not statement:
            return request
        spoken = self._speakers.known(session.person.subject, statement)
        if spoken is None or not signed_by_a_service(statement):
            raise RefusedError(
                "a comment may hold what the service has signed, not a person's own token",
                hint="the server writes comments into its log; pass the token when connecting",
            )
        made = replace(request, session=replace(session, person=spoken.person))
        self._judged[id(request)] = request, made
        while len(self._judged) > JUDGED_MAX:
            self._judged.popitem(last=False)
        return made


class SpeakingGuard:
    """Implements `Guard`."""

    def __init__(self, inner: Guard, named: Named) -> None:
        self._inner, self._named = inner, named

    def split(self, text: str) -> tuple[Part, ...]:
        """Raises RefusedError also where a comment after the last of several statements would name nobody."""
        parts = self._inner.split(text)
        if COMMENT_KEY in text and len(parts) > 1:
            end = parts[-1].start + parts[-1].length
            if COMMENT_KEY.encode() in text.encode()[end:]:
                raise RefusedError(
                    "the comment that says who acts belongs to no statement", hint="put it before the semicolon"
                )
        return parts

    def judge(self, request: Request) -> Verdict:
        try:
            named = self._named.of(request)
        except RefusedError as error:
            return Verdict(
                "deny",
                Facts(""),
                sql.normalise(request.text),
                "",
                "",
                rule=RULE,
                reason=error.message,
                hint=error.hint,
                sqlstate="28000",
            )
        verdict = self._inner.judge(named)
        if named is not request and verdict.action == "hold":
            return replace(verdict, alone=True)  # what follows in a script may be another person's
        return verdict

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        try:
            return self._inner.lifted(self._named.of(request), verdict)
        except RefusedError:
            return verdict


class SpeakingRecorder:
    """Implements `Recorder`. An outcome is the statement's: what has expired meanwhile changes nothing."""

    def __init__(self, inner: Recorder, named: Named) -> None:
        self._inner, self._named = inner, named
        self._running: dict[tuple[int, int], Request] = {}

    def statement(self, request: Request, verdict: Verdict, *, approval: str = "", held_sequence: int = 0) -> Ticket:
        try:
            named = self._named.of(request)
        except RefusedError as error:
            if verdict.action != "deny":  # it has expired since it was judged
                raise SpoolError(error.message, hint=error.hint) from error
            named = request
        ticket = self._inner.statement(named, verdict, approval=approval, held_sequence=held_sequence)
        if named is not request:
            self._running[ticket.epoch, ticket.sequence] = named
        return ticket

    def outcome(self, ticket: Ticket, request: Request, verdict: Verdict, result: Result) -> None:
        self._inner.outcome(ticket, self._running.pop((ticket.epoch, ticket.sequence), request), verdict, result)

    def spend(self, approval: str) -> None:
        self._inner.spend(approval)

    def session(self, context: SessionContext, event: Literal["opened", "closed", "refused"], reason: str = "") -> None:
        self._inner.session(context, event, reason)


class SpeakingGate:
    """Implements `Gate`."""

    def __init__(self, inner: Gate, named: Named) -> None:
        self._inner, self._named = inner, named

    async def catalog(self, request: Request) -> None:
        await self._inner.catalog(request)

    async def recorded(self, durability: Durability) -> None:
        await self._inner.recorded(durability)

    async def approval(
        self, request: Request, verdict: Verdict, ticket: Ticket, requests: tuple[Request, ...] = ()
    ) -> Release:
        named = tuple(self._named.of(each) for each in requests)
        return await self._inner.approval(self._named.of(request), verdict, ticket, named)


def listening(hooks: Hooks, speakers: Speakers) -> Hooks:
    """The same hooks, or ones that read comments where any service may name people."""
    if not speakers.any_may_speak:
        return hooks
    named = Named(speakers)
    return structs.replace(
        hooks,
        guard=SpeakingGuard(hooks.guard, named),
        recorder=SpeakingRecorder(hooks.recorder, named),
        gate=SpeakingGate(hooks.gate, named),
    )
