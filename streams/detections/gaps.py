"""A gap in a tap's sequence: a record that a tap spooled, and that never came.

A tap numbers all that it spools 1, 2, 3.. in each epoch, and the stream says in coverage records which numbers it has
seen. They come out of order, for a tap's records lie in several partitions. So a number is judged once, when everything
that stood in Kafka long after it has been read: what is missing then was cut from the spool, or kept back.

What was seen is a bitmap in blocks, so that scattered numbers cost no more than contiguous ones, and taking a coverage
record twice changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from msgspec import Struct, field

from taprail.schemas.errors import RecordError
from taprail.schemas.records import Coverage, Detection, Range
from taprail.streams.detections.incident import incident

BLOCK = 4096  # numbers in a block, the first of which begins at 1
FULL = (1 << BLOCK) - 1
PATIENCE_SECONDS = 10.0  # what a tap sends at once can reach its partitions one after another
PATIENCE_SECONDS_MAX = 600.0  # then a number is judged even where nobody can say how far the stream has read
EPOCHS_KEPT = 3  # of each tap, besides those that have not been judged to their end
SPOILT_BLOCKS_KEPT = 64  # judged blocks with gaps, so that what comes late is seen to
RANGE_MAX = 1_000_000  # no transaction of the stream covers as much
PLACES_SHOWN = 5

Epoch = tuple[str, int]


class Seen(Struct):
    """An epoch: which numbers came, the highest of them, and up to where they have been judged."""

    blocks: dict[int, int] = field(default_factory=dict)
    floor: int = 0  # the blocks below it are judged and forgotten
    high: int = 0
    judged: int = 0
    highs: deque[tuple[float, int]] = field(default_factory=deque)  # `high` at times past, the oldest first


class Gaps:
    """Every epoch that is still of interest. Seconds are a monotonic clock's, and never kept."""

    def __init__(self) -> None:
        self.seen: dict[Epoch, Seen] = {}

    def restore(self, epoch: Epoch, judged: int, blocks: dict[int, int]) -> None:
        """As it was kept. Patience begins anew."""
        high = max((block * BLOCK + bits.bit_length() for block, bits in blocks.items() if bits), default=0)
        first = min(blocks, default=0)
        self.seen[epoch] = Seen(blocks, first if judged >= first * BLOCK else 0, max(high, judged), judged)

    def take(self, coverage: Coverage) -> tuple[set[int], list[Range]]:
        """The blocks that changed, and what came after it had been missed. Raises RecordError for absurd ranges."""
        epoch = (coverage.tap, coverage.epoch)
        if epoch not in self.seen and self._is_past(epoch):
            return set(), []
        if any(r.first < 1 or not 0 <= r.last - r.first < RANGE_MAX for r in coverage.ranges):
            raise RecordError(f"a coverage record of {_name(epoch)} has a range that no transaction covers")
        seen = self.seen.setdefault(epoch, Seen())
        changed, late = set(), []
        for each in coverage.ranges:
            for block, bits in _pieces(each):
                before = seen.blocks.get(block, 0)
                if block >= seen.floor and before | bits != before:
                    seen.blocks[block] = before | bits
                    changed.add(block)
                    late += _ranges(block, bits & ~before, seen.judged)
            seen.high = max(seen.high, each.last)
        return changed, _joined(late)

    def judge(self, now_s: float, read_until_s: float) -> dict[Epoch, list[Range]]:
        """The numbers that never came, of each epoch that was judged further; call it about once a second.

        `read_until_s`: everything that stood in Kafka at that time has been read by the stream.
        """
        found = {}
        for epoch, seen in self.seen.items():
            if seen.high > (seen.highs[-1][1] if seen.highs else seen.judged):
                seen.highs.append((now_s, seen.high))
            settled = seen.judged
            while seen.highs and _is_settled(seen.highs[0][0], now_s, read_until_s):
                settled = seen.highs.popleft()[1]
            if settled > seen.judged:
                found[epoch] = _joined(_missing(seen.blocks, seen.judged + 1, settled))
                seen.judged = settled
        return found

    @property
    def is_waiting(self) -> bool:
        return any(seen.judged < seen.high for seen in self.seen.values())

    def drop_blocks(self, epoch: Epoch) -> list[int]:
        """Forget blocks that are judged, from the first on: full ones, and spoilt ones where there are very many."""
        seen = self.seen[epoch]
        past = sorted(block for block in seen.blocks if (block + 1) * BLOCK <= seen.judged)
        spoilt = [block for block in past if seen.blocks[block] != FULL]
        kept_from = spoilt[-SPOILT_BLOCKS_KEPT] if len(spoilt) >= SPOILT_BLOCKS_KEPT else min(spoilt, default=BLOCK**9)
        dropped = [block for block in past[:-1] if block < kept_from]
        for block in dropped:
            del seen.blocks[block]
            seen.floor = block + 1
        return dropped

    def drop_epochs(self, tap: str) -> list[tuple[Epoch, Seen]]:
        """Forget a tap's epochs that are over and judged to their end."""
        epochs = sorted(epoch for epoch in self.seen if epoch[0] == tap)
        over = [epoch for epoch in epochs[:-EPOCHS_KEPT] if self.seen[epoch].judged == self.seen[epoch].high]
        return [(epoch, self.seen.pop(epoch)) for epoch in over]

    def _is_past(self, epoch: Epoch) -> bool:
        """Whether the epoch has been forgotten: its coverage, told again, would look like a gap."""
        newer = [number for tap, number in self.seen if tap == epoch[0] and number > epoch[1]]
        return len(newer) >= EPOCHS_KEPT


