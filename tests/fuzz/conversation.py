"""What the fuzzers share: a session whose every forwarded byte is read again by a second, independent reader.

The oracle: what was sent to the server is whole messages, but for a CopyData that is on its way, and every text in it
was judged, allowed and written down before. The reader here shares no code with the tap's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import postgast

from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.session import Session
from taprail.schemas.errors import ProtocolError, RefusedError
from taprail.schemas.guard import Facts, Part, Request, Result, SessionContext, Ticket, Verdict
from taprail.schemas.records import Person

FORBIDDEN = "drop"
OWN_TEXTS = {b"/* taprail */ refused", b"", b"SHOW search_path"}
LIMITS = Limits(query_bytes=4096, bind_bytes=4096, small_bytes=256, data_bytes=65536, answer_bytes=4096, names=16)
KEPT_BYTES_MAX = 65536  # of one unfinished message; what waits for an answer is the relay's to bound
PERSON = Person("ann", "Ann", "person")


class Watching:
    """Guard and recorder in one: what was allowed, and what was written down."""

    def __init__(self) -> None:
        self.allowed: set[bytes] = set()
        self.recorded: list[bytes] = []
        self.open = 0

    def split(self, text: str) -> tuple[Part, ...]:
        try:
            texts = postgast.split(text)
        except postgast.PgQueryError as error:
            raise RefusedError(str(error)) from error
        parts, encoded, at = [], text.encode(), 0
        for statement in texts:
            at = encoded.index(statement.encode(), at)
            parts.append(Part(at, len(statement.encode())))
            at += len(statement.encode())
        return tuple(parts)

    def judge(self, request: Request) -> Verdict:
        word = request.text.strip().lower()
        copy = "in" if word.startswith("copy") else ""
        verdict = Verdict("allow", Facts("COPY" if copy else "SELECT", copy=copy), request.text, "", "v")
        if FORBIDDEN in word:
            return replace(verdict, action="deny", reason="no")
        self.allowed.add(request.text.encode())
        return verdict

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        return verdict

    def statement(self, request: Request, verdict: Verdict, **_: object) -> Ticket:
        self.open += 1
        if verdict.action == "allow":
            self.recorded.append(request.text.encode())
        return Ticket(1, len(self.recorded) + 1, "", 0)

    def outcome(self, ticket: Ticket, request: Request, verdict: Verdict, result: Result) -> None:
        self.open -= 1

    def spend(self, approval: str) -> None:
        raise AssertionError

    def session(self, *_: object) -> None:
        return None


def messages(sent: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, body) of every message, the last one perhaps cut: written from the protocol's description alone."""
    at = 0
    while at < len(sent):
        assert len(sent) - at >= 5, "a header was cut"
        size = int.from_bytes(sent[at + 1 : at + 5], "big")
        assert size >= 4
        body = sent[at + 5 : at + 1 + size]
        assert len(body) == size - 4 or sent[at : at + 1] == b"d", "only CopyData may be on its way"
        yield sent[at : at + 1], body
        at += 1 + size


def play(moves: Iterable[tuple[bool, bytes]]) -> tuple[bytes, bytes, list[bytes], str]:
    """Feed (from the client?, bytes); (to the server, to the client, recorded, error). Raises where the oracle does."""
    watching = Watching()
    session = Session(SessionContext("s", "t", "e", "m", "d", "r", PERSON, "none"), watching, watching, LIMITS)
    to_server = to_client = b""
    failure, given = "", 0
    try:
        for from_client, data in moves:
            given += len(data)
            (session.from_client if from_client else session.from_server)(data)
            to_server += session.take_to_server()
            to_client += session.take_to_client()
            assert session.waiting_bytes <= given
            if not session.in_flight:
                assert session.waiting_bytes <= KEPT_BYTES_MAX
    except ProtocolError as error:
        failure = str(error)
        assert error.message
    session.close()
    assert watching.open == 0, "every statement has exactly one outcome"
    check(to_server, watching)
    return to_server, to_client, watching.recorded, failure


def check(sent: bytes, watching: Watching) -> None:
    """The oracle over what the server got."""
    written = b"\n".join(watching.recorded)
    for kind, body in messages(sent):
        assert kind in b"QPBDECSHdcfX", f"{kind!r} doesn't pass"
        if kind == b"Q":
            text = body[:-1]
            assert b"\0" not in text and FORBIDDEN.encode() not in text.lower()
            parts = [part.encode() for part in postgast.split(text.decode())] if text not in OWN_TEXTS else []
            assert all(part in written for part in parts), "a statement ran that wasn't written down"
        elif kind == b"P":
            text = body.split(b"\0")[1]
            assert text in OWN_TEXTS or text in watching.allowed, "a statement was prepared that wasn't judged"
