"""The statement path's step without Kafka: what comes of each record, of repeats, and of what can't be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, json, structs

from taprail.connectors.kafka.loop import Out
from taprail.schemas import avro
from taprail.schemas.control import SignedRecord
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import StackError
from taprail.schemas.records import (
    Alert,
    Approval,
    ApprovalState,
    Change,
    Coverage,
    DeadLetter,
    Detection,
    Enrichment,
    Match,
    Outcome,
    Person,
    PolicyMatch,
    Range,
    RelationUse,
    Session,
    Statement,
    Terms,
)
from taprail.streams import pipeline
from taprail.streams.identity.enrich import Directory
from taprail.streams.pipeline import Frames, Pipeline

IN, OUT = b"\0\0\0\0\7", b"\0\0\0\0\x08"
SEALER = Sealer("data-test", bytes(32))
ANN = Person("ann", "Ann", "person", ("engineers",))
CUSTOMERS = RelationUse("public", "customers", "read", ("email",))
STATEMENT = Statement(
    "tap-1", 7, 1, 1_700_000_000_000_000, "s-1", "prod", "local", "orders", ANN, "", "allow", "default", "SELECT",
    False, (CUSTOMERS,), "f" * 32, "SELECT email FROM customers WHERE id = $1", "", "v1", 3, "app", "psql",
    "10.0.0.1:5000", "extended", 12, "none",
)  # fmt: skip
OUTCOME = Outcome(
    "tap-1", 7, 2, 1_700_000_000_000_500, "s-1", "prod", "local", "orders", ANN, "", 7, 1, "ok", "SELECT", (CUSTOMERS,),
    1, 90, 1, 500, "", 12, "none", "f" * 32,
)  # fmt: skip
SESSION = Session(
    "tap-1",
    7,
    3,
    1_700_000_000_000_900,
    "s-1",
    "prod",
    "local",
    "orders",
    ANN,
    "closed",
    "oidc",
    "app",
    "psql",
    "10.0.0.1",
)
TOPIC = {Statement: "taprail.statements", Outcome: "taprail.outcomes", Session: "taprail.sessions"}
TYPES: dict[str, type[Struct]] = {
    "taprail.matches": Match,
    "taprail.detections": Detection,
    "taprail.alerts": Alert,
    "taprail.approvals": Approval,
    "taprail.approval-states": ApprovalState,
    "taprail.coverage": Coverage,
    "taprail.dead-letters": DeadLetter,
}


def _pipeline() -> Pipeline:
    frames = Frames(dict.fromkeys(("statement", "outcome", "session"), OUT), dict.fromkeys(avro.RECORDS, OUT))
    made = Pipeline(frames, Directory({}), SEALER, large_read_rows=1000)
    for topic in pipeline.TOPICS:
        made.restore(topic, 0, "")
    return made


def _message(record: Struct, topic: str = "") -> Message:
    return _raw(IN + avro.encode(record), topic or TOPIC[type(record)])


def _raw(value: bytes | None, topic: str = "taprail.statements", offset: int = 5) -> Message:
    return Message(topic=topic, partition=0, offset=offset, key=b"s-1", value=value)  # type: ignore[arg-type]


def _told(outs: Iterable[Out], topic: str) -> list[Any]:
    decode = avro.decoder(TYPES[topic])
    return [decode(out.value[5:]) for out in outs if out.topic == topic]


def _audited(outs: Iterable[Out], kind: str) -> list[Out]:
    return [out for out in outs if out.topic == "taprail.audit" and out.headers == (("kind", kind.encode()),)]


@pytest.mark.parametrize(("record", "kind"), [(STATEMENT, "statement"), (OUTCOME, "outcome"), (SESSION, "session")])
def test_a_record_goes_into_the_audit_log_with_its_enrichment(record: Struct, kind: str) -> None:
    outs = _pipeline().process([_message(record)])
    (kept,) = _audited(outs, kind)
    assert kept.value.startswith(OUT)
    again, enrichment = avro.decode_enriched(type(record), kept.value[5:])
    assert again == record
    assert kept.key == f"tap-1/7/{record.sequence}".encode()  # type: ignore[attr-defined]
    sensitivity = () if kind == "session" else ("email",)
    assert structs.replace(enrichment, enriched_us=0) == Enrichment("Ann", ("engineers",), True, sensitivity, (), 0)
    events = [json.decode(out.value) for out in outs if out.topic == "taprail.siem"]
    assert [e["metadata"]["uid"] for e in events] == (["tap-1/7/1"] if kind == "statement" else [])


def test_coverage_says_which_numbers_came() -> None:
    records = [structs.replace(STATEMENT, sequence=n) for n in (1, 2, 3, 7)]
    other = structs.replace(STATEMENT, tap="tap-2", sequence=1)
    found = _told(_pipeline().process([_message(r) for r in (*records, OUTCOME, other)]), "taprail.coverage")
    assert {(c.tap, c.epoch): c.ranges for c in found} == {
        ("tap-1", 7): (Range(1, 3), Range(7, 7)),
        ("tap-2", 7): (Range(1, 1),),
    }


def test_repeats_come_to_nothing_in_a_batch_and_after_a_restart() -> None:
    first = _pipeline()
    assert len(_audited(first.process([_message(STATEMENT), _message(STATEMENT)]), "statement")) == 1
    assert first.process([_message(STATEMENT)]) == []
    second = _pipeline()
    second.restore("taprail.statements", 0, first.keep("taprail.statements", 0))
    assert second.process([_message(STATEMENT)]) == []
    assert len(second.process([_message(structs.replace(STATEMENT, sequence=2))])) == 3


def test_what_others_decided_and_attributed_is_kept() -> None:
    change = Change(
        "c-1", 1, "prod", "local", "orders", "unattributed", "insert", "public", "t", "id=1", "", "9", 0, 1, "", 0, 0,
        None, "", "", "",
    )  # fmt: skip
    decision = SignedRecord("decision", "tap-1-7-1", b"{}", 1, "control-1", b"signature")
    outs = _pipeline().process([_message(change, "taprail.changes"), _message(decision, "taprail.decisions")])
    assert [(out.topic, out.value[5:]) for out in outs] == [
        ("taprail.audit", avro.encode(change)),
        ("taprail.audit", avro.encode(decision)),
    ]
    assert [dict(out.headers)["kind"] for out in outs] == [b"change", b"decision"]


def test_a_held_statement_asks_for_an_approval() -> None:
    held = structs.replace(
        STATEMENT, action="hold", rule="large-write", approvers=("data-owners",), expires_us=99, binding="b",
        terms=Terms(quorum=2, remember_seconds=60), remember="r", estimated_rows=70,
        reason="it writes", values=SEALER.seal(b"UPDATE", "tap-1/7/1"),
    )  # fmt: skip
    outs = _pipeline().process([_message(held)])
    (approval,) = _told(outs, "taprail.approvals")
    assert approval.approval_id == "tap-1-7-1"
    for name in set(Approval.__struct_fields__) & set(Statement.__struct_fields__) - {"relations"}:
        assert getattr(approval, name) == getattr(held, name), name
    assert approval.relations == ("public.customers",)
    assert len(_audited(outs, "approval")) == 1
    assert [d.rule for d in _told(outs, "taprail.detections")] == ["statement-held"]
    assert _told(outs, "taprail.alerts") == [], "the agents tell the approvers, with the link"


def test_the_held_statements_of_a_script_ask_for_one() -> None:
    (approval,) = _told(
        _pipeline().process([_message(structs.replace(STATEMENT, action="hold", statements=3))]), "taprail.approvals"
    )
    assert (approval.kind, approval.statements, approval.terms) == ("script", 3, Terms())


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("ok", "run"),
        ("error", "failed"),
        ("unknown", "failed"),
        ("cancelled", "cancelled"),
        ("expired", "expired"),
        ("denied", None),
    ],
)
def test_how_a_statement_ends_is_how_its_approval_does(status: Any, state: str | None) -> None:
    ended = structs.replace(OUTCOME, status=status, sqlstate="23505", approval="tap-1-7-1")
    outs = _pipeline().process([_message(ended)])
    told = _told(outs, "taprail.approval-states")
    assert [(each.approval_id, each.status) for each in told] == ([("tap-1-7-1", state)] if state else [])
    assert len(_audited(outs, "approval_state")) == len(told)
    for each in told:
        assert (each.person is None) is (state == "expired")
        assert ("23505" in each.reason) is (state == "failed")


def test_what_had_no_approval_of_its_own_says_nothing_of_any() -> None:
    assert _told(_pipeline().process([_message(OUTCOME)]), "taprail.approval-states") == []


def test_what_denied_held_or_reported_it_is_counted() -> None:
    said = [
        ("a", "deny", False),
        ("b", "hold", True),
        ("c", "alert", False),
        ("d", "mask", False),
        ("e", "allow", False),
    ]
    made = tuple(PolicyMatch(name, verdict, "low", "t", trial) for name, verdict, trial in said)  # type: ignore[arg-type]
    outs = _pipeline().process([_message(structs.replace(STATEMENT, action="deny", matched=made))])
    found = _told(outs, "taprail.matches")
    assert [(m.policy, m.verdict, m.trial) for m in found] == said[:3]
    (first, *_) = found
    assert (first.person, first.relations, first.sequence) == (STATEMENT.person, ("public.customers",), 1)


def test_a_detection_is_told_everywhere() -> None:
    denied = structs.replace(STATEMENT, action="deny", rule="protected", tag="DROP TABLE")
    outs = _pipeline().process([_message(denied)])
    (detection,) = _told(outs, "taprail.detections")
    (alert,) = _told(outs, "taprail.alerts")
    assert (detection.rule, detection.person, detection.sequence) == ("denied-destructive", ANN, 1)
    assert (alert.detection_id, alert.person, alert.statement) == (detection.detection_id, "Ann", "tap-1/7/1")
    events = [json.decode(out.value) for out in outs if out.topic == "taprail.siem"]
    assert [e["class_uid"] for e in events] == [2004, 6005]
    assert events[0]["finding_info"]["uid"] == detection.detection_id
    assert Counter(dict(o.headers)["kind"] for o in outs if o.topic == "taprail.audit") == dict.fromkeys(
        [b"statement", b"detection", b"alert"], 1
    )
    (kept,) = _audited(outs, "statement")
    assert avro.decode_enriched(Statement, kept.value[5:])[1].detections == ("denied-destructive",)


FORGED = avro.encode(Enrichment("Nobody", (), True, (), (), 0))
POISON: dict[str, bytes | None] = {
    "no frame": b"\1" + avro.encode(STATEMENT),
    "nothing": None,
    "empty": b"",
    "noise": IN + bytes(range(256)),
    "cut in its last field": IN + avro.encode(STATEMENT)[:-1],
    "an enrichment of one's own": IN + avro.encode(STATEMENT) + FORGED,
    "a verdict that doesn't exist": IN + avro.encode(structs.replace(STATEMENT, action="allowed")),  # type: ignore[arg-type]
    "number zero": IN + avro.encode(structs.replace(STATEMENT, sequence=0)),
    "another record": IN + avro.encode(SESSION),
    "too long": IN + avro.encode(structs.replace(STATEMENT, normalized="x" * 960_000)),
}


@pytest.mark.parametrize("name", POISON)
def test_what_cant_be_read_is_kept_aside_and_holds_nothing_up(name: str) -> None:
    value = POISON[name]
    outs = _pipeline().process([_message(STATEMENT), _raw(value, offset=42), _message(OUTCOME)])
    (letter,) = _told(outs, "taprail.dead-letters")
    assert (letter.topic, letter.partition, letter.offset, letter.step) == ("taprail.statements", 0, 42, "pipeline")
    assert letter.error
    original = SEALER.open(letter.value)
    assert original == (value or b"")[:950_000]
    assert b"customers" not in avro.encode(structs.replace(letter, value=None)), "its bytes may be anything: encrypted"
    assert len(_audited(outs, "statement")) == len(_audited(outs, "outcome")) == 1
    assert all(len(out.value) < 1_000_000 for out in outs), "Kafka wouldn't take it"
    assert ("the first 950000 of its" in letter.error) == (name == "too long")


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(pipeline.TOPICS), st.binary(max_size=60)), max_size=20))
def test_any_bytes_end_as_dead_letters(values: list[tuple[str, bytes]]) -> None:
    """49 at most: where most can't be read the loop stops, which has a test of its own."""
    outs = _pipeline().process([_raw(IN + noise, topic) for topic, noise in values])
    letters = [out for out in outs if out.topic == "taprail.dead-letters"]
    passed = [out for out in outs if out.topic == "taprail.audit"]
    assert len(letters) + len(passed) == len(values)


