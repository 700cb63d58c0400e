"""The quick encoding is the general codec's, byte by byte, whatever changes between two records."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas import avro
from taprail.schemas.envelope import Sealer
from taprail.schemas.guard import Facts, MaskPlan, Request, Result, SessionContext, Ticket, Verdict
from taprail.schemas.records import Outcome, Person, RelationUse, Statement
from taprail.streams.encoded import Encoder
from taprail.streams.recording import statement_record

SEALER = Sealer("data-1", b"d" * 32)
texts = st.text(max_size=20)
numbers = st.integers(0, 2**62)
persons = st.builds(Person, texts, texts, st.sampled_from(["person", "service", "agent"]), st.tuples(texts, texts))
sessions = st.builds(
    SessionContext, texts, st.sampled_from(["tap-1"]), texts, texts, texts, texts, persons, st.just("oidc"),
    client=texts, client_address=texts, purpose=texts
)  # fmt: skip
relations = st.builds(RelationUse, texts, texts, st.sampled_from(["read", "write"]), st.tuples(texts))
verdicts = st.builds(
    Verdict, st.sampled_from(["allow", "mask"]), st.builds(Facts, texts), texts, texts, texts,
    catalog_epoch=numbers, rule=texts, reason=texts, mark=st.sampled_from(["none", "carried", "impossible"]),
    mask=st.sampled_from([None, MaskPlan({(1, 2): "email"}, frozenset({1}))]),
    lineage=st.tuples(texts), relations=st.tuples(relations),
)  # fmt: skip
results = st.builds(
    Result, st.sampled_from(["ok", "error", "unknown"]), numbers, numbers, numbers, texts,
    st.sampled_from(["committed", "open", "rolled_back"])
)  # fmt: skip


@given(st.lists(st.tuples(sessions, verdicts, numbers, numbers, numbers, st.booleans()), max_size=3), st.data())
def test_statements_and_outcomes_are_the_general_codecs(
    cases: list[tuple[SessionContext, Verdict, int, int, int, bool]], data: st.DataObject
) -> None:
    epoch, protocols = data.draw(numbers), st.sampled_from(["simple", "extended"])
    encoder = Encoder("tap-1", epoch)
    for session, verdict, transaction, sequence, time_us, secret in cases * 2:
        request = Request("SELECT 1", session, data.draw(protocols), (), transaction)
        values = SEALER.seal(b"SELECT 1", "p") if secret else None
        record = statement_record(request, verdict, (epoch, sequence, time_us), "", 0, values)
        assert encoder.statement(request, verdict, sequence, time_us, values) == avro.encode(record)
        ticket, result = Ticket(epoch, sequence, "", time_us // 2), data.draw(results)
        body = encoder.outcome(ticket, request, verdict, result, sequence, time_us)
        assert body == avro.encode(outcome_record(ticket, request, verdict, result, (epoch, sequence, time_us)))


def outcome_record(
    ticket: Ticket, request: Request, verdict: Verdict, result: Result, named: tuple[int, int, int]
) -> Outcome:
    s = request.session
    return Outcome(
        s.tap, *named, s.session, s.environment, s.server, s.database, s.person, s.purpose,
        ticket.epoch, ticket.sequence, result.status, verdict.facts.tag, verdict.relations,
        result.rows, result.bytes, result.masked_columns, named[2] - ticket.started_us, result.sqlstate,
        request.transaction, result.transaction_status, verdict.fingerprint
    )  # fmt: skip


def test_what_changes_in_a_session_is_seen() -> None:
    """Role, purpose and the client's name may change while a session lives."""
    person = Person("ann", "Ann", "person")
    session = SessionContext("s-1", "tap-1", "prod", "db1", "shop", "reader", person, "oidc", client="psql")
    verdict = Verdict("allow", Facts("SELECT"), "SELECT 1", "f", "v")
    encoder, decode = Encoder("tap-1", 1), avro.decoder(Statement)
    for changed in ({}, {"role": "writer"}, {"purpose": "4711"}, {"client": "pgAdmin"}):
        now = replace(session, **changed)
        record = decode(encoder.statement(Request("SELECT 1", now, "simple"), verdict, 1, 1, None))
        assert (record.role, record.purpose, record.client) == (now.role, now.purpose, now.client)
