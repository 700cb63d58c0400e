"""Published checkpoints: the newest in `checkpoint`, and a history that says since when something doesn't fit.

`checkpoints/<first index of the segment>.jsonl` gets one line `{"time_us": …, "note": "…"}` at most every few seconds.
The history narrows a damage to an interval; the proof is in the notes' signatures, never in the times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from taprail.schemas.errors import LogError, SignatureError
from taprail.schemas.ledger import Checkpoint
from taprail.streams.audit import note as notes
from taprail.streams.audit.segment import sync_directory, write_durably

CHECKPOINT = "checkpoint"
FOLDER = "checkpoints"


class Published(Struct, frozen=True):
    """A line of the history."""

    time_us: int
    note: str


class Part(Struct, frozen=True):
    """A history file with the length that it had when it was looked at: the writer may append meanwhile."""

    path: Path
    bytes: int


def publish(directory: Path, note: str) -> None:
    write_durably(directory / CHECKPOINT, note.encode())


def published(directory: Path) -> Checkpoint | None:
    """The newest published checkpoint, its signature not yet verified. None where nothing was published."""
    path = directory / CHECKPOINT
    try:
        return notes.parse(path.read_bytes().decode())[0]
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, SignatureError) as error:
        raise LogError(
            f"{path} is no checkpoint: {error}", hint="restore it from the last line of checkpoints/"
        ) from error


def remember(directory: Path, segment: int, entry: Published) -> None:
    """Append one line; a line that a crash tore is cut off first."""
    folder = directory / FOLDER
    if not folder.exists():
        folder.mkdir()
        sync_directory(directory)
    path = folder / f"{segment:020d}.jsonl"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    with os.fdopen(fd, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(max(0, end - notes.NOTE_BYTES_MAX))
            tail = file.read()
            end -= len(tail) - (tail.rfind(b"\n") + 1)
            file.truncate(end)
            file.seek(end)
        file.write(msgspec.json.encode(entry) + b"\n")


def parts(directory: Path) -> list[Part]:
    return [Part(path, path.stat().st_size) for path in sorted((directory / FOLDER).glob("*.jsonl"))]


def read(part: Part) -> Iterator[Published]:
    """The lines of one history file. Raises LogError where a whole line can't be read; a torn last line isn't one."""
    with part.path.open("rb") as file:
        while file.tell() < part.bytes:
            line = file.readline()
            if not line.endswith(b"\n"):
                return
            try:
                yield msgspec.json.decode(line, type=Published)
            except msgspec.DecodeError as error:
                raise LogError(f"a line of {part.path.name} is no checkpoint: {error}") from error