def _is_settled(noted_s: float, now_s: float, read_until_s: float) -> bool:
    return noted_s + PATIENCE_SECONDS <= min(now_s, read_until_s) or noted_s + PATIENCE_SECONDS_MAX <= now_s


def _pieces(numbers: Range) -> Iterator[tuple[int, int]]:
    """The range as bits of each block that it touches."""
    first, last = numbers.first - 1, numbers.last - 1
    for block in range(first // BLOCK, last // BLOCK + 1):
        low, high = max(first - block * BLOCK, 0), min(last - block * BLOCK, BLOCK - 1)
        yield block, ((1 << (high - low + 1)) - 1) << low


def _missing(blocks: dict[int, int], first: int, last: int) -> list[Range]:
    """Numbers from `first` to `last` that aren't in the blocks; whole blocks that aren't there cost nothing."""
    missing, expected = [], first
    for block in sorted(b for b in blocks if b * BLOCK < last and (b + 1) * BLOCK >= first):
        start = block * BLOCK + 1
        if start > expected:
            missing.append(Range(expected, start - 1))
        missing += _clipped(_ranges(block, ~blocks[block] & FULL, BLOCK**9), max(expected, first), last)
        expected = start + BLOCK
    if expected <= last:
        missing.append(Range(expected, last))
    return missing


def _clipped(ranges: list[Range], first: int, last: int) -> Iterator[Range]:
    for each in ranges:
        if each.first <= last and each.last >= first:
            yield Range(max(each.first, first), min(each.last, last))


def _ranges(block: int, bits: int, last: int) -> list[Range]:
    """The numbers of these bits of a block up to `last`, as ranges."""
    found, number = [], block * BLOCK + 1
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        ones = (~bits & (bits + 1)).bit_length() - 1
        bits >>= ones
        number += zeros
        if number > last:
            break
        found.append(Range(number, min(number + ones - 1, last)))
        number += ones
    return found


def _joined(ranges: list[Range]) -> list[Range]:
    """Ranges in order, neighbours made one."""
    joined: list[Range] = []
    for each in sorted(ranges, key=lambda r: r.first):
        if joined and each.first <= joined[-1].last + 1:
            joined[-1] = Range(joined[-1].first, max(joined[-1].last, each.last))
        else:
            joined.append(each)
    return joined


def gap_detection(epoch: Epoch, missing: list[Range], now_us: int) -> Detection:
    count = sum(r.last - r.first + 1 for r in missing)
    return incident(
        "sequence-gap",
        f"{_name(epoch)}/{missing[0].first}-{missing[-1].last}",
        time_us=now_us,
        severity="high",
        title=f"{count} record{'s' if count > 1 else ''} of tap {epoch[0]} never came",
        summary=f"{_places(epoch, missing)} of what tap {epoch[0]} recorded is missing. See whether its spool was "
        "damaged or deleted, whether records lie in taprail.dead-letters, and who could keep them back.",
        record="coverage",
        statement=(*epoch, missing[0].first),
    )


def late_detection(epoch: Epoch, late: list[Range], now_us: int) -> Detection:
    return incident(
        "sequence-gap-filled",
        f"{_name(epoch)}/{late[0].first}-{late[-1].last}",
        time_us=now_us,
        severity="informational",
        title=f"records of tap {epoch[0]} that were missed have come",
        summary=f"{_places(epoch, late)} came late.",
        record="coverage",
        statement=(*epoch, late[0].first),
    )


def _name(epoch: Epoch) -> str:
    return f"{epoch[0]}/{epoch[1]}"


def _places(epoch: Epoch, ranges: list[Range]) -> str:
    shown = ", ".join(str(r.first) if r.first == r.last else f"{r.first}-{r.last}" for r in ranges[:PLACES_SHOWN])
    return f"{_name(epoch)}/{shown}" + (f" and {len(ranges) - PLACES_SHOWN} more" if len(ranges) > PLACES_SHOWN else "")
