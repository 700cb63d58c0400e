"""Durable, ordered, bounded: nothing runs that isn't in here first.

`append` returns when the record is in the file: it survives the death of the process. What must survive more waits for
`durable.py`. A sequence number is used only when its record was written whole, so the sequence has no gap. Segments go
when Kafka has them and all their statements ended.

What a disk has damaged is passed over, kept beside its segment as `<segment>.damaged`, and missed: a number that comes
from nowhere is a gap that the stream tells of. Damage at the end of an epoch, where no number follows, takes the first
number of the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from taprail.connectors.spool import frames
from taprail.connectors.spool.files import Position, Teller, place_of
from taprail.connectors.spool.frames import RECORD_BYTES_MAX, Frame, Kind
from taprail.schemas.errors import SpoolError

SEGMENT_BYTES = 16 << 20
_log = logging.getLogger("taprail.spool")
RESERVE = 1 / 16  # of the room is for outcomes alone: a statement that was let in can also be ended


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
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.directory = directory
        # Room comes back a segment at a time: a small spool has small ones.
        self._bytes_max, self._segment_bytes = bytes_max, min(segment_bytes, bytes_max // 4)
        self._room = int(bytes_max * (1 - RESERVE))
        self._disk = ThreadPoolExecutor(1, "spool-disk")
        self._settling: list[Future[None]] = []  # what ended segments still need to be on the disk
        self.wake: Callable[[], None] = lambda: None  # called when there is something new for a publisher that sleeps
        self.is_asleep = True
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(directory)
            self._segments, last_is_lost = _load(directory)
            self._bytes = sum(segment.length for segment in self._segments)
            self.epoch = self._next_epoch()
            self._open_in: dict[int, Segment] = {}
            self.sequence = int(last_is_lost)
            self._current = self._new_segment()
            _sync_names(directory)
        except OSError as error:
            raise SpoolError(
                f"the spool {directory} can't be used: {error.strerror}", hint="check the disk and its rights"
            ) from error
        self.is_closed = False

    def append(self, kind: Kind, key: str, body: bytes, *, finishes: int = 0) -> int:
        """Write down one record, whose number is the one after `sequence`; returns that number.

        `finishes` is the statement (its sequence in this epoch) that this record ends: its outcome, or the record
        under which a held statement runs. Raises SpoolError where the
        record can't be taken; then nothing was written and no sequence number was used.
        """
        sequence = self.sequence + 1
        data = frames.encode(sequence, finishes, kind, key.encode(), body)
        if len(data) > RECORD_BYTES_MAX:
            raise SpoolError(
                f"a record of {len(data)} bytes is more than can be written down", hint="send a smaller statement"
            )
        if self._current.length >= self._segment_bytes:
            self._roll()  # even when it is full: what isn't the current segment can be released
        if self._bytes + len(data) > (self._bytes_max if kind == "outcome" else self._room):
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
        if self.is_asleep:
            self.is_asleep = False
            self.wake()
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

    def release(self, acknowledged: Position) -> None:
        """Remove segments that Kafka has whole and whose statements have all ended."""
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
        self._bytes = sum(segment.length for segment in kept)

    @property
    def end(self) -> Position:
        """The place behind the last record, an earlier epoch's where this one has none yet."""
        last = next((segment for segment in reversed(self._segments) if segment.length), None)
        return Position(last.epoch, last.first, last.length) if last else Position()

    def sync(self) -> Callable[[], None]:
        """A function for another thread: when it returns, all that is appended by now survives the machine's death.

        It raises OSError where the disk doesn't take it.
        """
        descriptor, settling = os.dup(self._descriptor), list(self._settling)

        def sync() -> None:
            for ended in settling:
                ended.result()
            _settle(descriptor)

        return sync

    def close(self) -> None:
        self.is_closed = True
        self._disk.shutdown()
        os.close(self._descriptor)
        os.close(self._lock)

    def _write(self, data: bytes) -> None:
        """All of it, or nothing: a short write (a full disk) is taken back."""
        try:
            written = os.write(self._descriptor, data)
            if written == len(data):
                self._current.length += written
                self._bytes += written
                return
            reason = f"only {written} of {len(data)} bytes could be written"
        except OSError as error:
            reason = str(error.strerror)
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._current.length)
        raise SpoolError(f"the spool can't take the record: {reason}", hint="make room on the spool's disk")

    def _roll(self) -> None:
        previous = self._descriptor
        try:
            self._current = self._new_segment()
        except OSError as error:
            raise SpoolError(
                f"the spool can't begin a segment: {error.strerror}", hint="make room on the spool's disk"
            ) from error
        self._settling = [ended for ended in self._settling if not ended.done() or ended.exception()]
        self._settling += [self._disk.submit(_settle, previous), self._disk.submit(_sync_names, self.directory)]

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


def _settle(descriptor: int) -> None:
    """Flush a file that nobody writes to any more, or this much of one, and close it."""
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _sync_names(directory: Path) -> None:
    """A new file survives the machine's death when its directory does (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
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
        place = place_of(path)
        told = Teller(path)
        length = 0
        for frame in frames.read(path, 0, None, told):
            length = frame.end
        segments.append(Segment(path, place.epoch, place.first, length))
        is_lost |= told.is_new and told.last > length
    return segments, is_lost