def test_where_most_cant_be_read_the_loop_stops_and_says_so() -> None:
    """It is our fault then, not theirs: another version, a wrong schema. Nothing of the batch is committed."""
    made = _pipeline()
    assert len(made.process([_raw(b"?")] * 49)) == 49
    with pytest.raises(StackError, match="50 of the last 50 records can't be read") as caught:
        made.process([_raw(b"?")])
    assert "versions" in caught.value.hint


def test_a_poison_record_now_and_then_doesnt_stop_the_loop() -> None:
    made = _pipeline()
    for number in range(1, 401):
        good = _message(structs.replace(STATEMENT, sequence=number))
        made.process([_raw(b"?"), good, _message(structs.replace(OUTCOME, sequence=number))])


STATEMENTS = st.builds(
    lambda s, n, t: structs.replace(s, sequence=n, time_us=t),
    st.from_type(Statement),
    st.integers(1, 1 << 62),
    st.integers(0, 1 << 52),
)


def _in_64_bits(s: Statement) -> bool:
    numbers = [s.epoch, s.catalog_epoch, s.transaction, s.expires_us, s.held_sequence, s.statements, s.estimated_rows]
    if s.terms is not None:
        numbers += [s.terms.quorum, s.terms.grant_seconds, s.terms.remember_seconds]
    return all(abs(n) < 1 << 63 for n in numbers)


@settings(max_examples=100, deadline=None)
@given(STATEMENTS.filter(_in_64_bits))
def test_whatever_a_statement_says_what_comes_of_it_can_be_read(statement: Statement) -> None:
    outs = _pipeline().process([_message(statement)])
    (kept,) = _audited(outs, "statement")
    assert avro.decode_enriched(Statement, kept.value[5:])[0] == statement
    for topic in TYPES:
        _told(outs, topic)
    assert not [out for out in outs if out.topic == "taprail.dead-letters"]
    assert len(_told(outs, "taprail.approvals")) == (statement.action == "hold")


def test_a_hostile_statement_fits_into_kafka() -> None:
    """256 KiB of text is what a tap takes: of control characters, and of relations to drop."""
    relations = tuple(RelationUse("\1" * 30, "\1" * 30 + str(n), "write") for n in range(2500))
    hostile = structs.replace(
        STATEMENT, action="deny", tag="DROP TABLE", relations=relations, normalized='DROP TABLE "' + "\1" * 260_000
    )
    outs = _pipeline().process([_message(hostile)])
    assert len(_told(outs, "taprail.alerts")) == 1
    assert max(len(out.value) for out in outs) < 1_000_000
