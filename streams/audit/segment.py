"""Segments: the files that are the truth. `entries-<first index, 20 digits>.seg` holds frames one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from msgspec import Struct

from taprail.schemas.errors import LogError
from taprail.streams.audit.entry import FRAME, PAYLOAD_BYTES_MAX, StoredEntry, decode_body

READ_BYTES = 1 << 20


class Frame(Struct, frozen=True):
    """An entry with its place. `intact` is false where the checksum doesn't hold."""

    position: int
    end: int
    entry: StoredEntry
    intact: bool = True


class FrameError(LogError):
    """No frame can be read at `position`: torn, cut short or overwritten."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


def path_of(directory: Path, first: int) -> Path:
    return directory / f"entries-{first:020d}.seg"


def segments(directory: Path) -> list[tuple[int, Path]]:
    """(first index, path) of every segment, in order."""
    found = []
    for path in directory.glob("entries-*.seg"):
        digits = path.stem.removeprefix("entries-")
        if len(digits) == 20 and digits.isdigit():
            found.append((int(digits), path))
    return sorted(found)


def read_frames(path: Path, begin: int = 0, end: int | None = None) -> Iterator[Frame]:
    """Frames from byte `begin` up to byte `end` (default: the whole file), in memory one at a time.

    Raises FrameError where the bytes stop making sense; a wrong checksum alone is reported in the frame.
    """
    with path.open("rb", buffering=READ_BYTES) as file:
        stop = os.fstat(file.fileno()).st_size if end is None else end
        file.seek(begin)
        while begin < stop:
            frame = _read(file, path, begin, stop)
            yield frame
            begin = frame.end


def read_frame(path: Path, position: int) -> Frame:
    """The one frame at `position`."""
    with path.open("rb") as file:
        file.seek(position)
        return _read(file, path, position, os.fstat(file.fileno()).st_size)


def _read(file: BinaryIO, path: Path, position: int, stop: int) -> Frame:
    head = file.read(FRAME.size)
    if len(head) < FRAME.size:
        raise FrameError(f"{path.name} ends inside an entry at byte {position}", position)
    length, checksum = FRAME.unpack(head)
    end = position + FRAME.size + length
    if length > PAYLOAD_BYTES_MAX or end > stop:
        raise FrameError(f"{path.name} has an entry of {length} bytes at byte {position} that doesn't fit", position)
    body = file.read(length)
    if len(body) < length:
        raise FrameError(f"{path.name} ends inside an entry at byte {position}", position)
    try:
        return Frame(position, end, decode_body(body), crc32(body) == checksum)
    except LogError as error:
        raise FrameError(f"{path.name}, byte {position}: {error.message}", position) from error


class SegmentWriter:
    """The open segment. Bytes are durable when `append` returns; a failed append leaves the old length behind."""

    def __init__(self, directory: Path, first: int, length: int) -> None:
        self.first = first
        self.length = length
        path = path_of(directory, first)
        created = not path.exists()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if os.fstat(self._fd).st_size < length:
            os.close(self._fd)
            raise LogError(
                f"{path.name} has fewer than the {length} bytes that were committed",
                hint="entries are missing: restore the file from a copy, and run `taprail audit verify`",
            )
        os.ftruncate(self._fd, length)  # what a crash wrote beyond the commit is not part of the log
        os.fsync(self._fd)
        if created:
            sync_directory(directory)

    def append(self, data: bytes) -> None:
        """Raises OSError (disk full, for example)."""
        view, at = memoryview(data), self.length
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                at += written
                view = view[written:]
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self.length)
            raise
        self.length = at

    def close(self) -> None:
        os.close(self._fd)


def sync_directory(directory: Path) -> None:
    """Make a new or renamed name durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Replace a file as one step: readers see the old content or the new, also after a crash."""
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
