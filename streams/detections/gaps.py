"""A gap in a tap's sequence: a record that a tap spooled, and that never came.

A tap numbers all that it spools 1, 2, 3.. in each epoch, and the stream says in coverage records which numbers it has
seen. What is missing for longer than any partition lags is an alarm: the spool was cut, or somebody kept a record back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from taprail.schemas.records import Coverage, Detection, Range
from taprail.streams.detections.incident import incident

PATIENCE_SECONDS = 10.0  # a tap's records lie in several partitions, and one may be read later than another
EPOCHS_KEPT = 3  # of each tap, besides those with a gap

Epoch = tuple[str, int]


class Hole(Struct, frozen=True, order=True):
    """Numbers `first` to `last`, both included, of a tap's epoch."""

    tap: str
    epoch: int
    first: int
    last: int

    def holds(self, other: Hole) -> bool:
        return (self.tap, self.epoch) == (
            other.tap,
            other.epoch,
        ) and self.first <= other.first <= other.last <= self.last


class Seen(Struct):
    """What is remembered of an epoch: the merged ranges that were seen, and the gaps that were told of."""

    ranges: list[Range] = field(default_factory=list)
    told: list[Range] = field(default_factory=list)


class Gaps:
    """Every epoch's ranges. Seconds are a monotonic clock's, and never kept: after a restart patience begins anew."""

    def __init__(self, kept: Mapping[Epoch, Seen], now_s: float) -> None:
        self.seen = dict(kept)
        self._since: dict[Hole, float] = {hole: now_s for epoch in self.seen for hole in self._holes(epoch)}

    def take(self, coverage: Coverage, now_s: float) -> list[Hole]:
        """Taking it twice changes nothing. Returns the gaps that were told of and have now been filled, late."""
        epoch = (coverage.tap, coverage.epoch)
        if epoch not in self.seen and self._is_past(epoch):
            return []
        seen = self.seen.setdefault(epoch, Seen())
        before = self._holes(epoch)
        seen.ranges = merge([*seen.ranges, *coverage.ranges])
        after = self._holes(epoch)
        since = {hole: self._since.pop(hole, now_s) for hole in before}
        for hole in after:
            self._since[hole] = next((since[old] for old in before if old.holds(hole)), now_s)
        told = [Hole(*epoch, t.first, t.last) for t in seen.told]
        filled = [gap for gap in told if not any(gap.holds(hole) for hole in after)]
        seen.told = [Range(gap.first, gap.last) for gap in told if gap not in filled]
        return filled

    def due(self, now_s: float) -> list[Hole]:
        """The gaps that have been there for too long, each once."""
        found = []
        for hole, since in self._since.items():
            told = self.seen[hole.tap, hole.epoch].told
            known = any(gap.first <= hole.first and hole.last <= gap.last for gap in told)
            if now_s - since >= PATIENCE_SECONDS and not known:
                told.append(Range(hole.first, hole.last))
                found.append(hole)
        return sorted(found)

    def forget_old(self, tap: str) -> list[Epoch]:
        """Drop a tap's epochs that are over and whole; which ones."""
        epochs = sorted(epoch for epoch in self.seen if epoch[0] == tap)
        over = [epoch for epoch in epochs[:-EPOCHS_KEPT] if not self._holes(epoch)]
        for epoch in over:
            del self.seen[epoch]
        return over

    def _is_past(self, epoch: Epoch) -> bool:
        """Whether the epoch has been dropped: its coverage, told again, would look like a gap."""
        newer = [number for tap, number in self.seen if tap == epoch[0] and number > epoch[1]]
        return len(newer) >= EPOCHS_KEPT

    def _holes(self, epoch: Epoch) -> list[Hole]:
        holes, expected = [], 1
        for seen in self.seen[epoch].ranges:
            if seen.first > expected:
                holes.append(Hole(*epoch, expected, seen.first - 1))
            expected = seen.last + 1
        return holes


def merge(ranges: Iterable[Range]) -> list[Range]:
    """The same numbers in as few ranges as can be, in order."""
    merged: list[Range] = []
    for each in sorted(ranges, key=lambda r: r.first):
        if merged and each.first <= merged[-1].last + 1:
            merged[-1] = Range(merged[-1].first, max(merged[-1].last, each.last))
        else:
            merged.append(each)
    return merged


def gap_detection(hole: Hole, now_us: int) -> Detection:
    count = hole.last - hole.first + 1
    return incident(
        "sequence-gap",
        _key(hole),
        time_us=now_us,
        severity="high",
        title=f"{count} record{'s' if count > 1 else ''} of tap {hole.tap} never came",
        summary=f"{_key(hole)} of what tap {hole.tap} recorded is missing. See whether its spool was damaged or "
        "deleted, whether records lie in taprail.dead-letters, and who could keep them back.",
        record="coverage",
        statement=(hole.tap, hole.epoch, hole.first),
    )


def filled_detection(hole: Hole, now_us: int) -> Detection:
    return incident(
        "sequence-gap-filled",
        _key(hole),
        time_us=now_us,
        severity="informational",
        title=f"the gap in the records of tap {hole.tap} is filled",
        summary=f"{_key(hole)} came late.",
        record="coverage",
        statement=(hole.tap, hole.epoch, hole.first),
    )


def _key(hole: Hole) -> str:
    return f"{hole.tap}/{hole.epoch}/{hole.first}-{hole.last}"
