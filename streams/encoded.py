"""A tap's statement and outcome as Avro, quickly: what stays the same from record to record is encoded once.

A record's body is the encodings of its fields, one after the other. Most of them depend on the session, or on the
verdict (which the guard keeps), so those runs are kept, too; what is left are numbers and the envelope. A test holds
the result against the general codec.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from taprail.schemas.avro import encode_bytes, encode_long, encode_run, plain
from taprail.schemas.guard import Request, Result, SessionContext, Ticket, Verdict
from taprail.schemas.records import Envelope, Outcome, Statement

KEPT_MAX = 8192
NO_VALUES = b"\0"  # the union's first branch: null
VALUES = b"\2"  # its second
# What a statement that runs at once has: no approval, nothing that it binds to, no end, nobody who decides.
_AT_ONCE = {"approval": "", "binding": "", "expires_us": 0, "approvers": (), "held_sequence": 0}

_OF_VERDICT = (
    "action", "rule", "fingerprint", "normalized", "reason", "policy_version", "catalog_epoch", "mark", "lineage"
)  # fmt: skip


class _OfVerdict:
    """The runs that depend on a verdict alone. It is kept with them, so that its id stays its own."""

    __slots__ = ("action", "before_fingerprint", "fingerprint", "mark", "verdict")

    def __init__(self, verdict: Verdict) -> None:
        facts, relations = verdict.facts, plain(verdict.relations)
        values: dict[str, Any] = {
            **{name: getattr(verdict, name) for name in _OF_VERDICT},
            **_AT_ONCE,
            "tag": facts.tag,
            "writes": verdict.mark != "none",
            "relations": relations,
        }
        self.verdict = verdict
        self.action = encode_run(Statement, "action", "catalog_epoch", values)
        self.mark = encode_run(Statement, "mark", "lineage", values)
        self.before_fingerprint = encode_run(Outcome, "tag", "relations", values)
        self.fingerprint = encode_bytes(verdict.fingerprint.encode())


class Encoder:
    """One for each tap. Not for several threads."""

    def __init__(self, tap: str) -> None:
        self._tap = encode_bytes(tap.encode())
        self._verdicts: dict[int, _OfVerdict] = {}
        self._sessions: dict[tuple[Any, ...], bytes] = {}

    def statement(
        self, request: Request, verdict: Verdict, epoch: int, sequence: int, time_us: int, values: Envelope | None
    ) -> bytes:
        """The body of a statement that is allowed or masked, without an approval."""
        session, of_verdict = request.session, self._of(verdict)
        return b"".join(
            (
                self._tap,
                encode_long(epoch),
                encode_long(sequence),
                encode_long(time_us),
                self._person(session),
                of_verdict.action,
                self._place(session, request.protocol),
                encode_long(session.transaction),
                of_verdict.mark,
                NO_VALUES if values is None else VALUES + _envelope(values),
            )
        )

    def outcome(
        self,
        ticket: Ticket,
        request: Request,
        verdict: Verdict,
        result: Result,
        epoch: int,
        sequence: int,
        time_us: int,
    ) -> bytes:
        session, of_verdict = request.session, self._of(verdict)
        return b"".join(
            (
                self._tap,
                encode_long(epoch),
                encode_long(sequence),
                encode_long(time_us),
                self._person(session),
                encode_long(ticket.epoch),
                encode_long(ticket.sequence),
                encode_bytes(result.status.encode()),
                of_verdict.before_fingerprint,
                encode_long(result.rows),
                encode_long(result.bytes),
                encode_long(result.masked_columns),
                encode_long(max(0, time_us - ticket.started_us)),
                encode_bytes(result.sqlstate.encode()),
                encode_long(session.transaction),
                encode_bytes(result.transaction_status.encode()),
                of_verdict.fingerprint,
            )
        )

    def _of(self, verdict: Verdict) -> _OfVerdict:
        kept = self._verdicts.get(id(verdict))
        if kept is None or kept.verdict is not verdict:
            if len(self._verdicts) >= KEPT_MAX:
                self._verdicts.clear()
            kept = self._verdicts[id(verdict)] = _OfVerdict(verdict)
        return kept

    def _person(self, session: SessionContext) -> bytes:
        """`session` to `purpose`, the same in both records."""
        key = (
            session.session,
            session.environment,
            session.server,
            session.database,
            session.person,
            session.purpose,
        )
        kept = self._sessions.get(key)
        if kept is None:
            values = {**structs.asdict(session), "person": plain(session.person)}
            kept = self._keep(key, encode_run(Statement, "session", "purpose", values))
        return kept

    def _place(self, session: SessionContext, protocol: str) -> bytes:
        """`role` to `protocol`."""
        key = (session.role, session.client, session.client_address, protocol)
        kept = self._sessions.get(key)
        if kept is None:
            values = {**structs.asdict(session), "protocol": protocol}
            kept = self._keep(key, encode_run(Statement, "role", "protocol", values))
        return kept

    def _keep(self, key: tuple[Any, ...], run: bytes) -> bytes:
        if len(self._sessions) >= KEPT_MAX:
            self._sessions.clear()
        self._sessions[key] = run
        return run


def _envelope(envelope: Envelope) -> bytes:
    return b"".join(
        (
            encode_bytes(envelope.algorithm.encode()),
            encode_bytes(envelope.key_id.encode()),
            encode_bytes(envelope.scope.encode()),
            encode_bytes(envelope.purpose.encode()),
            encode_bytes(envelope.nonce),
            encode_bytes(envelope.ciphertext),
        )
    )
