"""However spools repeat, each record passes once and in order; what never came is in no range."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from taprail.connectors.kafka.loop import METADATA_BYTES_MAX
from taprail.schemas.errors import RecordError
from taprail.schemas.records import Coverage, Range
from taprail.streams.detections.gaps import Gaps
from taprail.streams.sequence import EPOCHS_KEPT, Seen, ranges

Place = tuple[str, int, int]


class Spool(Struct):
    """What one epoch of a tap sends: records 1 to `count`, each into a partition; and where it starts over, how far."""

    tap: str
    epoch: int
    partitions: list[int]
    replays: list[tuple[int, int]]  # (begin again at, go on for so many)

    def sends(self) -> list[tuple[int, Place]]:
        """(partition, record) in the order of sending: every record is reached at last, none is jumped over."""
        reached, sent = 0, []
        for begin, count in [*self.replays, (10**6, 10**6)]:
            start = min(begin, reached)
            end = min(start + count, len(self.partitions))
            sent += [(self.partitions[n], (self.tap, self.epoch, n + 1)) for n in range(start, end)]
            reached = max(reached, end)
        return sent


@st.composite
def _spools(draw: st.DrawFn) -> list[Spool]:
    """Several taps, each with several epochs; all of them send at the same time, as they please."""
    places = draw(st.sets(st.tuples(st.sampled_from("ab"), st.integers(1, 4)), min_size=1, max_size=5))
    return [
        Spool(
            tap,
            epoch,
            draw(st.lists(st.integers(0, 2), min_size=1, max_size=12)),
            draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), max_size=4)),
        )
        for tap, epoch in sorted(places)
    ]


@given(spools=_spools(), data=st.data())
def test_each_record_passes_once_and_in_order(spools: list[Spool], data: st.DataObject) -> None:
    """Through any repeats, any interleaving, and any number of restarts of the stream."""
    seen = defaultdict(Seen)
    passed: dict[tuple[int, str, int], list[int]] = defaultdict(list)
    queues = [spool.sends() for spool in spools]
    while any(queues):
        queue = data.draw(st.sampled_from([q for q in queues if q]))
        partition, (tap, epoch, sequence) = queue.pop(0)
        if seen[partition].new(tap, epoch, sequence):
            passed[partition, tap, epoch].append(sequence)
        if data.draw(st.integers(0, 9)) == 0:
            seen[partition] = Seen(seen[partition].keep())
    for spool in spools:
        for partition in range(3):
            expected = [n + 1 for n, place in enumerate(spool.partitions) if place == partition]
            assert passed[partition, spool.tap, spool.epoch] == expected


@given(count=st.integers(1, 60), lost=st.sets(st.integers(1, 60), max_size=8), batch=st.integers(1, 20))
def test_a_record_that_never_came_is_missed(count: int, lost: set[int], batch: int) -> None:
    """From the marks through coverage to the judge of gaps. What is missing at the very end shows with the next."""
    seen, gaps = Seen(), Gaps()
    came = [n for n in range(1, count + 1) if n not in lost]
    for start in range(0, len(came), batch):
        new = [n for n in came[start : start + batch] if seen.new("tap", 1, n)]
        gaps.take(Coverage("tap", 1, 0, tuple(Range(*r) for r in ranges(new))))
    assert gaps.judge(0.0, 0.0) == {}, "it was judged before it could have come"
    missing = {n for _, found in gaps.judge(1e9, 1e9).items() for r in found for n in range(r.first, r.last + 1)}
    assert missing == {n for n in lost if came and n < max(came)}


def test_two_taps_of_one_name_are_both_heard() -> None:
    """Nobody may silence a tap by starting another one with its name."""
    seen = Seen()
    assert seen.new("tap", 200, 5)
    assert seen.new("tap", 100, 1)
    assert seen.new("tap", 200, 6)
    assert seen.new("tap", 100, 2)
    assert not seen.new("tap", 100, 2)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 20), st.integers(1, 5)), max_size=400))
def test_what_is_kept_fits_and_the_newest_stay(records: list[tuple[int, int, int]]) -> None:
    seen = Seen()
    for number, epoch, sequence in records:
        seen.new(f"a-tap-with-quite-a-long-name-{number}", 1_700_000_000 + epoch, sequence)
    kept = seen.keep()
    assert len(kept.encode()) <= METADATA_BYTES_MAX
    assert Seen(kept).keep() == kept
    if records:
        number, epoch, sequence = records[-1]
        newest = max(e for n, e, _ in records if n == number)
        if epoch == newest:
            assert not Seen(kept).new(f"a-tap-with-quite-a-long-name-{number}", 1_700_000_000 + epoch, sequence)


def test_old_epochs_are_forgotten_and_pass_rather_than_being_lost() -> None:
    seen = Seen()
    for epoch in range(1, EPOCHS_KEPT + 2):
        assert seen.new("tap", epoch, 1)
    assert not seen.new("tap", 2, 1)
    assert seen.new("tap", 1, 1)


@pytest.mark.parametrize("kept", ["no", "[]", '{"tap": 3}', '{"tap": [1, 2]}'])
def test_anothers_metadata_is_refused(kept: str) -> None:
    with pytest.raises(RecordError, match="is not ours"):
        Seen(kept)


@given(st.lists(st.integers(1, 40)))
def test_ranges_are_the_numbers(numbers: list[int]) -> None:
    found = ranges(numbers)
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(set(numbers))
    assert all(b[0] > a[1] + 1 for a, b in itertools.pairwise(found))
