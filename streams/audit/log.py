"""The log's writer: append-only, exactly once, one at a time.

Life of a leaf:
1. its frame is appended to the open segment, which is flushed to the disk;
2. one SQLite transaction stores hash, place, compact range, size and how far the segment reaches: now it is in the log;
3. the signer signs the new size and root, after a proof that the log only grew;
4. the signed checkpoint is stored, then published in `checkpoint` and in the history.

A crash anywhere loses nothing that was committed in step 2: opening cuts the segment to its committed length, and the
caller goes on at `next_offset`. Opening refuses a log that isn't consistent with what was signed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from taprail.schemas.errors import LogError
from taprail.schemas.ledger import Checkpoint, Commit, Entry, Leaf, Signer
from taprail.streams.audit import history, segment, tree
from taprail.streams.audit import note as notes
from taprail.streams.audit.entry import (
    SALT_BYTES,
    commitment_to,
    encode_frame,
    encode_header,
    leaf_input,
)
from taprail.streams.audit.store import SqliteLeafStore

LOCK = "lock"


class Limits(Struct, frozen=True):
    """When a segment is closed, and how dense the history of checkpoints is."""

    segment_bytes: int = 64 << 20
    segment_entries: int = 32_768  # what a question must decode at most, because it isn't Parquet yet
    history_us: int = 5_000_000


class Log:
    """The one writer of the log in `directory`. Not for several threads at once."""

    def __init__(self, directory: Path, signer: Signer, limits: Limits | None = None) -> None:
        """Open or make the log, and recover it. Raises LogError where another writer has it, or it doesn't fit."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.directory = directory
        self._limits = limits or Limits()
        self._signer = signer
        self._lock = _lock(directory)
        self._failed = False
        self._remembered_us = 0
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self._lock)
            self.store = SqliteLeafStore.create(directory)
            undo.callback(self.store.close)
            self._check_index()
            self._segment = self._recover()
            undo.callback(self._segment.close)
            self._check_last_entry()
            self._check_signed()
            undo.pop_all()
        self._range = tree.CompactRange(self.store.size, self.store.peaks)
        self._next: dict[tuple[str, int], int] = {}

    @property
    def size(self) -> int:
        return self.store.size

    @property
    def open_segment(self) -> int:
        """The first index of the open segment: it changes when one was closed."""
        return self._segment.first

    def root(self) -> bytes:
        return self._range.root()

    def next_offset(self, topic: str, partition: int) -> int | None:
        """Where to go on reading; None where nothing of this partition was taken in."""
        return self.store.next_offset(topic, partition)

    def append(self, entries: Sequence[Entry]) -> int:
        """Durable when it returns, in this order, all of it or (on an error) a whole number of segments' worth.

        Returns the new size. Raises LogError; after an error that isn't about the entries the log must be reopened.
        """
        if self._failed:
            raise LogError("the log stopped after an error", hint="open it again: it recovers by itself")
        self._check_order(entries)
        while entries:
            room = self._roll()
            self._append(entries[:room])
            entries = entries[room:]
        return self.store.size

    def publish(self, now_us: int | None = None) -> Checkpoint:
        """Sign and publish the log as it is. Durable when it returns.

        Raises LogError where the signer refuses, StackError where it doesn't answer: what was appended stays.
        """
        checkpoint = Checkpoint(self._signer.name, self.store.size, self._range.root())
        stored = self.store.signed()
        if stored is not None and stored[0] == checkpoint:
            return checkpoint
        last = self._signer.last()
        self._check_past(last, "the signer has signed")
        proof = tree.consistency_proof(self.store, last.size, checkpoint.size)
        note = notes.render(checkpoint, self._signer.sign(checkpoint, proof))
        self.store.set_signed(checkpoint, note)
        self._publish(note, time.time_ns() // 1000 if now_us is None else now_us)
        return checkpoint

    def close(self) -> None:
        """Give the log to the next writer."""
        self._segment.close()
        self.store.close()
        os.close(self._lock)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, entries: Sequence[Entry]) -> None:
        frames, leaves = self._encode(entries)
        grown = self._range.copy()
        tiles = grown.extend([leaf.hash for leaf in leaves])
        try:
            self._segment.append(b"".join(frames))
            commit = Commit(leaves, tiles, grown.size, grown.peaks, self._segment.first, self._segment.length)
            self.store.commit(commit)
        except OSError as error:
            self._failed = True
            raise LogError(
                f"the log in {self.directory} can't be written: {error.strerror}",
                hint="make room on the disk; nothing was lost, and the log goes on where it stopped when it is opened",
            ) from error
        except LogError:
            self._failed = True
            raise
        self._range = grown
        for leaf in leaves:
            self._next[leaf.topic, leaf.partition] = leaf.offset + 1

    def _encode(self, entries: Sequence[Entry]) -> tuple[list[bytes], list[Leaf]]:
        salts = os.urandom(SALT_BYTES * len(entries))
        index, at = self.store.size, self._segment.length
        frames, leaves = [], []
        for number, entry in enumerate(entries):
            header, salt = entry.header, salts[number * SALT_BYTES : (number + 1) * SALT_BYTES]
            encoded = encode_header(header)
            commitment = commitment_to(salt, entry.payload)
            frame = encode_frame(encoded, commitment, salt, entry.payload)
            leaf = tree.leaf_hash(leaf_input(encoded, commitment))
            leaves.append(
                Leaf(index + number, leaf, header.topic, header.partition, header.offset, self._segment.first, at)
            )
            frames.append(frame)
            at += len(frame)
        return frames, leaves

    def _check_order(self, entries: Sequence[Entry]) -> None:
        """A partition's offsets only grow: a replay is refused before anything is written."""
        following = dict(self._next)
        for entry in entries:
            source = (entry.header.topic, entry.header.partition)
            if source not in following:
                following[source] = self.store.next_offset(*source) or 0
            if entry.header.offset < following[source]:
                raise LogError(
                    f"{source[0]}/{source[1]} offset {entry.header.offset} comes after {following[source] - 1}",
                    hint="the log takes each offset once; read on from its next offset",
                )
            following[source] = entry.header.offset + 1

    def _roll(self) -> int:
        """Open the next segment where this one is full; returns how many entries fit."""
        held = self.store.size - self._segment.first
        if held and (held >= self._limits.segment_entries or self._segment.length >= self._limits.segment_bytes):
            full = self._segment
            self._segment = segment.SegmentWriter(self.directory, self.store.size, 0)
            full.close()
            held = 0
        return self._limits.segment_entries - held

    def _check_index(self) -> None:
        if tree.peaks(self.store, 0, self.store.size) != list(self.store.peaks):
            raise LogError(
                f"the index of {self.directory} contradicts itself: its hashes don't give its compact range",
                hint="it was changed: run `taprail audit verify`, and restore it from a copy",
            )

    def _recover(self) -> segment.SegmentWriter:
        """Cut the open segment to what was committed; refuse missing and unknown ones."""
        committed = self.store.segments()
        known = dict(committed)
        for first, path in segment.segments(self.directory):
            if first not in known and first != self.store.size:
                raise LogError(f"{path.name} doesn't belong to the log", hint="move it away, and find out who made it")
        for first, length in committed[:-1]:
            path = segment.path_of(self.directory, first)
            found = path.stat().st_size if path.exists() else 0
            if found != length:
                raise LogError(
                    f"{path.name} has {found} bytes instead of {length}",
                    hint="entries are missing: restore the file from a copy, and run `taprail audit verify`",
                )
        if not committed:
            return segment.SegmentWriter(self.directory, 0, 0)
        first, length = committed[-1]
        if not segment.path_of(self.directory, first).exists():
            raise LogError(f"the segment {first} is missing", hint="restore it from a copy")
        orphan = segment.path_of(self.directory, self.store.size)
        if self.store.size != first and orphan.exists():
            orphan.unlink()  # opened for a batch that was never committed
            segment.sync_directory(self.directory)
        return segment.SegmentWriter(self.directory, first, length)

    def _check_last_entry(self) -> None:
        """A segment that was swapped for another of the same length shows here, before anything is appended to it."""
        leaf = self.store.leaf(self.store.size - 1)
        if leaf is None:
            return
        entry = segment.read_frame(segment.path_of(self.directory, leaf.segment), leaf.position).entry
        if tree.leaf_hash(leaf_input(entry.header, entry.commitment)) != leaf.hash:
            raise LogError(
                f"entry {leaf.index}, the newest, isn't the one that was committed",
                hint="its segment was changed: run `taprail audit verify`, and restore it from a copy",
            )

    def _check_signed(self) -> None:
        """Refuse to go on where the log isn't the one that was signed; finish a publication that a crash cut short."""
        signed = self.store.signed()
        if signed:
            self._check_past(signed[0], "its index has signed")
        self._check_past(self._signer.last(), "the signer has signed")
        published = history.published(self.directory)
        if published:
            self._check_past(published, "the file `checkpoint` has published")
        if signed and (published is None or published.size < signed[0].size):
            self._publish(signed[1], time.time_ns() // 1000)

    def _check_past(self, past: Checkpoint, who: str) -> None:
        if past.origin != self._signer.name:
            raise LogError(f"the log in {self.directory} is {past.origin!r}, and the signer is {self._signer.name!r}")
        if past.size > self.store.size:
            raise LogError(
                f"the log in {self.directory} has {self.store.size} entries, but {who} {past.size}",
                hint="this is an older copy: restore the newest, never sign over it",
            )
        if tree.root(self.store, past.size) != past.root:
            raise LogError(
                f"the log in {self.directory} has another root at size {past.size} than {who}",
                hint="entries were changed: run `taprail audit verify`, and restore the log from a copy",
            )

    def _publish(self, note: str, now_us: int) -> None:
        history.publish(self.directory, note)
        if now_us - self._remembered_us >= self._limits.history_us:
            history.remember(self.directory, self._segment.first, history.Published(now_us, note))
            self._remembered_us = now_us


def _lock(directory: Path) -> int:
    fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise LogError(
            f"another writer has the log in {directory}", hint="one log has one writer: stop the other first"
        ) from error
    return fd
