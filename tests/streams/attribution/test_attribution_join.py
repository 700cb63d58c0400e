"""The join, first as the attacker sees it, then its law."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.debezium.envelope import Begin, End, Event, Message, RowChange, Truncate
from taprail.schemas import mark as marks
from taprail.schemas import writer as writers
from taprail.schemas.mark import Mark
from taprail.schemas.records import AcceptedMark
from taprail.streams.attribution import join
from taprail.streams.attribution.join import Claim, Claimed, Ddl, Declared, Feed, Join, Marked, Unclaimed
from taprail.streams.attribution.memory import MarkMemory

KEY = b"k" * 32
FEED = Feed("local", "prod", "prod", "cdc.local.prod", ("migrations", "origin:replica"))
TIME_US = 1_700_000_000_000_000


def mark(sequence: int, **other: str) -> Mark:
    return Mark("tap-1", 1, sequence, other.get("server", "local"), other.get("database", "prod"))


class Log:
    """Writes a change feed as Debezium does: LSNs grow, transactions don't interleave."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lsn = 100
        self.txid = 700

    def begin(self) -> Log:
        self.txid += 1
        self.events.append(Begin(self.txid, TIME_US))
        return self

    def end(self) -> Log:
        self.events.append(End(self.txid, 0, TIME_US))
        return self

    def say(self, content: str, prefix: str = "taprail", *, in_transaction: bool = True) -> Log:
        self.lsn += 8
        txid = self.txid if in_transaction else 0
        self.events.append(Message(txid, self.lsn, 0, TIME_US, prefix, content.encode()))
        return self

    def mark(self, sequence: int, key: bytes = KEY, **other: str) -> Log:
        return self.say(marks.render(mark(sequence, **other), key))

    def row(self, origin: str = "", *, same_lsn: bool = False) -> Log:
        self.lsn += 0 if same_lsn else 8
        row = RowChange(self.txid, self.lsn, 0, TIME_US, "update", "public", "t", {"id": 1}, {"id": 1}, origin)
        self.events.append(row)
        return self

    def truncate(self) -> Log:
        self.lsn += 8
        self.events.append(Truncate(self.txid, self.lsn, 0, TIME_US, "public", "t"))
        return self


def take(machine: Join, events: Iterable[Event]) -> list[Claimed | AcceptedMark]:
    return [what for what in map(machine.take, events) if what is not None]


def claims(log: Log, machine: Join | None = None) -> list[Claim]:
    machine = machine or Join(FEED, KEY, MarkMemory())
    return [what.claim for what in take(machine, log.events) if isinstance(what, Claimed)]


NO_MARK = Unclaimed(join.NO_MARK)


def test_a_change_round_the_tap_has_no_mark() -> None:
    assert claims(Log().begin().row().end()) == [NO_MARK]


def test_a_mark_covers_what_comes_after_it_until_the_next_one() -> None:
    log = Log().begin().mark(1).row().row().truncate().mark(2).row().end()
    assert claims(log) == [Marked(mark(1))] * 3 + [Marked(mark(2))]


def test_a_mark_does_not_outlive_its_transaction() -> None:
    assert claims(Log().begin().mark(1).row().end().begin().row().end()) == [Marked(mark(1)), NO_MARK]


def test_a_change_before_its_mark_has_none() -> None:
    assert claims(Log().begin().row().mark(1).row().end()) == [NO_MARK, Marked(mark(1))]


def test_a_forged_mark_voids_the_one_before() -> None:
    log = Log().begin().mark(1).row().mark(2, key=b"x" * 32).row().mark(3).row().end()
    assert claims(log) == [Marked(mark(1)), Unclaimed(join.BAD_MARK), Marked(mark(3))]


@pytest.mark.parametrize(
    "content", ["", "taprail", "1|tap-1|1|1|local|prod", "1|tap-1|1|x|local|prod|aa", "writer-1|", "\0"]
)
def test_anything_under_our_prefix_that_is_no_mark_is_refused(content: str) -> None:
    assert claims(Log().begin().mark(1).say(content).row().end()) == [Unclaimed(join.BAD_MARK)]


def test_bytes_that_are_no_text_are_refused() -> None:
    log = Log().begin().mark(1)
    log.events.append(Message(log.txid, log.lsn + 1, 0, TIME_US, "taprail", b"\xff\xfe"))
    log.lsn += 8
    assert claims(log.row().end()) == [Unclaimed(join.BAD_MARK)]


