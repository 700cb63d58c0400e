"""A tap's statement and outcome as Avro, quickly: what stays the same from record to record is encoded once.

A record's body is the encodings of its fields, one after the other. Most of them depend on the session, or on the
verdict (which the guard keeps), so those runs are kept, too; what is left are numbers and the envelope. A test holds
the result against the general codec. Compiled by mypyc where a C compiler is at hand.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from taprail.schemas.avro import encode_run, plain
from taprail.schemas.guard import Request, Result, SessionContext, Ticket, Verdict
from taprail.schemas.records import Envelope, Outcome, Statement
from taprail.schemas.varint import encode_bytes, encode_long

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


class _OfSession:
    """The runs that depend on a session alone, as long as the session stays what it was."""

    __slots__ = ("client", "context", "person", "place", "protocol", "purpose", "role", "who")

    def __init__(self, context: SessionContext, protocol: str) -> None:
        values = {**structs.asdict(context), "person": plain(context.person), "protocol": protocol}
        self.context = context  # kept, so that its id stays its own
        self.person, self.purpose = context.person, context.purpose
        self.role, self.client, self.protocol = context.role, context.client, protocol
        self.who = encode_run(Statement, "session", "purpose", values)  # the same in both records
        self.place = encode_run(Statement, "role", "protocol", values)

    def holds(self, context: SessionContext, protocol: str) -> bool:
        """Whether nothing that may change in a session has changed. The rest of a context never does."""
        return (
            self.context is context
            and self.protocol == protocol
            and self.person is context.person
            and self.purpose == context.purpose
            and self.role == context.role
            and self.client == context.client
        )


class Encoder:
    """One for each tap and epoch. Not for several threads."""

    def __init__(self, tap: str, epoch: int) -> None:
        self._epoch = encode_long(epoch)
        self._head = encode_bytes(tap.encode()) + self._epoch
        self._verdicts: dict[int, _OfVerdict] = {}
        self._sessions: dict[str, _OfSession] = {}
        self._words: dict[str, bytes] = {}
        self._key: tuple[str, str, str] = ("", "", "")
        self._key_run = b""

    def statement(
        self, request: Request, verdict: Verdict, sequence: int, time_us: int, values: Envelope | None
    ) -> bytes:
        """The body of a statement that is allowed or masked, without an approval."""
        of_session, of_verdict = self._of_session(request), self._of(verdict)
        return b"".join(
            (
                self._head,
                encode_long(sequence),
                encode_long(time_us),
                of_session.who,
                of_verdict.action,
                of_session.place,
                encode_long(request.transaction),
                of_verdict.mark,
                NO_VALUES if values is None else self._envelope(values),
            )
        )

    def outcome(
        self, ticket: Ticket, request: Request, verdict: Verdict, result: Result, sequence: int, time_us: int
    ) -> bytes:
        of_verdict = self._of(verdict)
        return b"".join(
            (
                self._head,
                encode_long(sequence),
                encode_long(time_us),
                self._of_session(request).who,
                self._epoch,
                encode_long(ticket.sequence),
                self._word(result.status),
                of_verdict.before_fingerprint,
                encode_long(result.rows),
                encode_long(result.bytes),
                encode_long(result.masked_columns),
                encode_long(max(0, time_us - ticket.started_us)),
                self._word(result.sqlstate),
                encode_long(request.transaction),
                self._word(result.transaction_status),
                of_verdict.fingerprint,
                encode_long(result.bytes_in),
                encode_long(max(0, result.first_row_us - ticket.started_us)),
            )
        )

    def _of(self, verdict: Verdict) -> _OfVerdict:
        kept = self._verdicts.get(id(verdict))
        if kept is None or kept.verdict is not verdict:
            if len(self._verdicts) >= KEPT_MAX:
                self._verdicts.clear()
            kept = self._verdicts[id(verdict)] = _OfVerdict(verdict)
        return kept

    def _of_session(self, request: Request) -> _OfSession:
        context = request.session
        kept = self._sessions.get(context.session)
        if kept is None or not kept.holds(context, request.protocol):
            if len(self._sessions) >= KEPT_MAX:
                self._sessions.clear()
            kept = self._sessions[context.session] = _OfSession(context, request.protocol)
        return kept

    def _word(self, word: str) -> bytes:
        """One of a few: a status, or an SQLSTATE."""
        kept = self._words.get(word)
        if kept is None:
            if len(self._words) >= KEPT_MAX:
                self._words.clear()
            kept = self._words[word] = encode_bytes(word.encode())
        return kept

    def _envelope(self, envelope: Envelope) -> bytes:
        key = (envelope.algorithm, envelope.key_id, envelope.scope)
        if key != self._key:
            self._key, self._key_run = key, VALUES + b"".join(encode_bytes(word.encode()) for word in key)
        return b"".join(
            (
                self._key_run,
                encode_bytes(envelope.purpose.encode()),
                encode_bytes(envelope.nonce),
                encode_bytes(envelope.ciphertext),
            )
        )
