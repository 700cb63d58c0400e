"""What somebody has done lately, in windows of an hour and of a minute."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.records import Person
from taprail.streams.policy.changing import Changing
from taprail.streams.policy.history import PERSONS_MAX, History, RowMeter
from tests.streams.policy.small_world import session

ANN, BOB = Person("ann", "Ann", "person"), Person("bob", "Bob", "person")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_counts_are_of_one_person_and_end_with_their_window() -> None:
    clock = Clock()
    history = History(clock)
    history.ran(ANN, 700)
    clock.now += 30
    history.ran(ANN, 5)
    history.denied(ANN)
    found: Any = history.facts(ANN)
    assert (found.rows_last_hour, found.statements_last_minute, found.denied_last_hour) == (705, 2, 1)
    other: Any = history.facts(BOB)
    assert (other.rows_last_hour, other.statements_last_minute, other.denied_last_hour) == (0, 0, 0)
    clock.now += 61
    found = history.facts(ANN)
    assert (found.rows_last_hour, found.statements_last_minute) == (705, 0)
    clock.now += 3_600
    found = history.facts(ANN)
    assert (found.rows_last_hour, found.denied_last_hour) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 1_000)), max_size=40))
def test_the_hour_is_a_sum_of_its_minutes(steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    history, ran = History(clock), []
    for wait, rows in steps:
        clock.now += wait
        history.ran(ANN, rows)
        ran.append((int(clock.now) // 60, rows))
        facts: Any = history.facts(ANN)
        assert facts.rows_last_hour == sum(r for minute, r in ran if minute > int(clock.now) // 60 - 60)


def test_rows_are_taken_from_what_an_hour_has_left() -> None:
    clock = Clock()
    history = History(clock)
    meter, other = RowMeter(history, ANN, 100), RowMeter(history, BOB, 100)
    assert (meter.take(70), meter.take(0), meter.take(70), meter.take(70)) == (70, 0, 30, 0)
    assert other.take(5) == 5
    history.ran(ANN, -1)  # a header that was taken for a row
    assert meter.take(2) == 1
    clock.now += 3_600
    assert meter.take(101) == 100
    history.ran(ANN, 500)
    assert meter.take(1) == 0


def test_memory_is_bounded() -> None:
    history = History(Clock())
    for n in range(PERSONS_MAX + 10):
        history.denied(Person(f"p{n}", "", "agent"))
    assert len(history._persons) == PERSONS_MAX
    last: Any = history.facts(Person(f"p{PERSONS_MAX + 9}", "", "agent"))
    assert last.denied_last_hour == 1


def test_the_time_is_that_of_the_zone() -> None:
    clock = Clock()
    clock.now = 1_767_742_200  # 2026-01-06T23:30:00Z
    now: Any = Changing("Europe/Helsinki", History(), clock)(session("ann"))["now"]
    assert (now.hour, now.minute, now.weekday, now.date) == (1, 30, 3, "2026-01-07")
    assert now.zone == "Europe/Helsinki"


@pytest.mark.parametrize(
    ("own", "zone", "hour"),
    [("Asia/Tokyo", "Asia/Tokyo", 8), *((own, "Europe/Helsinki", 1) for own in ("", "Mars/Olympus", "../x"))],
)
def test_a_person_has_a_time_zone_of_his_own_where_it_is_known(own: str, zone: str, hour: int) -> None:
    clock = Clock()
    clock.now = 1_767_742_200
    changing = Changing("Europe/Helsinki", History(), clock, zone_of=lambda person: own)
    for _ in range(2):
        now: Any = changing(session("ann"))["now"]
        assert (now.zone, now.hour) == (zone, hour)
    other: Any = changing(session("ann"))["now"]
    assert other == now