def test_a_mark_that_was_read_in_the_wal_is_worth_nothing_afterwards() -> None:
    log = Log().begin().mark(1).row().end().begin().mark(1).row().end()
    assert claims(log) == [Marked(mark(1)), Unclaimed(join.USED_MARK)]


def test_a_mark_counts_once_within_a_transaction_too() -> None:
    assert claims(Log().begin().mark(1).row().mark(1).row().end()) == [Marked(mark(1)), Unclaimed(join.USED_MARK)]


def test_a_mark_of_another_server_or_database_is_refused() -> None:
    log = Log().begin().mark(1, server="elsewhere").row().mark(2, database="dev").row().end()
    assert claims(log) == [Unclaimed(join.OTHER_DATABASE)] * 2


def test_a_message_outside_the_transaction_proves_nothing() -> None:
    text = marks.render(mark(1), KEY)
    assert claims(Log().begin().say(text, in_transaction=False).row().end()) == [NO_MARK]


def test_other_peoples_messages_are_none_of_ours() -> None:
    assert claims(Log().begin().mark(1).say("anything", prefix="audit").row().end()) == [Marked(mark(1))]


def test_a_transaction_whose_start_was_not_seen_is_not_believed() -> None:
    log = Log().begin().row().end()
    assert claims_of(log.events[1:]) == [Unclaimed(join.NO_BEGIN)]


def claims_of(events: list[Event]) -> list[Claim]:
    return [w.claim for w in take(Join(FEED, KEY, MarkMemory()), events) if isinstance(w, Claimed)]


def test_after_a_record_that_can_not_be_read_nothing_is_believed() -> None:
    machine = Join(FEED, KEY, MarkMemory())
    log = Log().begin().mark(1).row()
    take(machine, log.events)
    machine.lose()
    assert claims_of_rest(machine, Log(), log) == [Unclaimed(join.LOST_RECORD), Marked(mark(2))]


def claims_of_rest(machine: Join, rest: Log, before: Log) -> list[Claim]:
    rest.txid, rest.lsn = before.txid, before.lsn
    return claims(rest.row().mark(2).row().end(), machine)


def test_ddl_is_attributed_like_rows() -> None:
    told = '{"tag": "DROP TABLE", "schema": "public", "object": "public.t"}'
    machine = Join(FEED, KEY, MarkMemory())
    log = Log().begin().say(told, "taprail-ddl").mark(1).say(told, "taprail-ddl").end()
    found = [w for w in take(machine, log.events) if isinstance(w, Claimed)]
    assert [w.claim for w in found] == [NO_MARK, Marked(mark(1))]
    assert isinstance(found[0].change, Ddl) and found[0].change.tag == "DROP TABLE"


@pytest.mark.parametrize("told", ["", "[]", '{"tag": 7, "object": "a\\nb"}', '{"tag": "' + "x" * 9999 + '"}', "\udcff"])
def test_a_ddl_message_can_be_written_by_anyone(told: str) -> None:
    machine = Join(FEED, KEY, MarkMemory())
    log = Log().begin()
    log.events.append(Message(log.txid, 108, 0, TIME_US, "taprail-ddl", told.encode(errors="surrogateescape")))
    (found,) = take(machine, log.events)
    assert isinstance(found, Claimed) and isinstance(found.change, Ddl)
    for text in (found.change.tag, found.change.schema, found.change.object):
        assert text.isprintable() and len(text) <= join.OBJECT_CHARACTERS_MAX


def declare(
    log: Log, writer: str = "migrations", transaction: int = 0, time_us: int = TIME_US, database: str = "prod"
) -> str:
    declaration = writers.Declaration(writer, "local", database, transaction or log.txid, time_us)
    return writers.render(declaration, writers.writer_key(KEY, writer, "local", database))


def test_a_known_writer_declares_itself() -> None:
    log = Log().begin()
    log.say(declare(log)).row().mark(1).row().end()
    assert claims(log) == [Declared("migrations"), Marked(mark(1))]


def test_a_declaration_counts_in_its_own_transaction_only() -> None:
    log = Log().begin()
    stolen = declare(log)
    log.say(stolen).row().end().begin().say(stolen).row().end()
    assert claims(log) == [Declared("migrations"), Unclaimed(join.OTHER_TRANSACTION)]


def test_a_transaction_id_that_comes_again_after_a_wrap_is_another_transaction() -> None:
    log = Log().begin()
    log.say(declare(log, time_us=TIME_US - writers.VALID_US - 1)).row().end()
    assert claims(log) == [Unclaimed(join.OTHER_TRANSACTION)]


