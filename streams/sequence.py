"""Have we seen this record? A tap's records arrive in order in each partition, so a high-water mark answers.

A spool repeats after a crash, always from an earlier place of the same order, and never begins an epoch before the
one before it is through: so whatever isn't above the mark (epoch, sequence) of its tap has been here.
"""

from __future__ import annotations

from msgspec import DecodeError, json

from taprail.connectors.kafka.loop import METADATA_BYTES_MAX
from taprail.schemas.errors import RecordError


class Seen:
    """The high-water marks of one partition, by tap."""

    def __init__(self, kept: str = "") -> None:
        try:
            self._high: dict[str, tuple[int, int]] = json.decode(kept, type=dict[str, tuple[int, int]]) if kept else {}
        except DecodeError as error:
            raise RecordError(f"the committed offset's metadata is not ours: {error}") from error

    def new(self, tap: str, epoch: int, sequence: int) -> bool:
        """Whether this record is new; it is seen from now on."""
        place = (epoch, sequence)
        if place <= self._high.get(tap, (0, 0)):
            return False
        self._high[tap] = place
        return True

    def keep(self) -> str:
        """The marks as text; where it grows too long, the taps that started longest ago are left out."""
        text = json.encode(self._high).decode()
        while len(text) > METADATA_BYTES_MAX:
            del self._high[min(self._high, key=lambda tap: self._high[tap])]
            text = json.encode(self._high).decode()
        return text


def ranges(sequences: list[int]) -> list[tuple[int, int]]:
    """Sorted, merged ranges (first, last), both included."""
    merged: list[tuple[int, int]] = []
    for number in sorted(sequences):
        if merged and number <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(number, merged[-1][1]))
        else:
            merged.append((number, number))
    return merged
