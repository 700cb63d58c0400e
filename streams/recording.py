"""The recorder of a tap: every statement, outcome and session goes into the spool before anything happens.

What a person typed in literals and bind values leaves the tap encrypted only; the normalised text is in the clear.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Literal

from msgspec import json

from taprail.connectors.spool.spool import Spool
from taprail.schemas import avro
from taprail.schemas import mark as marks
from taprail.schemas.envelope import Sealer
from taprail.schemas.guard import Request, Result, SessionContext, Ticket, Verdict, context_of
from taprail.schemas.records import Envelope, Outcome, Session, Statement, approval_id_of
from taprail.streams.approvals.binding import of_equals, of_retry, of_run
from taprail.streams.encoded import Encoder
from taprail.streams.policy.passwords import gives_password
from taprail.streams.policy.sizes import TEXT_BYTES_KEPT
from taprail.streams.values import Cut, Hashes, Values

HASH_ALGORITHM = "HS256-96"
# With what is kept of the text, and its beginning normalised, this is less than a record may have.
VALUES_BYTES_MAX, CUT_BYTES = 192 << 10, 110


def now_us() -> int:
    return time.time_ns() // 1000


class SpoolRecorder:
    """Implements `Recorder`. Raises SpoolError where the spool can't take the record."""

    def __init__(
        self,
        spool: Spool,
        sealer: Sealer,
        mark_key: bytes,
        values: Literal["encrypted", "hashed"] = "encrypted",
        spend: Callable[[str], None] = lambda approval: None,
    ) -> None:
        """`spend` uses up an approval for one run, or raises RefusedError."""
        self._spool, self._spend = spool, spend
        self._hashed = values == "hashed"
        self._sealer = sealer
        self._mark_key = mark_key
        self._for, self._encodes = ("", 0), Encoder("", 0)

    def statement(self, request: Request, verdict: Verdict, *, approval: str = "", held_sequence: int = 0) -> Ticket:
        session, spool = request.session, self._spool
        started_us, epoch, sequence = now_us(), spool.epoch, spool.sequence + 1
        approval = approval or verdict.approval
        runs = bool(approval) or verdict.action == "allow" or verdict.action == "mask"
        encoder = self._encoder(session.tap, epoch)
        values = self._values(request, verdict, encoder.id(sequence))
        if runs and not approval and not held_sequence:
            body = encoder.statement(request, verdict, sequence, started_us, values)
        else:
            named = (epoch, sequence, started_us)
            body = avro.encode(statement_record(request, verdict, named, approval, held_sequence, values))
        spool.append("statement", session.session, body, finishes=held_sequence)
        mark = self._mark(session, sequence) if runs and verdict.mark == "carried" else ""
        ends = approval if held_sequence or verdict.spends else ""
        if not runs and waits(verdict):
            ends = approval_id_of(session.tap, epoch, sequence)
        return Ticket(epoch, sequence, mark, started_us, ends)

    def spend(self, approval: str) -> None:
        self._spend(approval)

    def outcome(self, ticket: Ticket, request: Request, verdict: Verdict, result: Result) -> None:
        session, spool = request.session, self._spool
        encoder = self._encoder(session.tap, spool.epoch)
        body = encoder.outcome(ticket, request, verdict, result, spool.sequence + 1, now_us())
        spool.append("outcome", session.session, body, finishes=ticket.sequence)

    def session(self, context: SessionContext, event: Literal["opened", "closed", "refused"], reason: str = "") -> None:
        record = Session(
            tap=context.tap,
            epoch=self._spool.epoch,
            sequence=self._spool.sequence + 1,
            time_us=now_us(),
            session=context.session,
            environment=context.environment,
            server=context.server,
            database=context.database,
            person=context.person,
            event=event,
            method=context.method,
            role=context.role,
            client=context.client,
            client_address=context.client_address,
            reason=reason,
            device=context.device,
        )
        self._spool.append("session", context.session, avro.encode(record))

    def unknown(self, statement: Statement) -> None:
        """Close a statement of an earlier epoch whose end nobody saw."""
        record = unknown_outcome(statement, self._spool.epoch, self._spool.sequence + 1, now_us())
        self._spool.append("outcome", statement.session, avro.encode(record))

    def _encoder(self, tap: str, epoch: int) -> Encoder:
        if self._for != (tap, epoch):
            self._for, self._encodes = (tap, epoch), Encoder(tap, epoch)
        return self._encodes

    def _values(self, request: Request, verdict: Verdict, purpose: str) -> Envelope | None:
        parameters = request.parameters
        text = request.text if verdict.action != "hold" else _shown(request, verdict)
        if (not parameters and text == verdict.normalized) or gives_password(text, verdict.facts):
            return None
        if self._hashed and verdict.action != "hold":  # whoever decides must see what about
            found = tuple(None if value is None else self._sealer.hash(value) for value in parameters)
            hashes = Hashes(self._sealer.hash(request.text.encode()), found)
            return Envelope(HASH_ALGORITHM, self._sealer.key_id, "record", purpose, b"", json.encode(hashes))
        kept = _cut(parameters) if parameters else ()
        return self._sealer.seal(json.encode(_values_of(text, kept)), purpose)

    def _mark(self, session: SessionContext, sequence: int) -> str:
        mark = marks.Mark(session.tap, self._spool.epoch, sequence, session.server, session.database)
        return marks.render(mark, self._mark_key)


