"""From feed to records: who it was, what waits, what alerts, and where to go on after a crash."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.debezium.decode import FeedRecord, KeyPart
from taprail.connectors.debezium.envelope import Begin, End, Event, Message, RowChange
from taprail.schemas import avro
from taprail.schemas import mark as marks
from taprail.schemas.envelope import Sealer
from taprail.schemas.mark import Mark
from taprail.schemas.records import AcceptedMark, Alert, Change, Detection, Outcome, Person, RelationUse, Statement
from taprail.streams.attribution import join, resolve
from taprail.streams.attribution.join import Feed
from taprail.streams.attribution.memory import MarkMemory
from taprail.streams.attribution.resolve import Attribution, Limits, State
from taprail.streams.attribution.statements import Statements

KEY = b"k" * 32
SEALER = Sealer("data-1", b"d" * 32)
FEED = Feed("local", "prod", "prod", "cdc.local.prod")
TIME_US = 1_700_000_000_000_000
ANN = Person("ann", "Ann", "person", ("engineers",))
OUTCOME_BASE = ("s-1", "prod", "local", "prod", ANN, "")


def statement(sequence: int, **changes: object) -> Statement:
    base = Statement(
        tap="tap-1",
        epoch=1,
        sequence=sequence,
        time_us=TIME_US - 1000,
        session="s-1",
        environment="prod",
        server="local",
        database="prod",
        person=ANN,
        purpose="ticket 7",
        action="allow",
        rule="",
        tag="UPDATE",
        writes=True,
        relations=(RelationUse("public", "t", "write"),),
        fingerprint="f00",
        normalized="update t set a = $1",
        reason="",
        policy_version="1",
        catalog_epoch=1,
        role="app_engineer",
        client="psql",
        client_address="127.0.0.1",
        protocol="simple",
        transaction=1,
        mark="carried",
        approval="a-1",
    )
    return msgspec.structs.replace(base, **changes)


def framed(record: msgspec.Struct) -> bytes:
    return b"\0\0\0\0\1" + avro.encode(record)


def outcome(sequence: int, time_us: int) -> Outcome:
    return Outcome(
        "tap-1", 1, sequence + 1, time_us, *OUTCOME_BASE, 1, sequence, "ok", "CALL", (), 0, 0, 0, 1, "", 0, "none", "f"
    )  # fmt: skip


class Script:
    """Feeds events into an attribution, each at an offset of its own, at a time that the test sets."""

    def __init__(self, limits: Limits | None = None, memory: MarkMemory | None = None) -> None:
        self.statements = Statements()
        self.attribution = Attribution(FEED, KEY, memory or MarkMemory(), self.statements, SEALER, limits)
        self.taken: list[tuple[FeedRecord, int]] = []
        self.offset = self.lsn = 0
        self.txid = 700

    def take(self, event: Event, now_s: float = 0.0, key: tuple[KeyPart, ...] = (KeyPart("id", 1, True),)) -> None:
        self.taken.append((FeedRecord(event, key), self.offset))
        self.attribution.take(*self.taken[-1], now_s)
        self.offset += 1

    def begin(self, now_s: float = 0.0) -> None:
        self.txid += 1
        self.take(Begin(self.txid, TIME_US), now_s)

    def mark(self, sequence: int, now_s: float = 0.0, key: bytes = KEY, tap: str = "tap-1") -> None:
        self.lsn += 8
        text = marks.render(Mark(tap, 1, sequence, "local", "prod"), key)
        self.take(Message(self.txid, self.lsn, 0, TIME_US, "taprail", text.encode()), now_s)

    def row(self, now_s: float = 0.0, table: str = "t") -> None:
        self.lsn += 8
        after = {"id": 1, "email": "ann@example.com"}
        self.take(RowChange(self.txid, self.lsn, 1, TIME_US, "update", "public", table, {"id": 1}, after), now_s)

    def ddl(self, tag: str, now_s: float = 0.0) -> None:
        self.lsn += 8
        told = msgspec.json.encode({"tag": tag, "schema": "public", "object": "public.ix"})
        self.take(Message(self.txid, self.lsn, 0, TIME_US, "taprail-ddl", told), now_s)

    def released(self, now_s: float = 0.0) -> list[Change]:
        return [r for r in self.attribution.release(now_s) if isinstance(r, Change)]


def test_a_change_names_statement_and_person() -> None:
    s = Script()
    s.statements.take_statement(framed(statement(1)))
    s.begin()
    s.mark(1)
    s.row()
    accepted, change = s.attribution.release(0)
    assert isinstance(accepted, AcceptedMark) and isinstance(change, Change)
    assert (change.attribution, change.person, change.purpose, change.approval) == ("statement", ANN, "ticket 7", "a-1")
    assert (change.tap, change.epoch, change.sequence, change.fingerprint) == ("tap-1", 1, 1, "f00")
    assert (change.environment, change.schema, change.table, change.key) == ("prod", "public", "t", "id=1")
    assert avro.decoder(Change)(avro.encode(change)) == change


def test_values_are_sealed_and_bound_to_their_change() -> None:
    s = Script()
    s.statements.add(statement(1))
    s.begin()
    s.mark(1)
    s.row()
    (change,) = s.released()
    assert change.after is not None and change.after.purpose == f"{change.change_id}/after"
    assert msgspec.json.decode(SEALER.open(change.after)) == {"id": 1, "email": "ann@example.com"}
    assert b"ann@example.com" not in avro.encode(change)


@pytest.mark.parametrize(("clear", "shown"), [(True, "id=7"), (False, "id=#" + SEALER.hash(b'"7"'))])
def test_a_key_shows_what_is_clear_and_hashes_the_rest(clear: bool, shown: str) -> None:
    s = Script()
    s.begin()
    s.take(
        RowChange(s.txid, 8, 1, TIME_US, "insert", "public", "t", None, {}),
        key=(KeyPart("id", 7 if clear else "7", clear),),
    )
    (change,) = s.released(1)
    assert change.key == shown


def test_a_row_without_key_is_named_by_its_hash() -> None:
    s = Script()
    s.begin()
    row = RowChange(s.txid, 8, 1, TIME_US, "delete", "public", "t", {"b": "x", "a": 1}, None)
    s.take(row, key=())
    (change,) = s.released(1)
    assert change.key == "row=#" + SEALER.hash(b'{"a":1,"b":"x"}')


def test_a_change_waits_for_its_statement_and_the_order_stays() -> None:
    s = Script()
    s.begin()
    s.mark(1)
    s.row()
    s.take(End(s.txid, 2, TIME_US))
    s.begin()
    s.mark(2)
    s.row(table="u")
    s.statements.add(statement(2))
    assert s.released(5) == []
    s.statements.add(statement(1))
    assert [(c.table, c.sequence) for c in s.released(6)] == [("t", 1), ("u", 2)]


def test_a_statement_that_is_never_seen_holds_nothing_up_for_long() -> None:
    s = Script()
    s.begin()
    s.mark(1)
    for second in range(3):
        s.row(now_s=second * 6)
    assert s.released(9.9) == []
    changes = s.released(12)
    assert [(c.attribution, c.reason, c.person, c.sequence) for c in changes] == [
        ("statement", resolve.NOT_SEEN, None, 1)
    ] * 3, "the mark's wait counts once, not for each row"


def test_an_unattributed_change_alerts_once_for_transaction_and_table() -> None:
    s = Script()
    s.begin()
    for table in ("t", "t", "u", "t"):
        s.row(table=table)
    s.begin()
    s.row()
    assert s.attribution.release(0.4) == [], "a statement without a mark may still explain it"
    out = s.attribution.release(0.6)
    alerts = [r for r in out if isinstance(r, Alert)]
    assert [r.attribution for r in out if isinstance(r, Change)] == ["unattributed"] * 5
    assert len(alerts) == 3 and len({a.alert_id for a in alerts}) == 3
    assert [d.detection_id for d in out if isinstance(d, Detection)] == [a.detection_id for a in alerts]
    assert "public.t, row id=1, in transaction 701 of local/prod at 2023-11-14T22:13:20.000+00:00" in alerts[0].summary
    assert "ann@example.com" not in repr(out)


def test_an_alert_does_not_wait_behind_a_statement_that_does_not_come() -> None:
    s = Script()
    s.begin()
    s.mark(1)
    s.row()
    s.begin()
    s.row(table="u")
    out = s.attribution.release(0.6)
    assert [type(r) for r in out] == [Detection, Alert, AcceptedMark]
    assert [type(r) for r in s.attribution.release(11)] == [Change, Change], "and it isn't told again"


def test_a_forged_mark_is_told_at_once() -> None:
    s = Script()
    s.begin()
    s.mark(1, key=b"x" * 32)
    s.row()
    detection, alert, change = s.attribution.release(0)
    assert isinstance(detection, Detection) and isinstance(alert, Alert) and isinstance(change, Change)
    assert (detection.rule, alert.severity, change.reason) == ("unattributed-change", "high", join.BAD_MARK)


def test_a_mark_that_was_stolen_before_it_was_used() -> None:
    """Somebody who sees another session's mark in pg_stat_activity puts it into a transaction of their own."""
    s = Script()
    s.statements.add(statement(1))
    s.statements.add(statement(2, session="s-2", person=Person("bob", "Bob", "person")))
    s.statements.add(statement(3))
    s.begin()
    for sequence in (1, 2, 3):
        s.mark(sequence)
        s.row(table=f"t{sequence}")
    assert [(c.attribution, c.person, c.reason) for c in s.released()] == [
        ("statement", ANN, ""),
        ("unattributed", None, resolve.TWO_SESSIONS),
        ("statement", ANN, ""),
    ]


