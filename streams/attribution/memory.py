"""The memory of marks: each counts once, so one that was read in the WAL can't be used again.

It is rebuilt at every start from `taprail.marks`, which is written in the same Kafka transaction as the changes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from taprail.schemas.mark import Mark
from taprail.schemas.records import AcceptedMark

Answer = Literal["fresh", "same", "used"]
CHUNK_SEQUENCES = 1 << 16  # one bit for each: 8 KiB for 65,536 sequence numbers of a tap's epoch
PLACES_MAX = 100_000


class MarkMemory:
    """The marks of one database that were accepted.

    A connector that starts again may repeat the last transactions. The same mark at the same place of the WAL is such
    a repetition; the same mark anywhere else is a replay. Places are kept for the last PLACES_MAX marks.
    """

    def __init__(self) -> None:
        self._bits: dict[tuple[str, int], dict[int, bytearray]] = {}
        self._places: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._floors: dict[str, tuple[int, int]] = {}
        self._forgets = False

    def remember(self, accepted: AcceptedMark) -> None:
        epoch = self._bits.setdefault((accepted.tap, accepted.epoch), {})
        chunk, bit = divmod(accepted.sequence, CHUNK_SEQUENCES)
        epoch.setdefault(chunk, bytearray(CHUNK_SEQUENCES // 8))[bit >> 3] |= 1 << (bit & 7)
        self._places[accepted.tap, accepted.epoch, accepted.sequence] = accepted.transaction
        if len(self._places) > PLACES_MAX:
            self._places.popitem(last=False)

    def set_forgetful(self) -> None:
        """Say, after loading, that the topic has lost its oldest marks to retention: what is older is doubtful."""
        self._forgets = True
        for (tap, epoch), chunks in self._bits.items():
            chunk = min(chunks)
            first = next(i for i in range(CHUNK_SEQUENCES) if chunks[chunk][i >> 3] >> (i & 7) & 1)
            lowest = (epoch, chunk * CHUNK_SEQUENCES + first)
            self._floors[tap] = min(lowest, self._floors.get(tap, lowest))

    def check(self, mark: Mark, place: str) -> Answer:
        """`place` is where the mark stands: the transaction's id and the LSN."""
        chunk, bit = divmod(mark.sequence, CHUNK_SEQUENCES)
        bits = self._bits.get((mark.tap, mark.epoch), {}).get(chunk)
        if bits is None or not bits[bit >> 3] >> (bit & 7) & 1:
            return "fresh"
        return "same" if self._places.get((mark.tap, mark.epoch, mark.sequence)) == place else "used"

    def is_doubtful(self, mark: Mark) -> bool:
        """Whether the mark may have been accepted and forgotten since: it needs its statement to be believed."""
        return self._forgets and (mark.epoch, mark.sequence) < self._floors.get(mark.tap, (1 << 62, 0))