def test_a_declaration_with_a_64_bit_transaction_id() -> None:
    log = Log().begin()
    assert claims(log.say(declare(log, transaction=(3 << 32) + log.txid)).row().end()) == [Declared("migrations")]


def test_a_writer_that_nobody_knows_or_of_another_database_is_refused() -> None:
    log = Log().begin()
    log.say(declare(log, "mallory")).row().say(declare(log, database="dev")).row().end()
    assert claims(log) == [Unclaimed(join.UNKNOWN_WRITER), Unclaimed(join.OTHER_DATABASE)]


def test_a_known_replication_origin_is_a_writer_where_there_is_no_mark() -> None:
    log = Log().begin().row("replica").row("elsewhere").say("forged").row("replica").end()
    assert claims(log) == [Declared("origin:replica"), NO_MARK, Unclaimed(join.BAD_MARK)]


def test_changes_at_one_lsn_are_told_apart() -> None:
    log = Log().begin().mark(1).row().row(same_lsn=True).row(same_lsn=True).row().end()
    found = [w for w in take(Join(FEED, KEY, MarkMemory()), log.events) if isinstance(w, Claimed)]
    assert [w.ordinal for w in found] == [1, 2, 3, 1]


def test_a_server_that_was_made_anew_is_not_taken_for_a_repetition() -> None:
    machine = Join(FEED, KEY, MarkMemory())
    old = Log().begin().row().row().end()
    assert len(take(machine, old.events)) == 2
    row = RowChange(old.txid, 16, 1, TIME_US + 60_000_000, "insert", "public", "t", None, {"id": 1})
    assert len(take(machine, [Begin(old.txid, row.time_us), row])) == 1


# The law: a change stands behind the last mark before it in its own transaction, if that one is valid and fresh.

actions = st.lists(
    st.one_of(
        st.tuples(st.just("row"), st.booleans()),
        st.tuples(st.just("mark"), st.integers(1, 12)),  # few numbers: marks are used again
        st.tuples(st.just("forged"), st.integers(1, 12)),
        st.tuples(st.just("foreign"), st.integers(1, 12)),
        st.tuples(st.just("outside"), st.integers(1, 12)),
        st.tuples(st.just("ddl"), st.just(0)),
    ),
    max_size=8,
)
histories = st.lists(actions, max_size=8)


def write(history: list[list[tuple[str, int]]]) -> tuple[Log, list[Claim]]:
    """The events of a history, and what the law says of its changes."""
    log, expected, used = Log(), [], set()
    for transaction in history:
        log.begin()
        claim: Claim = NO_MARK
        for action, value in transaction:
            if action == "row":
                log.row(same_lsn=bool(value))
                expected.append(claim)
            elif action == "ddl":
                log.say('{"tag": "CREATE TABLE"}', "taprail-ddl")
                expected.append(claim)
            elif action == "mark":
                log.mark(value)
                claim = Unclaimed(join.USED_MARK) if value in used else Marked(mark(value))
                used.add(value)
            elif action == "forged":
                log.mark(value, key=b"x" * 32)
                claim = Unclaimed(join.BAD_MARK)
            elif action == "foreign":
                log.mark(value, database="dev")
                claim = Unclaimed(join.OTHER_DATABASE)
            else:
                log.say(marks.render(mark(value), KEY), in_transaction=False)
        log.end()
    return log, expected


@given(histories)
def test_each_change_stands_behind_the_last_mark_before_it(history: list[list[tuple[str, int]]]) -> None:
    log, expected = write(history)
    assert claims(log) == expected


@given(histories, st.data())
def test_a_connector_that_repeats_itself_changes_nothing(
    history: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    log, expected = write(history)
    upto = data.draw(st.integers(0, len(log.events)))
    starts = [i for i, event in enumerate(log.events[:upto]) if isinstance(event, Begin)]
    again = data.draw(st.sampled_from(starts)) if starts else upto
    log.events = log.events[:upto] + log.events[again:]
    machine = Join(FEED, KEY, MarkMemory())
    found = take(machine, log.events)
    assert [w.claim for w in found if isinstance(w, Claimed)] == expected
    accepted = [w for w in found if isinstance(w, AcceptedMark)]
    assert len({(a.tap, a.epoch, a.sequence) for a in accepted}) == len(accepted)