def test_a_mark_that_may_have_been_forgotten_needs_its_statement() -> None:
    memory = MarkMemory()
    memory.remember(AcceptedMark("tap-1", 1, 50, "local", "prod", "1:1"))
    memory.set_forgetful()
    s = Script(memory=memory)
    s.begin()
    for sequence, tap in ((49, "tap-1"), (51, "tap-1"), (1, "tap-retired")):
        s.mark(sequence, tap=tap)
        s.row(table=f"t{sequence}")
    assert [(c.attribution, c.reason) for c in s.released(11)] == [
        ("unattributed", resolve.FORGOTTEN_MARK),
        ("statement", resolve.NOT_SEEN),
        ("unattributed", resolve.FORGOTTEN_MARK),
    ]


def test_a_held_or_denied_statement_explains_nothing() -> None:
    s = Script()
    for sequence, action in enumerate(("hold", "deny"), 1):
        s.statements.add(statement(sequence, action=action, mark="impossible", tag="CALL"))
    s.begin()
    s.row()
    assert [c.attribution for c in s.released(1)] == ["unattributed"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tag": "CALL", "relations": ()}, ["probable", "probable"]),
        ({"tag": "CREATE INDEX", "relations": ()}, ["unattributed", "probable"]),
        ({"tag": "UPDATE"}, ["probable", "unattributed"]),
        ({"tag": "VACUUM"}, ["probable", "unattributed"]),
        ({"tag": "CALL", "database": "dev"}, ["unattributed", "unattributed"]),
        ({"tag": "CALL", "time_us": TIME_US + 2_000_000}, ["unattributed", "unattributed"]),
        ({"tag": "CALL", "time_us": TIME_US - 3_601_000_001}, ["unattributed", "unattributed"]),
    ],
)
def test_a_statement_that_can_not_be_marked_is_the_probable_one(
    changes: dict[str, object], expected: list[str]
) -> None:
    s = Script()
    s.statements.add(statement(1, mark="impossible", **changes))
    s.begin()
    s.row()
    s.ddl("CREATE INDEX")
    found = s.released(1)
    assert [c.attribution for c in found] == expected
    assert all((c.person == ANN) == (c.attribution == "probable") for c in found)


