"""Durable, ordered, bounded: nothing runs that isn't in here first.

`append` returns when the record is in the file: it survives the death of the process; with `machine` durability
a flush follows within `FLUSH_SECONDS`, so it survives a power cut soon after. A sequence number is used only when its
record was written whole, so the sequence has no gap. Segments go when Kafka has them and all their statements ended.

What a disk has damaged is passed over, kept beside its segment as `<segment>.damaged`, and missed: a number that comes
from nowhere is a gap that the stream tells of. Damage at the end of an epoch, where no number follows, takes the first
number of the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

from taprail.connectors.spool import frames
from taprail.connectors.spool.frames import Damage, Frame, Kind
from taprail.schemas.errors import SpoolError

SEGMENT_BYTES = 16 << 20
FLUSH_SECONDS = 0.02
_log = logging.getLogger("taprail.spool")
RESERVE = 1 / 16  # of the room is for outcomes alone: a statement that was let in can also be ended


class Position(Struct, frozen=True, order=True):
    """A place in the spool: epoch and first sequence name the segment; `offset` is in bytes."""

    epoch: int = 0
    first: int = 0
    offset: int = 0


class Segment:
    """A file of records of one epoch. `length` is how much of it holds whole records."""

    __slots__ = ("epoch", "first", "length", "open_statements", "path")

    def __init__(self, path: Path, epoch: int, first: int, length: int) -> None:
        self.path, self.epoch, self.first, self.length = path, epoch, first, length
        self.open_statements = 0


class Spool:
    """One tap's spool. Raises SpoolError where the directory is another tap's, or can't be written."""

    def __init__(
        self,
        directory: Path,
        *,
        bytes_max: int = 1 << 30,
        durability: Literal["process", "machine"] = "process",
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.directory = directory
        # Room comes back a segment at a time: a small spool has small ones.
        self._bytes_max, self._segment_bytes = bytes_max, min(segment_bytes, bytes_max // 4)
        self._mutex = threading.Lock()  # the tap appends, the publisher releases
        self.wake = threading.Event()  # set when there is something new to publish
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(directory)
            self._segments, last_is_lost = _load(directory)
            self.epoch = self._next_epoch()
            self._open_in: dict[int, Segment] = {}
            self.sequence = int(last_is_lost)
            self._current = self._new_segment()
        except OSError as error:
            raise SpoolError(
                f"the spool {directory} can't be used: {error.strerror}", hint="check the disk and its rights"
            ) from error
        self._dirty = False
        self._closed = threading.Event()
        if durability == "machine":
            threading.Thread(target=self._flush, name="spool-flush", daemon=True).start()

    def append(self, kind: Kind, key: str, encode: Callable[[int, int], bytes], *, finishes: int = 0) -> int:
        """Write down one record; `encode` is given its epoch and sequence. Returns the sequence.

        `finishes` is the statement (its sequence in this epoch) that this record ends: its outcome, or the record
        under which a held statement runs. Raises SpoolError where the
        record can't be taken; then nothing was written and no sequence number was used.
        """
        sequence = self.sequence + 1
        data = frames.encode(sequence, finishes, kind, key.encode(), encode(self.epoch, sequence))
        if len(data) > frames.RECORD_BYTES_MAX:
            raise SpoolError(
                f"a record of {len(data)} bytes is more than can be written down", hint="send a smaller statement"
            )
        with self._mutex:
            if self._current.length >= self._segment_bytes:
                self._roll()  # even when it is full: what isn't the current segment can be released
            room = self._bytes_max if kind == "outcome" else self._bytes_max * (1 - RESERVE)
            if sum(s.length for s in self._segments) + len(data) > room:
                raise SpoolError(
                    f"the spool is full ({self._bytes_max} bytes)",
                    hint="Kafka must take its records first: is the broker up, and the tap allowed to write?",
                )
            self._write(data)
            self.sequence = sequence
            if kind == "statement":
                self._current.open_statements += 1
                self._open_in[sequence] = self._current
            if finishes and (segment := self._open_in.pop(finishes, None)) is not None:
                segment.open_statements -= 1
        if not self.wake.is_set():
            self.wake.set()
        return sequence

    def unfinished(self) -> list[Frame]:
        """Statements of earlier epochs that have no outcome, to be ended as unknown; call it once, at the start."""
        found: dict[tuple[int, int], Frame] = {}
        for segment in self._segments:
            if segment.epoch == self.epoch:
                continue
            for frame in frames.read(segment.path, 0, segment.length):
                if frame.kind == "statement":
                    found[segment.epoch, frame.sequence] = frame
                if frame.finishes:
                    found.pop((segment.epoch, frame.finishes), None)
        return list(found.values())

    def read(self, position: Position) -> Iterator[tuple[Position, Frame]]:
        """Records after `position` that are written now, each with the position after it."""
        with self._mutex:
            pending = [(s, s.length) for s in self._segments if (s.epoch, s.first) >= (position.epoch, position.first)]
        for segment, length in pending:
            same = (segment.epoch, segment.first) == (position.epoch, position.first)
            told = _Teller(segment.path)
            for frame in frames.read(segment.path, position.offset if same else 0, length, told):
                yield Position(segment.epoch, segment.first, frame.end), frame

    def release(self, acknowledged: Position) -> None:
        """Remove segments that Kafka has whole and whose statements have all ended."""
        with self._mutex:
            kept = []
            for segment in self._segments:
                whole = Position(segment.epoch, segment.first, segment.length)
                ended = segment.open_statements == 0
                if segment is not self._current and whole <= acknowledged and ended:
                    with contextlib.suppress(FileNotFoundError):
                        segment.path.unlink()
                else:
                    kept.append(segment)
            self._segments = kept

    def behind(self, acknowledged: Position) -> int:
        """Bytes that Kafka hasn't got yet."""
        with self._mutex:
            places = [(Position(s.epoch, s.first, s.length), s.length) for s in self._segments]
        left = 0
        for end, length in places:
            if (end.epoch, end.first) == (acknowledged.epoch, acknowledged.first):
                left += length - acknowledged.offset
            elif end > acknowledged:
                left += length
        return left

    def close(self) -> None:
        self._closed.set()
        with self._mutex:
            os.close(self._descriptor)
            os.close(self._lock)

    def _write(self, data: bytes) -> None:
        """All of it, or nothing: a short write (a full disk) is taken back."""
        try:
            written = os.write(self._descriptor, data)
            if written == len(data):
                self._current.length += written
                self._dirty = True
                return
            reason = f"only {written} of {len(data)} bytes could be written"
        except OSError as error:
            reason = str(error.strerror)
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._current.length)
        raise SpoolError(f"the spool can't take the record: {reason}", hint="make room on the spool's disk")

    def _roll(self) -> None:
        if self._dirty:
            os.fdatasync(self._descriptor)
        previous = self._descriptor
        try:
            self._current = self._new_segment()
        except OSError as error:
            raise SpoolError(
                f"the spool can't begin a segment: {error.strerror}", hint="make room on the spool's disk"
            ) from error
        os.close(previous)

    def _new_segment(self) -> Segment:
        first = self.sequence + 1
        path = self.directory / f"{self.epoch:012d}-{first:020d}.seg"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        segment = Segment(path, self.epoch, first, 0)
        self._segments.append(segment)
        return segment

    def _next_epoch(self) -> int:
        """Greater than any before, even where the directory was lost: the clock stands in for the memory."""
        path = self.directory / "epoch"
        try:
            before = int(path.read_text())
        except (FileNotFoundError, ValueError):
            before = max((s.epoch for s in self._segments), default=0)
        epoch = max(before + 1, int(time.time()))
        part = path.with_name("epoch.part")
        with part.open("w") as file:
            file.write(str(epoch))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        return epoch

    def _flush(self) -> None:
        while not self._closed.wait(FLUSH_SECONDS):
            with self._mutex:
                dirty, self._dirty = self._dirty, False
                descriptor = os.dup(self._descriptor) if dirty else -1
            if dirty:
                os.fdatasync(descriptor)  # outside the mutex: appends go on
                os.close(descriptor)


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SpoolError(
            f"another tap uses the spool {directory}", hint="give each tap its own `tap.spool` and `tap.id`"
        ) from None
    return descriptor


def _load(directory: Path) -> tuple[list[Segment], bool]:
    """The segments of earlier epochs, and whether the last record of one is lost that nobody has told of yet.

    What follows a segment's last whole record doesn't count: a crash tore it off, or it is damaged.
    """
    segments, is_lost = [], False
    for path in sorted(directory.glob("*.seg")):
        epoch, _, first = path.stem.partition("-")
        told = _Teller(path)
        length = 0
        for frame in frames.read(path, 0, None, told):
            length = frame.end
        segments.append(Segment(path, int(epoch), int(first), length))
        is_lost |= told.is_new and told.last > length
    return segments, is_lost


class _Teller:
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