def _shown(request: Request, verdict: Verdict) -> str:
    """What whoever decides sees: the statement, and what its EXECUTE or FETCH stands for."""
    contexts = verdict.contexts or (context_of(request, verdict),)
    bodies = dict.fromkeys(context.stands_for for context in contexts if context.stands_for)
    return "\n\n".join([request.text, *(f"-- this session has:\n{body}" for body in bodies)])


def _values_of(text: str, kept: tuple[bytes | Cut | None, ...]) -> Values:
    if len(text) <= TEXT_BYTES_KEPT // 4 or len(encoded := text.encode()) <= TEXT_BYTES_KEPT:
        return Values(text, kept)
    whole = Cut(len(encoded), hashlib.sha256(encoded).hexdigest())
    return Values(encoded[:TEXT_BYTES_KEPT].decode(errors="ignore"), kept, whole)


def _cut(parameters: tuple[bytes | None, ...]) -> tuple[bytes | Cut | None, ...]:
    """The Bind values as far as they fit into a record: the largest are cut first; where there are too many small ones,
    the last `Cut` stands for all that follow."""
    size = 0
    for each in parameters:
        size += _size(each)
    if size <= VALUES_BYTES_MAX:
        return parameters
    kept: list[bytes | Cut | None] = list(parameters)
    for index in sorted(range(len(parameters)), key=lambda i: -_size(parameters[i])):
        value = parameters[index]
        if value is None or len(value) <= CUT_BYTES or size <= VALUES_BYTES_MAX:
            break
        kept[index] = Cut(len(value), hashlib.sha256(value).hexdigest())
        size -= _size(value) - CUT_BYTES
    if size > VALUES_BYTES_MAX:
        room = 0
        for index, part in enumerate(kept):
            room += CUT_BYTES if isinstance(part, Cut) else _size(part)
            if room > VALUES_BYTES_MAX - CUT_BYTES:
                rest = json.encode(parameters[index:])
                return (*kept[:index], Cut(len(rest), hashlib.sha256(rest).hexdigest()))
    return tuple(kept)


def _size(value: bytes | None) -> int:
    """In an envelope's JSON, in base64."""
    return 5 if value is None else len(value) * 4 // 3 + 7


def statement_record(
    request: Request,
    verdict: Verdict,
    named: tuple[int, int, int],
    approval: str,
    held_sequence: int,
    values: Envelope | None,
) -> Statement:
    """`named` is epoch, sequence and time (microseconds)."""
    session = request.session
    epoch, sequence, started_us = named
    held = verdict.action == "hold" and not approval
    return Statement(
        tap=session.tap,
        epoch=epoch,
        sequence=sequence,
        time_us=started_us,
        session=session.session,
        environment=session.environment,
        server=session.server,
        database=session.database,
        person=session.person,
        purpose=session.purpose,
        action="allow" if approval else verdict.action,
        rule=verdict.rule,
        tag=verdict.facts.tag,
        writes=verdict.mark != "none",
        relations=verdict.relations,
        fingerprint=verdict.fingerprint,
        normalized=verdict.normalized,
        reason=verdict.reason,
        policy_version=verdict.policy_version,
        catalog_epoch=verdict.catalog_epoch,
        role=session.role,
        client=session.client,
        client_address=session.client_address,
        protocol=request.protocol,
        transaction=request.transaction,
        mark=verdict.mark,
        approval=approval,
        binding=request_binding(request, verdict) if held else "",
        expires_us=started_us + verdict.hold_seconds * 1_000_000 if held else 0,
        approvers=verdict.approvers,
        held_sequence=held_sequence,
        terms=verdict.terms if held else None,
        remember=of_equals(request, verdict) if held and verdict.statements == 1 else "",
        statements=verdict.statements,
        estimated_rows=verdict.estimated_rows,
        lineage=verdict.lineage,
        matched=verdict.matched,
        values=values,
    )


def request_binding(request: Request, verdict: Verdict) -> str:
    return of_run(request, verdict) if waits(verdict) else of_retry(request, verdict)


def waits(verdict: Verdict) -> bool:
    """Whether somebody waits for what is held, rather than be told at once."""
    return verdict.action == "hold" and verdict.terms.mode == "wait"


def unknown_outcome(statement: Statement, epoch: int, sequence: int, at_us: int) -> Outcome:
    return Outcome(
        tap=statement.tap,
        epoch=epoch,
        sequence=sequence,
        time_us=at_us,
        session=statement.session,
        environment=statement.environment,
        server=statement.server,
        database=statement.database,
        person=statement.person,
        purpose=statement.purpose,
        statement_epoch=statement.epoch,
        statement_sequence=statement.sequence,
        status="unknown",
        tag=statement.tag,
        relations=statement.relations,
        rows=0,
        bytes=0,
        masked_columns=0,
        duration_us=at_us - statement.time_us,
        sqlstate="",
        transaction=statement.transaction,
        transaction_status="unknown",
        fingerprint=statement.fingerprint,
        approval=_ends(statement),
    )


def _ends(statement: Statement) -> str:
    """The approval that ends with a statement whose end nobody saw."""
    if statement.action == "hold":
        told = statement.terms is not None and statement.terms.mode == "retry"
        return "" if told else approval_id_of(statement.tap, statement.epoch, statement.sequence)
    return statement.approval if statement.held_sequence else ""
