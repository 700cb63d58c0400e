"""A copy of a log while its writer goes on: what the index calls committed at one moment, what was signed then."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from taprail.schemas.errors import LogError, SettingsError
from taprail.streams.audit import decode, history, parquet, segment
from taprail.streams.audit.store import FILE, SqliteLeafStore

BLOCK_BYTES = 1 << 20


def copy_log(directory: Path, target: Path) -> int:
    """Copy a log into the new directory `target`, so that it verifies; returns its size.

    A plain recursive copy beside the writer is torn: its files are of different moments. Raises SettingsError where
    `target` exists.
    """
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise SettingsError(f"{target} exists already", hint="copy the log into a new directory") from None
    _checkpoints(directory, target)  # first: what they sign is then certainly in the index
    with sqlite3.connect(f"{(directory / FILE).absolute().as_uri()}?mode=ro", uri=True) as source:
        with sqlite3.connect(target / FILE) as copy:
            source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.close()
    source.close()
    store = SqliteLeafStore.reading(target)
    try:
        for first, length in store.segments():
            _head(segment.path_of(directory, first), segment.path_of(target, first), length)
        _finish(target, store)
        closed = {f"{c.first:020d}-{c.last:020d}" for c in parquet.closed_segments(store)}
        size = store.size
    finally:
        store.close()
    for path in directory.glob(f"{decode.FOLDER}/*.avsc"):
        _into(path, directory, target)
    for path in directory.glob(f"{parquet.FOLDER}/{parquet.ENTRIES}/*.parquet"):
        if path.stem in closed:  # this one is written last: the segment's other files are there
            for one in directory.glob(f"{parquet.FOLDER}/*/{path.name}"):
                _into(one, directory, target)
    return size


def _checkpoints(directory: Path, target: Path) -> None:
    parts = history.parts(directory)
    checkpoint = directory / history.CHECKPOINT
    if checkpoint.exists():
        _into(checkpoint, directory, target)
    for part in parts:
        copy = target / part.path.relative_to(directory)
        copy.parent.mkdir(exist_ok=True)
        _head(part.path, copy, part.bytes)


def _finish(target: Path, store: SqliteLeafStore) -> None:
    """Publish in the copy what the index has signed and the writer was about to publish."""
    try:
        signed, published = store.signed(), history.published(target)
    except LogError:
        return  # the copy of a damaged checkpoint is as damaged: verification says so
    if signed and (published is None or published.size < signed[0].size):
        history.publish(target, signed[1])


def _into(path: Path, directory: Path, target: Path) -> None:
    copy = target / path.relative_to(directory)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)


def _head(path: Path, copy: Path, length: int) -> None:
    """The first `length` bytes of a file that may be growing."""
    with path.open("rb") as source, copy.open("wb") as out:
        while length and (block := source.read(min(length, BLOCK_BYTES))):
            out.write(block)
            length -= len(block)
