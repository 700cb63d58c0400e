"""A tap's statement and outcome as Avro, quickly: what stays the same from record to record is encoded once.

A record's body is the encodings of its fields, one after the other. Most of them depend on the session, or on the
verdict (which the guard keeps), so those runs are kept, too; what is left are numbers and the envelope. A test holds
the result against the general codec. Compiled by mypyc where a C compiler is at hand.
"""

from __future__ import annotations

from typing import Any

from librt.strings import BytesWriter

from taprail.schemas.avro import encode_run, plain
from taprail.schemas.guard import Request, Result, SessionContext, Ticket, Verdict
from taprail.schemas.records import Envelope, Outcome, Statement, statement_id
from taprail.schemas.varint import encode_bytes, encode_long, put_bytes, put_long

WORDS_MAX = 256
NO_VALUES = b"\0"  # the union's first branch: null
VALUES = b"\2"  # its second
NOTHING = b"\0"  # a string of no bytes
# What a statement that runs at once has: no approval, nothing that it binds to, no end, nobody who decides.
_AT_ONCE: dict[str, Any] = {
    "approval": "", "binding": "", "expires_us": 0, "approvers": (), "held_sequence": 0, "terms": None, "remember": "",
}  # fmt: skip

_OF_VERDICT = (
    "action", "rule", "fingerprint", "normalized", "reason", "policy_version", "catalog_epoch", "mark", "lineage",
    "matched", "statements", "estimated_rows",
)  # fmt: skip
_OF_SESSION = ("session", "environment", "server", "database", "purpose", "role", "client", "client_address")


class _OfVerdict:
    """The runs that depend on a verdict alone."""

    __slots__ = ("action", "before_fingerprint", "fingerprint", "mark")

    def __init__(self, verdict: Verdict) -> None:
        facts, relations = verdict.facts, plain(verdict.relations)
        values: dict[str, Any] = {
            **{name: getattr(verdict, name) for name in _OF_VERDICT},
            **_AT_ONCE,
            "tag": facts.tag,
            "writes": verdict.mark != "none",
            "relations": relations,
            "matched": plain(verdict.matched),
        }
        self.action = encode_run(Statement, "action", "catalog_epoch", values)
        self.mark = encode_run(Statement, "mark", "matched", values)
        self.before_fingerprint = encode_run(Outcome, "tag", "relations", values)
        self.fingerprint = encode_bytes(verdict.fingerprint.encode())


class _OfSession:
    """The runs that depend on a session alone, as long as the session stays what it was."""

    __slots__ = ("client", "person", "place", "protocol", "purpose", "role", "who")

    def __init__(self, context: SessionContext, protocol: str) -> None:
        values = {name: getattr(context, name) for name in _OF_SESSION}
        values |= {"person": plain(context.person), "protocol": protocol}
        self.person, self.purpose = context.person, context.purpose
        self.role, self.client, self.protocol = context.role, context.client, protocol
        self.who = encode_run(Statement, "session", "purpose", values)  # the same in both records
        self.place = encode_run(Statement, "role", "protocol", values)

    def holds(self, context: SessionContext, protocol: str) -> bool:
        """Whether nothing that may change in a session has changed. The rest of a context never does."""
        return (
            self.protocol == protocol
            and self.person is context.person
            and self.purpose == context.purpose
            and self.role == context.role
            and self.client == context.client
        )


def _of(verdict: Verdict) -> _OfVerdict:
    kept = verdict.kept.made
    if not isinstance(kept, _OfVerdict):
        verdict.kept.made = kept = _OfVerdict(verdict)
    return kept


def _of_session(request: Request) -> _OfSession:
    context = request.session
    kept = context.kept.made
    if not isinstance(kept, _OfSession) or not kept.holds(context, request.protocol):
        context.kept.made = kept = _OfSession(context, request.protocol)
    return kept


class Encoder:
    """One for each tap and epoch. Not for several threads."""

    def __init__(self, tap: str, epoch: int) -> None:
        self._epoch = encode_long(epoch)
        self._head = encode_bytes(tap.encode()) + self._epoch
        self._before_sequence = statement_id(tap, epoch, 0)[:-1]
        self._words: dict[str, bytes] = {}
        self._key: tuple[str, str, str] = ("", "", "")
        self._key_run = b""

    def id(self, sequence: int) -> str:
        """`statement_id`, of a record of this tap and epoch."""
        return self._before_sequence + str(sequence)

    def statement(
        self, request: Request, verdict: Verdict, sequence: int, time_us: int, values: Envelope | None
    ) -> bytes:
        """The body of a statement that is allowed or masked, without an approval."""
        of_session, of_verdict = _of_session(request), _of(verdict)
        out = BytesWriter()
        out.write(self._head)
        put_long(out, sequence)
        put_long(out, time_us)
        out.write(of_session.who)
        out.write(of_verdict.action)
        out.write(of_session.place)
        put_long(out, request.transaction)
        out.write(of_verdict.mark)
        if values is None:
            out.write(NO_VALUES)
        else:
            self._put_envelope(out, values)
        return out.getvalue()

    def outcome(
        self, ticket: Ticket, request: Request, verdict: Verdict, result: Result, sequence: int, time_us: int
    ) -> bytes:
        of_verdict = _of(verdict)
        out = BytesWriter()
        out.write(self._head)
        put_long(out, sequence)
        put_long(out, time_us)
        out.write(_of_session(request).who)
        out.write(self._epoch)
        put_long(out, ticket.sequence)
        out.write(self._word(result.status))
        out.write(of_verdict.before_fingerprint)
        put_long(out, result.rows)
        put_long(out, result.bytes)
        put_long(out, result.masked_columns)
        put_long(out, max(0, time_us - ticket.started_us))
        out.write(self._word(result.sqlstate))
        put_long(out, request.transaction)
        out.write(self._word(result.transaction_status))
        out.write(of_verdict.fingerprint)
        put_long(out, result.bytes_in)
        put_long(out, max(0, result.first_row_us - ticket.started_us))
        put_long(out, result.undoes_from)
        out.write(encode_bytes(ticket.approval.encode()) if ticket.approval else NOTHING)
        return out.getvalue()

    def _word(self, word: str) -> bytes:
        """One of a few: a status, or an SQLSTATE."""
        kept = self._words.get(word)
        if kept is None:
            if len(self._words) >= WORDS_MAX:
                self._words.clear()
            kept = self._words[word] = encode_bytes(word.encode())
        return kept

    def _put_envelope(self, out: BytesWriter, envelope: Envelope) -> None:
        key = (envelope.algorithm, envelope.key_id, envelope.scope)
        if key != self._key:
            self._key, self._key_run = key, VALUES + b"".join(encode_bytes(word.encode()) for word in key)
        out.write(self._key_run)
        put_bytes(out, envelope.purpose.encode())
        put_bytes(out, envelope.nonce)
        put_bytes(out, envelope.ciphertext)
