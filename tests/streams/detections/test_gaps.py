"""A number that never came is told once, a late one isn't an alarm, and neither order nor repetition matters."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.errors import RecordError
from taprail.schemas.records import Coverage, Range
from taprail.streams.detections.gaps import (
    BLOCK,
    EPOCHS_KEPT,
    PATIENCE_SECONDS,
    PATIENCE_SECONDS_MAX,
    SPOILT_BLOCKS_KEPT,
    Gaps,
    gap_detection,
)

EPOCH = ("tap-1", 7)
NEVER = float("-inf")


def coverage(*ranges: tuple[int, int], tap: str = "tap-1", epoch: int = 7) -> Coverage:
    return Coverage(tap, epoch, 0, tuple(Range(*r) for r in ranges))


def judged(gaps: Gaps, *at: float) -> dict[int, list[tuple[int, int]]]:
    """What each time finds to be missing, for one who reads without delay."""
    found = {}
    for now_s in at:
        missing = gaps.judge(now_s, now_s).get(EPOCH, [])
        if missing:
            found[round(now_s)] = [(r.first, r.last) for r in missing]
    return found


def test_a_gap_is_told_once_and_only_after_patience() -> None:
    gaps = Gaps()
    gaps.take(coverage((1, 4), (7, 9)))
    assert judged(gaps, 100, 100 + PATIENCE_SECONDS - 0.1) == {}
    assert judged(gaps, 100 + PATIENCE_SECONDS, 500) == {110: [(5, 6)]}


def test_what_comes_within_patience_is_no_gap() -> None:
    gaps = Gaps()
    gaps.take(coverage((1, 4), (7, 9)))
    judged(gaps, 100)
    assert gaps.take(coverage((5, 6))) == ({0}, [])
    assert judged(gaps, 111, 500) == {}


def test_what_lies_unread_in_kafka_is_no_gap() -> None:
    gaps = Gaps()
    gaps.take(coverage((1, 4), (7, 9)))
    gaps.judge(100, 100)
    assert gaps.judge(200, 100 + PATIENCE_SECONDS - 0.1) == {}, "it has read what was there at 109.9"
    assert gaps.judge(201, 100 + PATIENCE_SECONDS) == {EPOCH: [Range(5, 6)]}


def test_where_nobody_knows_how_far_the_stream_has_read_patience_ends_all_the_same() -> None:
    gaps = Gaps()
    gaps.take(coverage((1, 4), (7, 9)))
    gaps.judge(100, NEVER)
    assert gaps.judge(100 + PATIENCE_SECONDS_MAX - 1, NEVER) == {}
    assert gaps.judge(100 + PATIENCE_SECONDS_MAX, NEVER) == {EPOCH: [Range(5, 6)]}


def test_the_first_number_counts_too_and_what_is_newer_waits_for_its_own_time() -> None:
    gaps = Gaps()
    gaps.take(coverage((3, 3)))
    judged(gaps, 0)
    gaps.take(coverage((5, 5)))
    assert judged(gaps, 5, 10, 14, 15) == {10: [(1, 2)], 15: [(4, 4)]}


def test_a_gap_that_was_told_and_is_filled_is_told_as_filled() -> None:
    gaps = Gaps()
    gaps.take(coverage((1, 4), (7, 9)))
    assert judged(gaps, 0, 10) == {10: [(5, 6)]}
    assert gaps.take(coverage((4, 5), (10, 10))) == ({0}, [Range(5, 5)])
    assert gaps.take(coverage((4, 5), (10, 10))) == (set(), [])
    assert gaps.take(coverage((6, 6)))[1] == [Range(6, 6)]


def test_a_restart_neither_forgets_a_gap_nor_tells_it_again() -> None:
    gaps = Gaps()
    gaps.take(coverage((1, 4), (7, 9)))
    judged(gaps, 0, 10)
    gaps.take(coverage((12, 12)))
    seen = gaps.seen[EPOCH]
    again = Gaps()
    again.restore(EPOCH, seen.judged, dict(seen.blocks))
    assert judged(again, 0, 9) == {}
    assert judged(again, 10, 99) == {10: [(10, 11)]}
    assert again.take(coverage((5, 5)))[1] == [Range(5, 5)]


def test_blocks_that_came_out_of_order_are_whole() -> None:
    gaps = Gaps()
    gaps.take(coverage((3 * BLOCK + 1, 5 * BLOCK)))
    judged(gaps, 0)
    gaps.take(coverage((1, 3 * BLOCK)))
    assert judged(gaps, 10, 20) == {}


def test_full_blocks_are_dropped_and_their_repetition_changes_nothing() -> None:
    gaps = Gaps()
    gaps.take(coverage((1, 3 * BLOCK + 5)))
    judged(gaps, 0, 10)
    assert gaps.drop_blocks(EPOCH) == [0, 1]
    assert gaps.take(coverage((1, 2 * BLOCK))) == (set(), [])
    again = Gaps()
    again.restore(EPOCH, gaps.seen[EPOCH].judged, dict(gaps.seen[EPOCH].blocks))
    assert again.take(coverage((1, 2 * BLOCK))) == (set(), [])
    assert judged(again, 0, 10) == {}


def test_very_many_spoilt_blocks_are_not_kept_for_ever() -> None:
    gaps = Gaps()
    for block in range(3 * SPOILT_BLOCKS_KEPT):
        gaps.take(coverage((block * BLOCK + 2, (block + 1) * BLOCK)))
    assert len(judged(gaps, 0, 10)[10]) == 3 * SPOILT_BLOCKS_KEPT
    gaps.drop_blocks(EPOCH)
    assert len(gaps.seen[EPOCH].blocks) == SPOILT_BLOCKS_KEPT


def test_old_epochs_are_dropped_when_they_are_judged_and_their_repetition_is_no_gap() -> None:
    gaps = Gaps()
    for epoch in range(1, 3 + EPOCHS_KEPT):
        gaps.take(coverage((1, 5), epoch=epoch))
        gaps.judge(0, 0)
        gaps.judge(epoch * 100, epoch * 100)
        gaps.drop_epochs("tap-1")
    assert sorted(epoch for _, epoch in gaps.seen) == [3, 4, 5]
    assert gaps.take(coverage((4, 5), epoch=2)) == (set(), [])
    assert gaps.judge(999, 999) == {}


@given(st.sets(st.integers(1, 3 * BLOCK), min_size=1, max_size=80), st.randoms(use_true_random=False))
def test_any_order_and_repetition_gives_the_same_gaps(numbers: set[int], chance: random.Random) -> None:
    pieces = [coverage((n, min(n + 200, max(numbers)))) for n in numbers] * 2
    chance.shuffle(pieces)
    gaps = Gaps()
    for piece in pieces:
        gaps.take(piece)
    missing = {n for r in judged(gaps, 0, 10).get(10, []) for n in range(r[0], r[1] + 1)}
    covered = {n for piece in pieces for r in piece.ranges for n in range(r.first, r.last + 1)}
    assert missing == set(range(1, max(covered))) - covered


@pytest.mark.parametrize("absurd", [(0, 5), (-3, 2), (9, 8), (1, 2_000_000)])
def test_an_absurd_range_is_refused(absurd: tuple[int, int]) -> None:
    with pytest.raises(RecordError, match="no transaction covers"):
        Gaps().take(coverage(absurd))


def test_a_number_from_far_away_costs_nothing() -> None:
    gaps, started = Gaps(), time.monotonic()
    gaps.take(coverage((1, 5), (2**62, 2**62)))
    assert judged(gaps, 0, 10) == {10: [(6, 2**62 - 1)]}
    assert time.monotonic() - started < 1.0


def test_every_second_number_of_very_many_is_told_in_one_alarm() -> None:
    gaps = Gaps()
    for start in range(1, 100_001, 5_000):
        gaps.take(coverage(*((n, n) for n in range(start, start + 5_000, 2))))
    gaps.judge(0, 0)
    missing = gaps.judge(10, 10)[EPOCH]
    alarm = gap_detection(EPOCH, missing, 1)
    assert alarm.title == "49999 records of tap tap-1 never came"
    assert "tap-1/7/2, 4, 6, 8, 10 and 49994 more" in alarm.summary


def test_the_alarm_has_the_same_id_whenever_it_is_made() -> None:
    first, again = (gap_detection(EPOCH, [Range(5, 6)], now_us) for now_us in (1, 2))
    assert first.detection_id == again.detection_id
    assert first.title == "2 records of tap tap-1 never came"
