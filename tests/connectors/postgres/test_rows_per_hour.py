"""A limit of rows, counted while they flow: what is beyond it never reaches the client, and the session ends."""

from __future__ import annotations

import time
from dataclasses import replace

import psycopg
import pytest

from taprail.connectors.postgres import messages as wire
from taprail.schemas.guard import Field, MaskPlan, RowLimit

EMAIL = Field("email", 99, 2, 25, 0)
T = wire.row_description([EMAIL])
Z = wire.ready("I")
COPY_OUT = wire.message(wire.COPY_OUT, b"\0\0\1\0\0")
COPY_DONE = wire.message(wire.COPY_DONE)
PLAN = MaskPlan({(99, 2): "email"}, frozenset({99}), redactions={"email": b"***"})


class Budget:
    """Implements `Meter`."""

    def __init__(self, left):
        self.left = left

    def take(self, rows):
        given = min(rows, self.left)
        self.left -= given
        return given

    def limit(self):
        return RowLimit(1000, "few-rows", "enough is enough", "", self)


def limited(session, budget, **changes):
    session.guard.rule = lambda _, verdict: replace(verdict, limit=budget.limit(), **changes)
    return session


def row(n):
    return wire.data_row([b"%d" % n])


def rows(count, make=row):
    return b"".join(map(make, range(count)))


def copied(n):
    return wire.message(wire.COPY_DATA, b"%d\n" % n)


def ended(session):
    """(status, rows, sqlstate, rows that were counted) of the last outcome."""
    session.session.close()
    result = session.recorder.outcomes[-1][1]
    return result.status, result.rows, result.sqlstate, result.metered


@pytest.mark.parametrize("step", [1, 3, 7, 50, 10_000])
def test_a_simple_querys_rows_end_at_the_limit(offline, step):
    session, budget = offline(), Budget(10)
    limited(session, budget).from_client(wire.query(b"SELECT 1"))
    answer = T + rows(20) + wire.command_complete("SELECT 20") + Z
    for start in range(0, len(answer), step):
        session.from_server(answer[start : start + step])
    assert session.client == T + rows(10) and not session.session.half_sent
    failed = session.session.failure
    assert failed is not None and failed.sqlstate == "54000" and failed.cancels
    assert failed.text == (
        "enough is enough: the result is cut after 10 rows, since 1000 in 60 minutes are the most (rule few-rows)"
    )
    assert failed.hint == "ask for fewer rows, or wait; this session has ended, so connect again"
    assert ended(session) == ("error", 10, "54000", 10)


@pytest.mark.parametrize("step", [1, 9, 10_000])
def test_a_limit_that_is_just_reached_is_no_error(offline, step):
    session, budget = offline(), Budget(10)
    limited(session, budget).from_client(wire.query(b"SELECT 1"))
    answer = T + rows(10) + wire.command_complete("SELECT 10") + Z
    for start in range(0, len(answer), step):
        session.from_server(answer[start : start + step])
    assert session.client == answer and session.session.failure is None
    assert ended(session) == ("ok", 10, "", 10) and budget.left == 0


def test_no_row_where_none_is_left(offline):
    session = limited(offline(), Budget(0))
    session.from_client(wire.query(b"SELECT 1"))
    assert session.from_server(T + rows(1)) == T
    assert ended(session) == ("error", 0, "54000", 0)


def test_the_beginning_of_a_row_counts_as_a_row(offline):
    session = limited(offline(), Budget(1))
    session.from_client(wire.query(b"SELECT 1"))
    large = wire.data_row([b"x" * 1000])
    assert session.from_server(T + large[:500]) == T + large[:500]
    assert session.from_server(large[500:] + large[:500]) == large[500:]
    assert session.session.failure is not None and ended(session)[:2] == ("error", 1)


def test_an_extended_query_is_cut_and_what_was_sent_with_it_is_unknown(offline):
    session = limited(offline(), Budget(3))
    group = wire.parse(b"", b"SELECT 1") + wire.bind(b"", b"") + wire.execute(b"")
    session.from_client(group + group + wire.SYNC_MESSAGE)
    ready = wire.message(ord("1")) + wire.message(ord("2"))
    assert session.from_server(ready + rows(4) + wire.command_complete("SELECT 4")) == ready + rows(3)
    assert session.from_server(ready + rows(4)) == b"", "nothing comes after the end"
    session.session.close()
    found = [(result.status, result.rows, result.sqlstate) for _, result, _ in session.recorder.outcomes]
    assert found == [("error", 3, "54000"), ("unknown", 0, "")]


