"""A limit of rows on a running tap: nobody gets more by asking in several sessions, and the records say what came."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from taprail.connectors.kafka.follow import Follower
from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.records import Outcome
from tests.fakes.running_tap import RunningTap

ROWS = 20_000
POLICY = f"""id: few-rows
title: A service reads little
level: low
where: {{kinds: [service]}}
match: statement.text.contains('generate_series')
verdict: deny
rows_per_hour: {ROWS}
message: this is a lot
hint: aggregate
tests:
  match: [{{sql: "SELECT generate_series(1, 2)", person: {{kind: service}}, history: {{rows_last_hour: {ROWS}}}}}]
"""
MANY = "COPY (SELECT generate_series(1, 10000000)) TO STDOUT"


@pytest.fixture
def tap(tmp_path: Path, stack: Endpoints) -> Iterator[RunningTap]:
    """Of two processes."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "few.yaml").write_text(POLICY)
    more = '[policy]\ndirectory = "policies"'
    with RunningTap(tmp_path, stack, "postgres", tap="processes = 2", more=more) as made:
        yield made


def read(tap: RunningTap) -> tuple[int, str]:
    """Rows that came of a COPY that would give ten million, and what it ended with."""
    got = 0
    with tap.connect() as connection, connection.cursor() as cursor:
        try:
            with cursor.copy(MANY) as copy:
                for data in copy:
                    got += bytes(data).count(b"\n")
        except psycopg.Error as error:
            return got, str(error)
    return got, ""


def test_no_row_beyond_the_limit_comes_and_the_record_says_so(tap: RunningTap, stack: Endpoints) -> None:
    with tap.connect() as connection:
        assert len(connection.execute("SELECT generate_series(1, 5000)").fetchall()) == 5_000
    got, said = read(tap)
    assert got == ROWS - 5_000
    assert "this is a lot: the result is cut after 15000 rows" in said and "(rule few-rows)" in said
    with tap.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege, match="this is a lot"):
        connection.execute("SELECT generate_series(1, 1)")
    with Follower(stack.kafka.client_config("viewer"), {"taprail.outcomes": avro.decoder(Outcome)}, since_us=0) as all_:
        found = all_.until(lambda f: f.record.tap.startswith(tap.id) and f.record.sqlstate == "54000", 20)
    assert found is not None
    assert (found.record.status, found.record.rows, found.record.tag) == ("error", 15_000, "COPY")


def test_several_sessions_at_once_get_no_more_than_one(tap: RunningTap) -> None:
    got: list[tuple[int, str]] = []
    readers = [threading.Thread(target=lambda: got.append(read(tap))) for _ in range(6)]
    for each in readers:
        each.start()
    for each in readers:
        each.join()
    assert ROWS - 2_000 < sum(rows for rows, _ in got) <= ROWS, "two that take the last at once may both give it back"
    assert all("this is a lot" in said for _, said in got)


def test_a_restart_gives_nothing_back(tap: RunningTap) -> None:
    assert read(tap)[0] == ROWS
    tap.stop()
    tap.start()
    for _ in range(4):
        got, said = read(tap)
        assert got == 0 and "this is a lot (rule few-rows)" in said
