"""A spool as files, for whoever only reads it. A segment is `<epoch>-<first sequence>.seg`: records in their order."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from taprail.connectors.spool import frames
from taprail.connectors.spool.frames import Damage, Frame

_log = logging.getLogger("taprail.spool")


class Position(Struct, frozen=True, order=True):
    """A place in the spool: epoch and first sequence name the segment; `offset` is in bytes."""

    epoch: int = 0
    first: int = 0
    offset: int = 0


def place_of(segment: Path) -> Position:
    """The beginning of a segment."""
    epoch, _, first = segment.stem.partition("-")
    return Position(int(epoch), int(first))


def read(directory: Path, position: Position) -> Iterator[tuple[Position, Frame]]:
    """Records after `position` that are written now, each with the position after it, while another process writes.

    In the newest segment a record that isn't whole is one that is being written. The list of segments comes first, so
    whatever has one behind it is not written to any more.
    """
    segments = [(place_of(path), path) for path in sorted(directory.glob("*.seg"))]
    for number, (place, path) in enumerate(segments):
        if (place.epoch, place.first) < (position.epoch, position.first):
            continue
        same = (place.epoch, place.first) == (position.epoch, position.first)
        growing = number == len(segments) - 1
        try:
            for frame in frames.read(path, position.offset if same else 0, None, Teller(path), growing=growing):
                yield Position(place.epoch, place.first, frame.end), frame
        except FileNotFoundError:
            continue  # Kafka has it whole, and the tap has removed it


class Teller:
    """Tells of a segment's damage and keeps a copy of it, once: the copy is the memory of that."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._copy = path.with_name(path.name + ".damaged")
        self.is_new = not self._copy.exists()
        self.last = 0  # where the last damaged place ends

    def __call__(self, damage: Damage) -> None:
        if damage.torn:
            _log.info("%s ends with %d bytes of a record that was never whole", self._path, damage.end - damage.start)
            return
        self.last = damage.end
        if not self.is_new:
            return
        _log.error(
            "%s is damaged from byte %d to %d: what was recorded there is lost, and the stream will miss it. All from "
            "there on is kept in %s. Check the disk, look into the copy, then remove it",
            *(self._path, damage.start, damage.end, self._copy.name),
        )
        if not self._copy.exists():
            with self._path.open("rb") as damaged, self._copy.open("xb") as copy:
                damaged.seek(damage.start)
                shutil.copyfileobj(damaged, copy)
