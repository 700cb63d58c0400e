"""Have we seen this record? A tap's records arrive in order in each partition, so a high-water mark answers.

A spool repeats after a crash, always from an earlier place of the same order: whatever isn't above the mark of its tap
and epoch has been here. Each epoch has a mark of its own: where two taps were given one name, both are heard.
"""

from __future__ import annotations

from msgspec import DecodeError, ValidationError, json

from taprail.connectors.kafka.loop import METADATA_BYTES_MAX
from taprail.schemas.errors import RecordError

EPOCHS_KEPT = 8  # of each tap; a spool that repeats one before them passes twice, and is never lost


class Seen:
    """The high-water marks of one partition, by tap and epoch. The tap that was heard last stands last."""

    def __init__(self, kept: str = "") -> None:
        try:
            self._high = json.decode(kept or "{}", type=dict[str, dict[int, int]])
        except (DecodeError, ValidationError) as error:
            raise RecordError(
                f"the committed offset's metadata is not ours: {error}",
                hint="does something else use the group? Reset its offsets to begin anew",
            ) from error

    def new(self, tap: str, epoch: int, sequence: int) -> bool:
        """Whether this record is new; it is seen from now on. Sequences begin at 1."""
        marks = self._high.pop(tap, None) or {}
        self._high[tap] = marks
        if sequence <= marks.get(epoch, 0):
            return False
        marks[epoch] = sequence
        if len(marks) > EPOCHS_KEPT:
            del marks[min(marks)]
        return True

    def keep(self) -> str:
        """The marks as text. Where it grows too long, old epochs are left out first, then taps that are quiet."""
        text = json.encode(self._high)
        while len(text) > METADATA_BYTES_MAX:
            most = max(self._high.values(), key=len)
            if len(most) > 1:
                del most[min(most)]
            else:
                del self._high[next(iter(self._high))]
            text = json.encode(self._high)
        return text.decode()


def ranges(sequences: list[int]) -> list[tuple[int, int]]:
    """Sorted, merged ranges (first, last), both included."""
    merged: list[tuple[int, int]] = []
    for number in sorted(sequences):
        if merged and number <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(number, merged[-1][1]))
        else:
            merged.append((number, number))
    return merged
