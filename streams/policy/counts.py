"""Persons' counts of an hour and a minute, in one block of memory that may be a file's: one process writes, any reads.

Native 64-bit words: magic (2), how many persons there is room for, how often a place got another person; then two words
a person, a hash of who it is; then for each place its windows. A window is the newest slot of time and the counts of 60
slots, each at its number modulo 60. A word is written at once, so a reader sees the one before or the one after.
"""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from pathlib import Path

PERSONS_MAX = 10_000  # 15 MB; the one who was longest away is forgotten first
SLOTS = 60
ROWS, DENIED, STATEMENTS = 0, 1, 2  # windows: of minutes, minutes, seconds
KEY_BYTES = 16
_MAGIC = b"taprail history1"
_KEYS = 4  # the first word of them
_PLACES = _KEYS + 2 * PERSONS_MAX
_WINDOW = 1 + SLOTS
_PLACE = 3 * _WINDOW
SIZE = 8 * (_PLACES + PERSONS_MAX * _PLACE)
_COUNT_MAX = 1 << 48  # what is larger was never counted


class Counts:
    """A block as its readers see it. Raises ValueError where the memory is no such block."""

    def __init__(self, memory: mmap.mmap | bytearray) -> None:
        if len(memory) != SIZE or memory[: len(_MAGIC)] != _MAGIC:
            raise ValueError("it isn't a history")
        self._memory = memory
        self.words = memoryview(memory).cast("q")
        if self.words[2] != PERSONS_MAX:
            raise ValueError("it is another machine's")
        self._seen = -1
        self._known: dict[bytes, int] = {}

    def place(self, key: bytes) -> int:
        """The word where the person's windows begin, -1 for whoever isn't there."""
        if self._seen != self.words[3] or len(self._known) > PERSONS_MAX:
            self._seen = self.words[3]
            self._known.clear()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._find(key)
        return found

    def _find(self, key: bytes) -> int:
        at, begins, end = 8 * _KEYS - 1, 8 * _KEYS, 8 * _PLACES
        while (at := self._memory.find(key, at + 1, end)) >= 0:
            if (at - begins) % KEY_BYTES == 0:
                return _PLACES + (at - begins) // KEY_BYTES * _PLACE
        return -1

    def total(self, place: int, window: int, now: int) -> int:
        """What was counted in the 60 slots that end with `now`. A clock that was set back for less loses nothing."""
        at = place + window * _WINDOW
        newest = self.words[at]
        if abs(now - newest) >= SLOTS:
            return 0
        counts = self.words[at + 1 : at + _WINDOW].tolist()
        total: int = sum(counts)
        for old in range(newest - SLOTS + 1, now - SLOTS + 1):
            total -= counts[old % SLOTS]
        return total


class OwnCounts(Counts):
    """The block that this process writes."""

    def __init__(self, memory: mmap.mmap | bytearray) -> None:
        super().__init__(memory)
        self._places: OrderedDict[bytes, int] = OrderedDict()  # whoever was away for longest is the first
        used: list[tuple[int, bytes, int]] = []
        self._free: list[int] = []
        keys, nobody = bytes(memory[8 * _KEYS : 8 * _PLACES]), bytes(KEY_BYTES)
        for number in range(PERSONS_MAX - 1, -1, -1):
            place, key = _PLACES + number * _PLACE, keys[number * KEY_BYTES : (number + 1) * KEY_BYTES]
            if key == nobody:
                self._free.append(place)
            else:
                used.append((self._last(place), key, place))
        for _, key, place in sorted(used):
            self._places[key] = place

    def _last(self, place: int) -> int:
        """When something was counted last, in seconds. Raises ValueError for what nobody can have counted."""
        words = self.words[place : place + _PLACE].tolist()
        if max(words) > _COUNT_MAX or min(words) < -_COUNT_MAX:
            raise ValueError("it holds counts that can't be")
        return max(60 * words[DENIED * _WINDOW], 60 * words[ROWS * _WINDOW], words[STATEMENTS * _WINDOW])

    def place(self, key: bytes) -> int:
        return self._places.get(key, -1)

    def add(self, key: bytes, window: int, now: int, count: int) -> None:
        """A clock that was set back counts on in the newest slot; one that was set back for longer begins anew."""
        words, at = self.words, self._of(key) + window * _WINDOW
        newest = words[at]
        if now > newest or newest - now >= SLOTS:
            for passed in range(max(newest + 1, now - SLOTS + 1) if now > newest else now - SLOTS + 1, now + 1):
                words[at + 1 + passed % SLOTS] = 0
            words[at] = newest = now
        words[at + 1 + newest % SLOTS] += count

    def _of(self, key: bytes) -> int:
        place = self._places.get(key)
        if place is None:
            place = self._free.pop() if self._free else self._places.popitem(last=False)[1]
            self.words[place : place + _PLACE] = memoryview(bytes(8 * _PLACE)).cast("q")
            first = _KEYS + 2 * ((place - _PLACES) // _PLACE)
            self.words[first : first + 2] = memoryview(key).cast("q")
            self.words[3] += 1
            self._places[key] = place
        else:
            self._places.move_to_end(key)
        return place


def empty() -> bytearray:
    made = bytearray(SIZE)
    made[: len(_MAGIC)] = _MAGIC
    memoryview(made).cast("q")[2] = PERSONS_MAX
    return made


def create(file: Path) -> None:
    """An empty block as a file (0600). Its bytes are written, so that the disk has room for them. Raises OSError."""
    part = file.with_name(file.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as writing:
        writing.write(empty())
    part.replace(file)


def own(file: Path) -> OwnCounts:
    """Raises OSError, FileNotFoundError too, and ValueError for what is no history."""
    with file.open("r+b") as opened:
        return OwnCounts(mmap.mmap(opened.fileno(), 0))


def other(file: Path) -> Counts:
    """Of a sibling. Raises OSError and ValueError."""
    with file.open("rb") as opened:
        return Counts(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
