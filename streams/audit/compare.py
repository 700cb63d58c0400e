"""Entries against the index, one by one: which is changed, gone, moved or new.

An entry whose leaf hash is the expected one costs one comparison. For another, the index is asked where its Kafka
offset belongs: that tells a moved entry from a changed one, and what nobody found in the end was removed. One bit a
leaf is all that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from taprail.schemas.errors import LogError, RecordError
from taprail.schemas.ledger import Header, Leaf
from taprail.streams.audit import segment, tree
from taprail.streams.audit.decode import SchemaBook, statement_of
from taprail.streams.audit.entry import StoredEntry, commitment_to, decode_header, leaf_input
from taprail.streams.audit.report import Problem, Problems
from taprail.streams.audit.segment import Frame, FrameError
from taprail.streams.audit.store import SqliteLeafStore

CHANGED = "it isn't the entry that was taken in"
RESYNC_TRIES = 8
STRAYS_MAX = 10_000


class Expected:
    """The stored leaves by index: reading forward costs a page at a time, a jump costs a query."""

    def __init__(self, store: SqliteLeafStore) -> None:
        self._store = store
        self._rows: Iterator[Leaf] = iter(())
        self._leaf: Leaf | None = None

    def at(self, index: int) -> Leaf | None:
        if self._leaf is not None and self._leaf.index == index - 1:
            self._leaf = next(self._rows, None)
        elif self._leaf is None or self._leaf.index != index:
            self._rows = self._store.leaves(index)
            self._leaf = next(self._rows, None)
        return self._leaf if self._leaf is not None and self._leaf.index == index else None


class Comparison:
    """Walks all entries; afterwards `entries` is how many there were."""

    def __init__(self, directory: Path, store: SqliteLeafStore, book: SchemaBook, problems: Problems) -> None:
        self._directory = directory
        self._store = store
        self._book = book
        self._problems = problems
        self._expected = Expected(store)
        self._seen = bytearray(store.size // 8 + 1)
        self._strays: list[tuple[int, int, str]] = []
        self._schemas: set[bytes] = set()
        self._next = 0
        self._in_a_row = 0
        self.entries = 0

    def run(self) -> None:
        for frame in scan(self._directory, self._store, self._unreadable):
            self._compare(frame)
        self._settle_strays()
        self._missing()
        self._problems.found.sort(key=lambda problem: problem.first)

    def _compare(self, frame: Frame) -> None:
        self.entries += 1
        entry = frame.entry
        leaf = tree.leaf_hash(leaf_input(entry.header, entry.commitment))
        expected = self._expected.at(self._next)
        if expected is not None and expected.hash == leaf:
            self._mark(self._next)
            self._next += 1
            self._in_a_row = 0
        else:
            expected = self._misplaced(entry, leaf)
        if expected is not None:
            self._check_payload(frame, expected)

    def _misplaced(self, entry: StoredEntry, leaf: bytes) -> Leaf | None:
        """The leaf that an unexpected entry is; None where it is a changed or a new one, which shows in the end."""
        try:
            header = decode_header(entry.header)
        except LogError:
            header = None
        home = self._store.find(header.topic, header.partition, header.offset) if header else None
        if home is None or home.hash != leaf:
            self._stray(home, entry)
            return None
        if self._is_marked(home.index):
            self._add("inserted", "it stands in the log a second time", home, "")
            return None
        self._in_a_row = 0
        self._mark(home.index)
        if home.index < self._next:
            self._add("reordered", "it stands behind entries that came later", home, self._statement(entry))
        else:
            self._next = home.index + 1
        return home

    def _stray(self, home: Leaf | None, entry: StoredEntry) -> None:
        """Whose place an unknown entry took is certain only when all that are authentic have been seen."""
        if len(self._strays) >= STRAYS_MAX:
            self._settle_strays()
        self._strays.append((home.index if home else -1, self._next + self._in_a_row, self._statement(entry)))
        self._in_a_row += 1

    def _check_payload(self, frame: Frame, leaf: Leaf) -> None:
        """The leaf is the one that was signed: are payload, salt and schema still what it commits to?"""
        entry = frame.entry
        if entry.erased:
            self._add("erased", "its payload was erased, and no record in the log says so", leaf, "")
        elif commitment_to(entry.salt, entry.payload) != entry.commitment:
            self._add("changed", "its payload or salt isn't what was taken in", leaf, self._statement(entry))
        elif not frame.intact:
            self._add("changed", "its frame was changed, its content wasn't", leaf, self._statement(entry))
        header = decode_header(entry.header)
        if header.schema_sha256 not in self._schemas:
            self._schemas.add(header.schema_sha256)
            self._check_schema(header, leaf)

    def _check_schema(self, header: Header, leaf: Leaf) -> None:
        if any(header.schema_sha256):
            try:
                self._book.schema(header)
            except RecordError as error:
                self._add("schema", str(error), leaf, "")

    def _unreadable(self, error: FrameError, first: int) -> None:
        leaf = self._store.after(first, error.position - 1)
        if leaf is not None and leaf.position == error.position and not self._is_marked(leaf.index):
            self._mark(leaf.index)
            self._next = max(self._next, leaf.index + 1)
            self._add("unreadable", error.message, leaf, "")
        else:
            self._problems.add(Problem("unreadable", error.message))

    def _settle_strays(self) -> None:
        """An unknown entry is a changed one where the entry of its offset, or else of its place, is missing."""
        for home, place, statement in self._strays:
            index = next((i for i in (home, place) if i >= 0 and not self._is_marked(i)), -1)
            leaf = self._store.leaf(index) if index >= 0 else None
            if leaf is not None:
                self._mark(index)
                self._add("changed", CHANGED, leaf, statement)
            else:
                message = f"an entry that was never taken in stands before entry {place}"
                self._problems.add(Problem("inserted", message, statement=statement))
        self._strays.clear()

    def _missing(self) -> None:
        size = self._store.size
        index = 0
        while index < size:
            if self._seen[index >> 3] == 0xFF:
                index = (index | 7) + 1
                continue
            if self._is_marked(index):
                index += 1
                continue
            end = index + 1
            while end < size and not self._is_marked(end):
                end += 1
            leaf = self._store.leaf(index)
            place = (leaf.topic, leaf.partition, leaf.offset) if leaf else ("", -1, -1)
            if end == size:
                self._problems.add(Problem("truncated", "the log's tail is gone", index, end - 1, *place))
            else:
                self._problems.add(Problem("removed", "the log doesn't hold it any more", index, end - 1, *place))
            index = end

    def _statement(self, entry: StoredEntry) -> str:
        try:
            return statement_of(self._book.decode(decode_header(entry.header), entry.payload))
        except (LogError, RecordError):
            return ""

    def _add(self, kind: str, message: str, leaf: Leaf, statement: str) -> None:
        place = (leaf.topic, leaf.partition, leaf.offset, statement)
        self._problems.add(Problem(kind, message, leaf.index, leaf.index, *place))  # type: ignore[arg-type]

    def _mark(self, index: int) -> None:
        self._seen[index >> 3] |= 1 << (index & 7)

    def _is_marked(self, index: int) -> bool:
        return index >= self._store.size or bool(self._seen[index >> 3] & 1 << (index & 7))


def scan(directory: Path, store: SqliteLeafStore, unreadable: Callable[[FrameError, int], None]) -> Iterator[Frame]:
    """Every frame that the index calls committed; behind damage it goes on where the index knows an entry."""
    committed = dict(store.segments())
    for first, path in segment.segments(directory):
        end = min(committed.get(first, 0), path.stat().st_size)
        if first not in committed and first != store.size:
            end = path.stat().st_size  # a segment that nobody knows: let its entries be named
        begin: int | None = 0
        while begin is not None and begin < end:
            begin = yield from _until_damage(path, first, begin, end, store, unreadable)


def _until_damage(
    path: Path,
    first: int,
    begin: int,
    end: int,
    store: SqliteLeafStore,
    unreadable: Callable[[FrameError, int], None],
) -> Generator[Frame, None, int | None]:
    """Frames up to the first damage; returns where to go on behind it, None where there is nothing more.

    A damaged length makes a frame swallow those behind it, so what follows is looked for where the index has it.
    """
    try:
        for frame in segment.read_frames(path, begin, end):
            if frame.intact or has_header(frame):
                yield frame
            else:
                unreadable(FrameError(f"{path.name} has no entry at byte {frame.position}", frame.position), first)
            if not frame.intact:
                return _resume(path, first, frame.position, frame.end, store)
    except FrameError as error:
        unreadable(error, first)
        return _resume(path, first, error.position, None, store)
    return None


def _resume(path: Path, first: int, position: int, frame_end: int | None, store: SqliteLeafStore) -> int | None:
    candidates = set() if frame_end is None else {frame_end}
    known = position
    for _ in range(RESYNC_TRIES):
        leaf = store.after(first, known)
        if leaf is None:
            break
        known = leaf.position
        candidates.add(known)
    for candidate in sorted(candidates):
        try:
            if has_header(segment.read_frame(path, candidate)):
                return candidate
        except FrameError:
            continue
    return None


def has_header(frame: Frame) -> bool:
    """Whether what was read as a frame begins like an entry."""
    try:
        decode_header(frame.entry.header)
    except LogError:
        return False
    return True
