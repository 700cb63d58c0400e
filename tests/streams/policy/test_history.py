"""What somebody has done lately, in windows of an hour and of a minute."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
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


def rows(history: History, person: Person) -> int:
    found: Any = history.facts(person)
    return int(found.rows_last_hour)


def denied(history: History, person: Person) -> int:
    found: Any = history.facts(person)
    return int(found.denied_last_hour)


def test_processes_of_a_tap_count_together(tmp_path: Path) -> None:
    clock = Clock()
    one, other = History(clock, tmp_path, 0), History(clock, tmp_path, 1)
    one.ran(ANN, 30)
    other.ran(ANN, 12)
    other.denied(ANN)
    for each in (one, other):
        found: Any = each.facts(ANN)
        assert (found.rows_last_hour, found.statements_last_minute, found.denied_last_hour) == (42, 2, 1)
        assert rows(each, BOB) == 0
    assert one.take(ANN, 100, 100) == 58 and other.take(ANN, 1, 100) == 0
    clock.now += 1
    third = History(clock, tmp_path, 2)
    assert rows(third, ANN) == 100
    clock.now += 1
    third.ran(ANN, 7)
    assert rows(one, ANN) == 107, "one that came later is seen within a second"


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    clock = Clock()
    before = History(clock, tmp_path)
    before.ran(ANN, 30)
    before.denied(BOB)
    clock.now += 600
    after = History(clock, tmp_path)
    assert (rows(after, ANN), denied(after, BOB)) == (30, 1)
    after.ran(ANN, 5)
    clock.now += 3_000
    assert rows(after, ANN) == 5, "an hour ends as it does without a restart"
    [file] = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600 and b"ann" not in file.read_bytes()


def damaged(held: bytes) -> list[bytes]:
    """What may stand where a history stood: nothing, half of it, another program's, counts that can't be."""
    never = held[:-8_000_000] + b"\x7f" * 8_000_000
    return [b"", held[:1_000], b"x" * len(held), held[:16] + b"\0\0" + held[18:], never]


@pytest.mark.parametrize("which", range(5))
def test_what_is_no_history_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, which: int) -> None:
    clock = Clock()
    first, sibling = History(clock, tmp_path, 0), History(clock, tmp_path, 1)
    for n in range(PERSONS_MAX):
        first.ran(one_of(n), 30)
    assert rows(sibling, one_of(1)) == 30
    file = tmp_path / "0"
    held = damaged(file.read_bytes())[which]
    file.unlink()
    file.write_bytes(held)
    clock.now += 1
    assert rows(sibling, BOB) == 0, "a sibling doesn't mind"
    again = History(clock, tmp_path, 0)
    assert "put aside as 0.damaged" in caplog.text and (tmp_path / "0.damaged").read_bytes() == held
    again.ran(ANN, 3)
    clock.now += 1
    assert rows(again, ANN) == rows(sibling, ANN) == 3


def test_where_nothing_can_be_written_it_counts_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    history = History(Clock(), tmp_path / "file")
    history.ran(ANN, 3)
    assert rows(history, ANN) == 3 and "what people do is counted in memory" in caplog.text


def test_a_clock_that_is_set_back_gives_nothing_and_stops_nobody_for_ever() -> None:
    clock = Clock()
    history = History(clock)
    history.ran(ANN, 30)
    clock.now -= 900
    history.ran(ANN, 5)
    assert rows(history, ANN) == 35
    clock.now += 900 + 3_600
    assert rows(history, ANN) == 0
    history.ran(ANN, 9)
    clock.now -= 86_400
    assert rows(history, ANN) == 0
    history.ran(ANN, 4)
    assert rows(history, ANN) == 4


steps = st.tuples(
    st.integers(0, 5_000), st.integers(0, 1), st.sampled_from([ANN, BOB]), st.integers(0, 900), st.booleans()
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=25))
def test_no_more_is_given_in_any_hour_than_there_may_be(
    tmp_path: Path, taken: list[tuple[int, int, Person, int, bool]]
) -> None:
    shutil.rmtree(tmp_path)
    clock, folder = Clock(), tmp_path
    given_: list[tuple[int, Person, int]] = []
    processes = [History(clock, folder, n) for n in range(2)]
    for wait, process, person, wanted, restarts in taken:
        clock.now += wait
        if restarts:
            processes[process] = History(clock, folder, process)
        minute = int(clock.now) // 60
        before = sum(n for at, who, n in given_ if who == person and at > minute - 60)
        assert [rows(each, person) for each in processes] == [before] * 2
        got = processes[process].take(person, wanted, 1_000)
        assert got == min(wanted, 1_000 - before)
        given_.append((minute, person, got))


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


def one_of(n: int) -> Person:
    return Person(f"p{n}", "", "agent")


def test_whoever_was_longest_away_makes_room(tmp_path: Path) -> None:
    clock = Clock()
    history, sibling = History(clock, tmp_path, 0), History(clock, tmp_path, 1)
    for n in range(PERSONS_MAX):
        history.denied(one_of(n))
    assert denied(sibling, one_of(1)) == 1
    history.denied(one_of(0))
    for n in range(PERSONS_MAX, PERSONS_MAX + 5):
        history.ran(one_of(n), n)
    for each in (history, sibling):
        assert [denied(each, one_of(n)) for n in range(8)] == [2, 0, 0, 0, 0, 0, 1, 1]
        assert [rows(each, one_of(PERSONS_MAX + n)) for n in range(5)] == [PERSONS_MAX + n for n in range(5)]
    again = History(clock, tmp_path, 0)
    assert [denied(again, one_of(n)) for n in (0, 1, 6)] == [2, 0, 1]


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
