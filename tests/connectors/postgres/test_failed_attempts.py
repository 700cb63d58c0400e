"""Failures are counted by client and user: no guessing, no flood of records, nobody locked out by somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.postgres.attempts import KEPT_MAX, Attempts, TooManyAttempts, network_of
from taprail.connectors.postgres.limits import Limits


def blocked(attempts: Attempts, address: str, user: str, now: float) -> bool:
    try:
        attempts.check(address, user, now)
    except TooManyAttempts as error:
        assert error.sqlstate == "53300"
        return True
    return False


def test_a_full_bucket_blocks_its_own_client_and_user_alone() -> None:
    attempts = Attempts(3)
    for _ in range(3):
        assert not blocked(attempts, "10.0.0.1", "reports", 0.0)
        attempts.failed("10.0.0.1", "reports", 0.0)
    assert blocked(attempts, "10.0.0.1", "reports", 0.0)
    assert not blocked(attempts, "10.0.0.1", "ann", 0.0)
    assert not blocked(attempts, "10.0.0.2", "reports", 0.0)
    assert blocked(attempts, "10.0.0.1", "reports", 19.0)
    assert not blocked(attempts, "10.0.0.1", "reports", 21.0), "a third of a minute later there is room for one"


def test_who_gets_in_is_forgiven_and_zero_is_no_limit() -> None:
    attempts = Attempts(2)
    for _ in range(2):
        attempts.failed("a", "ann", 0.0)
    attempts.succeeded("a", "ann", ("idp", "ann"), 0.0)
    assert not blocked(attempts, "a", "ann", 0.0)
    none = Attempts(0)
    for _ in range(1000):
        none.failed("a", "ann", 0.0)
    assert not blocked(none, "a", "ann", 0.0) and len(none) == 0


def test_many_at_once_wait_for_all_of_them_but_not_for_ever() -> None:
    attempts = Attempts(30)
    for _ in range(2000):
        attempts.failed("a", "reports", 0.0)
    assert blocked(attempts, "a", "reports", 8 * 60.0)
    assert not blocked(attempts, "a", "reports", 10 * 60.0)


def test_made_up_names_dont_fill_the_memory() -> None:
    attempts = Attempts(3)
    for number in range(KEPT_MAX + 500):
        attempts.failed("a", f"user{number}", 0.0)
    assert len(attempts) == KEPT_MAX


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.integers(1, 10))
def test_never_more_than_the_bucket_and_what_it_loses(gaps: list[float], per_minute: int) -> None:
    attempts, now, tried = Attempts(per_minute), 0.0, 0
    for gap in gaps:
        now += gap
        if not blocked(attempts, "a", "ann", now):
            attempts.failed("a", "ann", now)
            tried += 1
    assert tried <= per_minute + now * per_minute / 60 + 1e-6


def test_an_ipv6_client_is_its_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1:2") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("fe80::1%eth0") == "fe80::/64" and network_of("") == ""


def test_a_person_signs_in_so_often_and_then_waits() -> None:
    attempts = Attempts(3, sign_ins=2)
    for _ in range(2):
        attempts.succeeded("a", "ann", ("idp", "ann"), 0.0)
    with pytest.raises(TooManyAttempts, match="ann signs in too often: 2 times a minute"):
        attempts.succeeded("b", "ann", ("idp", "ann"), 0.0)
    attempts.succeeded("a", "bob", ("idp", "bob"), 0.0)
    attempts.succeeded("a", "ann", ("idp", "ann"), 31.0)
    attempts.limit(3, 0)
    for _ in range(100):
        attempts.succeeded("a", "ann", ("idp", "ann"), 31.0)


def test_sign_ins_of_a_person_at_the_tap(beds: Callable[..., Any]) -> None:
    tap = beds(limits=Limits(sign_ins_per_minute=2))
    for _ in range(2):
        tap.connect("ann", "a.good.token").close()
    with pytest.raises(psycopg.OperationalError, match="signs in too often"):
        tap.connect("ann", "a.good.token")
    tap.connect("service", "a service's password").close()


def test_at_the_tap(beds: Callable[..., Any]) -> None:
    tap = beds(limits=Limits(failed_sign_ins_per_minute=3))
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            tap.connect("service", "wrong")
    for password in ("wrong", "a service's password"):
        with pytest.raises(psycopg.OperationalError, match="too many failed sign-ins of 'service' from 127"):
            tap.connect("service", password)
    assert len(tap.recorder.sessions) == 3, "the failures, and not what was turned away after them"
    with tap.connect("ann", "a.good.token") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
