"""Kafka stops, dies, and comes back: statements go on as long as the spool has room, and nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from tests.faults.effects import Load, account_for
from tests.system.installation import Installation, eventually, installed, new_home

AWAY_SECONDS = 6.0
STATEMENT_SECONDS_MAX = 4.0  # less than Kafka is away, enough for a busy machine; otherwise it is milliseconds
SMALLEST_SPOOL = 1 << 20
FILLER = "x" * 50_000
IO_ERROR = "58030"

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with new_home() as home, installed(home) as running:
        yield running


@pytest.fixture(scope="module")
def load(installation: Installation) -> Load:
    return Load(installation)


@contextmanager
def away(installation: Installation) -> Iterator[None]:
    """A broker that answers nobody and closes no connection: the worst of its deaths."""
    broker = installation.pid("kafka")
    os.kill(broker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker, signal.SIGCONT)


def test_kafka_never_stalls_a_statement(installation: Installation, load: Load) -> None:
    with load:
        load.goes_on()
        with away(installation):
            time.sleep(1)
            load.slowest_s, before = 0.0, len(load.acknowledged)
            time.sleep(AWAY_SECONDS)
            assert len(load.acknowledged) > before + 100
            with installation.connect("bob") as connection:  # signing in needs no Kafka either
                assert connection.execute("SELECT 1").fetchone() == (1,)
        load.goes_on()
        broker = installation.pid("kafka")
        os.kill(broker, signal.SIGKILL)
        load.goes_on(writes=400)
        eventually(lambda: installation.pid("kafka") not in (0, broker), 30, "the supervisor starts the broker again")
        load.goes_on()
        assert load.slowest_s < STATEMENT_SECONDS_MAX
    assert load.errors == []
    account_for(installation, load, lives=1)


def test_a_full_spool_refuses_statements_until_there_is_room(installation: Installation, load: Load) -> None:
    config = installation.home / "taprail.toml"
    config.write_text(config.read_text().replace("[tap]", f"[tap]\nspool_bytes_max = {SMALLEST_SPOOL}"))
    installation.kill("tap", signal.SIGTERM)
    with load:
        load.goes_on()
        with away(installation), installation.connect("ann") as connection:
            refusal = _refused(connection)
            assert "can't be written down, so it doesn't run: the spool is full" in str(refusal)
            assert refusal.diag.message_hint is not None and "Kafka" in refusal.diag.message_hint
            assert not connection.closed, "the session lives"
            eventually(lambda: IO_ERROR in [e.sqlstate for e in load.errors], 20, "small statements are refused, too")
            eventually(partial(_nothing_runs, load), 20, "nothing runs without its record")
            with pytest.raises(psycopg.OperationalError, match="the spool is full"):
                installation.connect("bob")
        load.goes_on()
        before = len(load.errors)
        load.goes_on()
        assert len(load.errors) == before, "there is room again"
    account_for(installation, load, lives=2, refused=(IO_ERROR,))


def _refused(connection: psycopg.Connection) -> psycopg.Error:
    """Fill the spool with large statements; the error of the first that doesn't fit."""
    for _ in range(2 * SMALLEST_SPOOL // len(FILLER)):
        try:
            connection.execute("SELECT length(%s)", [FILLER])
        except psycopg.Error as error:
            assert error.sqlstate == IO_ERROR, error
            return error
    raise AssertionError("the spool takes more than its limit")


def _nothing_runs(load: Load) -> bool:
    before = len(load.acknowledged)
    time.sleep(1)
    return len(load.acknowledged) == before
