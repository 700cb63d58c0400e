"""What the recorder writes: everything of the statement, and no literal in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import json

from taprail.connectors.spool import files
from taprail.connectors.spool.files import Position
from taprail.connectors.spool.frames import Frame
from taprail.connectors.spool.spool import Spool
from taprail.schemas import avro
from taprail.schemas import mark as marks
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import SpoolError
from taprail.schemas.guard import Facts, Request, Result, SessionContext, Verdict
from taprail.schemas.records import Outcome, Person, Session, Statement
from taprail.streams.recording import SpoolRecorder, request_binding
from taprail.streams.values import Values

MARK_KEY = b"m" * 32
SEALER = Sealer("data-1", b"d" * 32)
ANN = Person("ann", "ann@example.com", "person", ("engineers",))
SECRET = "ann-secret-4711"


def kept(spool: Spool) -> list[Frame]:
    return [frame for _, frame in files.read(spool.directory, Position())]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path)
    yield spool
    spool.close()


def _context() -> SessionContext:
    return SessionContext("s-1", "tap-1", "prod", "local", "prod", "app_engineer", ANN, "oidc")


def _request(text: str = f"DELETE FROM t WHERE x = '{SECRET}'", *parameters: bytes | None) -> Request:
    return Request(text, _context(), "simple", parameters)


def _verdict(action: str = "allow", mark: str = "carried") -> Verdict:
    return Verdict(action, Facts("DELETE", writes=True), "DELETE FROM t WHERE x = $1", "f1", "v1", mark=mark)


def test_literals_and_parameters_are_in_the_envelope_only(spool: Spool) -> None:
    SpoolRecorder(spool, SEALER, MARK_KEY).statement(
        _request(f"DELETE FROM t WHERE x = '{SECRET}'", b"bind-4712"), _verdict()
    )
    (frame,) = kept(spool)
    assert (frame.kind, frame.key) == ("statement", "s-1")
    assert SECRET.encode() not in frame.body
    assert b"bind-4712" not in frame.body
    record = avro.decoder(Statement)(frame.body)
    assert record.values is not None
    values = json.decode(SEALER.open(record.values), type=Values)
    assert values == Values(f"DELETE FROM t WHERE x = '{SECRET}'", (b"bind-4712",))
    assert record.values.purpose == f"tap-1/{spool.epoch}/1"


def test_a_writing_statement_gets_a_mark_that_names_it(spool: Spool) -> None:
    ticket = SpoolRecorder(spool, SEALER, MARK_KEY).statement(_request(), _verdict())
    assert marks.parse(ticket.mark, MARK_KEY) == marks.Mark("tap-1", spool.epoch, ticket.sequence, "local", "prod")


@pytest.mark.parametrize(("action", "mark"), [("deny", "carried"), ("hold", "carried"), ("allow", "none")])
def test_what_does_not_run_or_write_gets_no_mark(spool: Spool, action: str, mark: str) -> None:
    ticket = SpoolRecorder(spool, SEALER, MARK_KEY).statement(_request(), _verdict(action, mark))
    assert ticket.mark == ""


def test_a_held_statement_says_what_the_decision_binds_to_and_runs_under_its_approval(spool: Spool) -> None:
    recorder = SpoolRecorder(spool, SEALER, MARK_KEY)
    request, verdict = _request(), _verdict("hold")
    held = recorder.statement(request, verdict)
    ran = recorder.statement(request, verdict, approval="a-1", held_sequence=held.sequence)
    first, second = (avro.decoder(Statement)(frame.body) for frame in kept(spool))
    assert (first.action, first.binding) == ("hold", request_binding(request, verdict))
    assert first.expires_us == first.time_us + verdict.hold_seconds * 1_000_000
    assert (second.action, second.approval, second.held_sequence) == ("allow", "a-1", held.sequence)
    assert ran.mark


def test_where_the_spool_cannot_take_it_the_caller_is_told(tmp_path: Path) -> None:
    full = Spool(tmp_path / "full", bytes_max=200)
    with pytest.raises(SpoolError):
        SpoolRecorder(full, SEALER, MARK_KEY).statement(_request(), _verdict())
    assert full.sequence == 0
    full.close()


def test_outcomes_and_sessions_name_their_statement_and_person(spool: Spool) -> None:
    recorder = SpoolRecorder(spool, SEALER, MARK_KEY)
    request, verdict = _request(), _verdict()
    ticket = recorder.statement(request, verdict)
    recorder.outcome(ticket, request, verdict, Result("ok", rows=3, bytes=30, transaction_status="committed"))
    recorder.session(request.session, "closed")
    outcome = avro.decoder(Outcome)(kept(spool)[1].body)
    assert (outcome.statement_sequence, outcome.rows, outcome.person) == (ticket.sequence, 3, ANN)
    assert avro.decoder(Session)(kept(spool)[2].body).event == "closed"


def test_a_sessions_record_says_how_and_from_which_device(spool: Spool) -> None:
    recorder = SpoolRecorder(spool, SEALER, MARK_KEY)
    recorder.session(replace(_context(), device="laptop-7"), "opened")
    recorder.session(_context(), "refused", "why")
    known, unknown = (avro.decoder(Session)(frame.body) for frame in kept(spool))
    assert (known.method, known.device, known.reason) == ("oidc", "laptop-7", "")
    assert (unknown.device, unknown.reason) == ("", "why")


def test_a_statement_whose_end_nobody_saw_gets_an_unknown_outcome(tmp_path: Path) -> None:
    before = Spool(tmp_path)
    SpoolRecorder(before, SEALER, MARK_KEY).statement(_request(), _verdict())
    before.close()
    spool = Spool(tmp_path)
    SpoolRecorder(spool, SEALER, MARK_KEY).unknown(avro.decoder(Statement)(kept(spool)[0].body))
    outcome = avro.decoder(Outcome)(kept(spool)[1].body)
    assert (outcome.status, outcome.epoch, outcome.statement_epoch) == ("unknown", spool.epoch, before.epoch)
    spool.close()
