"""A session ends when its token does: at once where it is idle, after the grace where it works, whatever it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taprail.connectors.postgres import expiry
from taprail.connectors.postgres.expiry import Expiry
from taprail.connectors.postgres.limits import Limits
from taprail.streams.signin import SignIn
from tests.fakes.provider import FakeProvider
from tests.fakes.sign_in import settings


class Watched:
    """When a session with this expiry ends, and how often."""

    def __init__(self, seconds: float, grace: float = 0.0, busy: bool = False) -> None:
        self.begun, self.busy, self.ends = time.monotonic(), busy, list[float]()
        expires_us = int((time.time() + seconds) * 1_000_000) if seconds else 0
        self.expiry = Expiry(expires_us, grace, lambda: self.busy, self._end)

    def _end(self) -> None:
        self.ends.append(time.monotonic() - self.begun)


async def test_an_idle_session_ends_at_the_moment_and_once() -> None:
    watched = Watched(0.1)
    await asyncio.sleep(0.3)
    [after] = watched.ends
    assert 0.1 <= after < 0.25


async def test_one_that_has_ended_before_ends_at_once_and_one_without_an_end_never() -> None:
    late, never = Watched(-5.0), Watched(0)
    await asyncio.sleep(0.05)
    assert len(late.ends) == 1 and never.ends == []


async def test_work_goes_on_for_the_grace_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0.02)
    endless, soon, none = Watched(0.05, 0.3, True), Watched(0.05, 5.0, True), Watched(0.05, 0.0, True)
    await asyncio.sleep(0.15)
    assert endless.ends == [] and len(none.ends) == 1
    soon.busy = False
    await asyncio.sleep(0.3)
    assert [round(after, 1) for after in endless.ends] in ([0.3], [0.4]) and 0.15 <= soon.ends[0] < 0.25


async def test_a_stopped_one_never_ends() -> None:
    watched = Watched(0.05)
    watched.expiry.stop()
    await asyncio.sleep(0.1)
    assert watched.ends == []


async def test_a_machine_that_slept_gives_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's clock stands still while a machine sleeps; the wall's doesn't."""
    monkeypatch.setattr(expiry, "STEP_SECONDS_MAX", 0.05)
    watched = Watched(3600.0)
    real = time.time
    monkeypatch.setattr(expiry.time, "time", lambda: real() + 7200)
    await asyncio.sleep(0.12)
    assert len(watched.ends) == 1


# With a real token, a real tap and a real server --------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


def tap_of(beds: Callable[..., Any], provider: FakeProvider, folder: Path, identity: str = "", **limits: float) -> Any:
    identity = identity or "leeway_seconds = 0"
    return beds(authenticator=SignIn(settings(folder, provider.url, identity=identity)), limits=Limits(**limits))


def short(provider: FakeProvider, seconds: int = 2) -> str:
    return provider.token(exp=int(time.time()) + seconds)


def ended(connection: psycopg.Connection[Any], within: float) -> str:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            connection.execute("SELECT 1")
        except psycopg.errors.AdminShutdown as error:
            return str(error)
        time.sleep(0.05)
    return ""


def test_an_idle_session_ends_with_its_token(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> None:
    tap = tap_of(beds, provider, tmp_path)
    connection = tap.connect("ann", short(provider))
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert "has expired" in ended(connection, 5)
    tap.settle(lambda: len(tap.recorder.sessions) == 2)
    event, context, reason = tap.recorder.sessions[1]
    assert (event, context.person.subject) == ("closed", "ann") and "expired" in reason


def test_what_runs_is_cancelled_at_the_server(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> None:
    tap = tap_of(beds, provider, tmp_path)
    connection, begun = tap.connect("ann", short(provider)), time.monotonic()
    with pytest.raises(psycopg.errors.AdminShutdown, match="has expired"):
        connection.execute("SELECT pg_sleep(60) /* expiring */")
    assert time.monotonic() - begun < 5
    with tap.direct() as direct:
        running = "SELECT FROM pg_stat_activity WHERE query LIKE '%expiring%' AND pid <> pg_backend_pid() "
        tap.settle(lambda: not direct.execute(running + "AND state = 'active'").fetchall())


def test_a_transaction_may_be_ended_within_the_grace(
    beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path
) -> None:
    tap = tap_of(beds, provider, tmp_path, expiry_grace_seconds=20)
    connection = tap.connect("ann", short(provider), autocommit=False)
    connection.execute("SELECT 1")
    time.sleep(2.5)
    assert connection.execute("SELECT 2").fetchone() == (2,), "it is inside its transaction"
    connection.commit()
    connection.autocommit = True
    assert "has expired" in ended(connection, 3)


def test_the_leeway_counts_and_a_setting_lets_sessions_live(
    beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path
) -> None:
    lenient = tap_of(beds, provider, tmp_path, "leeway_seconds = 30")
    endless = tap_of(beds, provider, tmp_path, 'leeway_seconds = 0\nsession_end = "never"')
    connections = [tap.connect("ann", short(provider, 1)) for tap in (lenient, endless)]
    time.sleep(1.6)
    for connection in connections:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.close()


def test_a_session_that_ended_before_leaves_nothing_behind(
    beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path
) -> None:
    tap = tap_of(beds, provider, tmp_path)
    tap.connect("ann", short(provider, 1)).close()
    time.sleep(1.3)
    assert [event for event, _, _ in tap.recorder.sessions] == ["opened", "closed"]
    assert tap.recorder.sessions[1][2] == "the client said goodbye"
