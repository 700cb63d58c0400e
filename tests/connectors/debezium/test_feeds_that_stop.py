"""What Connect says of change feeds that don't run: paused, deleted, and failed ones, which are started again."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from taprail.connectors.debezium.connector import _ask, restart_failed, status
from taprail.schemas.endpoints import Endpoints


def eventually(look: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + 30
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)


@pytest.fixture
def feed(stack: Endpoints, fresh_database: str, change_feed: Callable[[str], str]) -> str:
    change_feed(fresh_database)
    return fresh_database


def test_a_paused_feed_and_a_deleted_one_are_told(stack: Endpoints, feed: str) -> None:
    assert restart_failed(stack.connect, [feed]).get(feed) is None
    assert "doesn't know it" in restart_failed(stack.connect, ["another"])["another"]
    _ask(stack.connect, "PUT", f"/connectors/{feed}/pause")
    eventually(lambda: restart_failed(stack.connect).get(feed), "somebody has paused it")
    _ask(stack.connect, "PUT", f"/connectors/{feed}/resume")
    eventually(lambda: restart_failed(stack.connect).get(feed), None)


def test_a_failed_feed_is_told_with_its_cause_and_runs_again(stack: Endpoints, feed: str) -> None:
    """Without its publication it fails at the next start; with it, being asked again is enough."""
    with psycopg.connect(stack.postgres.dsn(feed), autocommit=True) as connection:
        connection.execute("ALTER PUBLICATION taprail RENAME TO hidden")
        _ask(stack.connect, "POST", f"/connectors/{feed}/restart?includeTasks=true")
        eventually(lambda: status(stack.connect, feed)["tasks"][0]["state"], "FAILED")
        told = restart_failed(stack.connect)
        connection.execute("ALTER PUBLICATION hidden RENAME TO taprail")
    assert "publication" in told[feed].lower()
    eventually(lambda: (restart_failed(stack.connect).get(feed), status(stack.connect, feed)["tasks"][0]["state"]),
               (None, "RUNNING"))  # fmt: skip