@pytest.mark.parametrize("outcome_first", [True, False])
def test_its_outcome_closes_its_window(outcome_first: bool) -> None:
    s = Script()
    records = [framed(statement(1, mark="impossible", tag="CALL", time_us=TIME_US - 9_000_000))]
    for record in records if not outcome_first else []:
        s.statements.take_statement(record)
    s.statements.take_outcome(framed(outcome(1, TIME_US - 5_000_000)))
    for record in records if outcome_first else []:
        s.statements.take_statement(record)
    s.begin()
    s.row()
    assert [c.attribution for c in s.released(1)] == ["unattributed"]


def test_reads_are_not_remembered() -> None:
    statements = Statements()
    statements.take_statement(framed(statement(1, writes=False, mark="none")))
    assert statements.find(Mark("tap-1", 1, 1, "local", "prod")) is None


def test_the_state_fits_beside_an_offset() -> None:
    """Kafka's limit is offset.metadata.max.bytes, 4096."""
    s = Script()
    s.begin()
    for number in range(200):
        s.row(table=f"{number}-" + "\U0001f40d" * 60)
    s.attribution.release(1)
    assert len(msgspec.json.encode(s.attribution.position()[1])) < 4096


# The law of going on: stop anywhere, take offset, state and accepted marks, begin again: the same changes, once each.

