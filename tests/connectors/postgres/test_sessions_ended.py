"""Sessions that the tap ends: those that are open, and those that are about to be."""

from __future__ import annotations

import time

import psycopg
import pytest

SLEEPERS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(21)%'"


def end(bed, match, sqlstate="57P01", text="access was revoked"):
    async def call():
        return bed.proxy.end_sessions(match, sqlstate, text)

    return bed.thread.run(call())


def test_a_persons_sessions_are_ended_and_no_others(bed):
    with bed.connect("ann", "a.good.token") as hers, bed.connect() as other:
        assert end(bed, lambda context: context.person.subject == "ann") == 1
        with pytest.raises(psycopg.errors.AdminShutdown, match="access was revoked"):
            hers.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)
    closed = [(context.person.subject, reason) for event, context, reason in bed.recorder.sessions if event == "closed"]
    assert closed[0] == ("ann", "access was revoked")


def test_what_runs_is_cancelled_at_the_server(bed):
    connection = bed.connect()
    with bed.direct() as direct:
        connection.pgconn.send_query(b"SELECT pg_sleep(21)")
        bed.settle(lambda: direct.execute(SLEEPERS).fetchone() == (1,))
        assert end(bed, lambda _: True) == 1
        before = time.monotonic()
        bed.settle(lambda: direct.execute(SLEEPERS + " AND state = 'active'").fetchone() == (0,))
        assert time.monotonic() - before < 5
    connection.close()


STUBBORN = """DO $$ BEGIN
  FOR n IN 1..30 LOOP
    BEGIN PERFORM pg_sleep(0.5); EXCEPTION WHEN query_canceled THEN NULL; END;
  END LOOP;
  INSERT INTO stubborn VALUES (1);
END $$"""


def test_what_refuses_to_be_cancelled_ends_all_the_same_and_commits_nothing(bed):
    """The server looks whether the tap is still there, for code may ignore a cancel, and so outlive its session."""
    stubborn = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO $$ BEGIN%FOR n IN%' AND state = 'active'"
    with bed.direct() as direct:
        direct.execute("CREATE TABLE IF NOT EXISTS stubborn (n int)")
        direct.execute("GRANT ALL ON stubborn TO PUBLIC")
        connection = bed.connect()
        connection.pgconn.send_query(STUBBORN.encode())
        bed.settle(lambda: direct.execute(stubborn).fetchone() == (1,))
        before = time.monotonic()
        assert end(bed, lambda _: True) == 1
        bed.settle(lambda: direct.execute(stubborn).fetchone() == (0,))
        assert time.monotonic() - before < 5
        assert direct.execute("SELECT count(*) FROM stubborn").fetchone() == (0,)
    connection.close()


def test_a_sign_in_that_is_under_way_does_not_slip_through(bed):
    """The tap knows who it is, and waits for the server, when the person's access is taken away."""
    target = bed.target

    def revoked_meanwhile(login):
        bed.proxy.end_sessions(lambda context: context.person.subject == "ann", "28000", "access was revoked")
        return target(login)

    bed.target = revoked_meanwhile
    with pytest.raises(psycopg.OperationalError, match="access was revoked"):
        bed.connect("ann", "a.good.token")
    assert [(event, reason) for event, _, reason in bed.recorder.sessions] == [("refused", "access was revoked")]
    assert bed.proxy.sessions == 0