def test_nothing_of_the_clients_goes_on_after_the_end(offline):
    session = limited(offline(), Budget(1))
    session.session.ask_search_path()
    session.from_client(wire.query(b"SELECT 1") + wire.query(b"SELECT 2"))
    path = wire.row_description([Field("search_path", 0, 0, 25, 0)]) + wire.data_row([b"shop"])
    session.from_server(path + wire.command_complete("SHOW") + Z)
    sent = session.server
    session.from_server(T + rows(2))
    assert session.session.failure is not None and session.server == sent


@pytest.mark.parametrize("step", [1, 13, 10_000])
def test_masked_rows_are_cut(offline, step):
    session, budget = offline(), Budget(5)
    limited(session, budget, action="mask", mask=PLAN).from_client(wire.query(b"SELECT 1"))
    answer = T + rows(9) + wire.command_complete("SELECT 9") + Z
    for start in range(0, len(answer), step):
        session.from_server(answer[start : start + step])
    assert session.client == T + wire.data_row([b"***"]) * 5
    assert ended(session) == ("error", 5, "54000", 5)


def test_copy_out_is_cut(offline):
    session = limited(offline(), Budget(5))
    session.from_client(wire.query(b"COPY t TO STDOUT"))
    assert session.from_server(COPY_OUT + rows(9, copied) + COPY_DONE) == COPY_OUT + rows(5, copied)
    assert ended(session) == ("error", 5, "54000", 5)


def test_the_end_of_a_binary_copy_is_no_row(offline):
    session = limited(offline(), Budget(2))
    session.from_client(wire.query(b"COPY t TO STDOUT (FORMAT binary)"))
    one = wire.message(wire.COPY_DATA, b"\0\1\0\0\0\1x")
    answer = COPY_OUT + one + one + wire.message(wire.COPY_DATA, b"\xff\xff") + COPY_DONE
    answer += wire.command_complete("COPY 2") + Z
    assert session.from_server(answer) == answer and session.session.failure is None
    assert ended(session) == ("ok", 2, "", 2)


def test_two_sessions_share_what_is_left(offline):
    budget, one, other = Budget(10), offline(), offline()
    for each in (one, other):
        limited(each, budget).from_client(wire.query(b"SELECT 1"))
        each.from_server(T)
    for n in range(20):
        for each in (one, other):
            if each.session.failure is None:
                each.from_server(row(n))
    given = one.client.count(b"D\0\0\0") + other.client.count(b"D\0\0\0")
    assert given == 10 and one.session.failure is not None and other.session.failure is not None


def test_the_taps_own_rows_do_not_count(offline):
    session, budget = offline(), Budget(1)
    limited(session, budget).from_client(wire.query(b"INSERT INTO t VALUES (1)"))
    hidden = wire.row_description([Field("m", 0, 0, 3220, 0)]) + wire.data_row([b"0/1"])
    session.from_server(hidden + wire.command_complete("SELECT 1") + wire.command_complete("INSERT 0 1") + Z)
    assert budget.left == 1 and session.session.failure is None


def test_the_server_stops_and_the_client_is_told(bed):
    budget = Budget(1000)
    bed.guard.rule = lambda _, verdict: replace(verdict, limit=budget.limit())
    with bed.connect() as connection, pytest.raises(psycopg.errors.ProgramLimitExceeded, match="cut after 1000 rows"):
        connection.execute("SELECT g, repeat('x', 100) FROM generate_series(1, 100000000) g")
    bed.settle(lambda: bed.recorder.outcomes)
    assert bed.recorder.outcomes[-1][1].rows == 1000
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT g, repeat%' AND state = 'active'"
    with bed.direct() as direct:
        end = time.monotonic() + 10
        while direct.execute(running).fetchone() != (0,):
            assert time.monotonic() < end, "the statement goes on at the server"
            time.sleep(0.05)


def test_copy_gives_as_many_rows_as_are_left(bed):
    budget = Budget(1000)
    bed.guard.rule = lambda _, verdict: replace(verdict, limit=budget.limit())
    got = b""
    with (
        bed.connect() as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg.errors.ProgramLimitExceeded),
        cursor.copy("COPY (SELECT generate_series(1, 5000)) TO STDOUT") as copy,
    ):
        for data in copy:
            got += bytes(data)
    assert got == b"".join(b"%d\n" % n for n in range(1, 1001))