steps = st.lists(
    st.one_of(
        st.just(("row", 0)),
        st.tuples(st.just("mark"), st.integers(1, 8)),
        st.just(("forged", 1)),
        st.just(("next", 0)),
        st.tuples(st.just("seen"), st.integers(1, 8)),
    ),
    max_size=25,
)


def play(script: Script, step: tuple[str, int], now_s: float) -> None:
    action, value = step
    if action == "row":
        script.row(now_s)
    elif action == "mark":
        script.mark(value, now_s)
    elif action == "forged":
        script.mark(value, now_s, key=b"x" * 32)
    elif action == "next":
        script.begin(now_s)
    else:
        script.statements.add(statement(value))


@given(steps, st.integers(0, 25))
def test_stopping_anywhere_loses_and_repeats_nothing(history: list[tuple[str, int]], cut: int) -> None:
    first = Script()
    out: list[msgspec.Struct] = []
    at = (0, State())
    kept = 0
    for number, step in enumerate([("next", 0), *history]):
        play(first, step, now_s=number * 0.2)
        if number <= cut:
            out += first.attribution.release(number * 0.2)
            at, kept = first.attribution.position(), len(out)
    uncut = out + first.attribution.release(1e6)

    memory = MarkMemory()
    for record in out[:kept]:
        if isinstance(record, AcceptedMark):
            memory.remember(record)
    second = Attribution(FEED, KEY, memory, first.statements, SEALER)
    for record, offset in first.taken:
        if offset < at[0]:
            second.join.recall(record.event)
    second.resume(at[0], msgspec.json.decode(msgspec.json.encode(at[1]), type=State))
    for record, offset in first.taken:
        if offset >= at[0]:
            second.take(record, offset, 1e6)
    rest = second.release(2e6)
    assert told(out[:kept] + rest) == told(uncut)


def told(records: list[msgspec.Struct]) -> tuple[list[object], list[str], list[str]]:
    """Changes in order; accepted marks; alerts, which may overtake."""
    changes: list[object] = [
        (r.change_id, r.attribution, r.reason, r.sequence) for r in records if isinstance(r, Change)
    ]
    accepted = [r.transaction for r in records if isinstance(r, AcceptedMark)]
    return changes, accepted, sorted(r.alert_id for r in records if isinstance(r, Alert))
