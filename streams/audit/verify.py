"""Offline verification: `verify(directory, public_key)` reads the log's files and nothing else.

It needs neither Kafka nor Faust, writes nothing, and works on a read-only copy. What it checks, in this order:
1. the published checkpoint, the history and what the caller trusts are signed by the key; the published is the newest;
2. the leaf hashes of the index give each signed root;
3. every entry is the leaf that the index has at its place, and its payload is what its leaf commits to;
4. only where 2 failed: the entries' own hashes against each signed root, which tells who of the two was changed, and
   between which two checkpoints;
5. every Parquet row says what its entry says.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from msgspec import Struct

from taprail.schemas.errors import LogError, SettingsError, SignatureError
from taprail.schemas.ledger import Checkpoint
from taprail.streams.audit import history, segment, tree
from taprail.streams.audit import note as notes
from taprail.streams.audit.compare import Comparison, scan
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.audit.entry import leaf_input
from taprail.streams.audit.note import Verifier
from taprail.streams.audit.parquet import check_rows
from taprail.streams.audit.report import Problem, Problems, Report
from taprail.streams.audit.store import SqliteLeafStore

PAGE = 8192
PUBLICATION_TRIES = 5
PUBLICATION_S = 0.05


class Signed(Struct, frozen=True):
    """A checkpoint whose signature holds, and when it was published (0: unknown)."""

    size: int
    root: bytes
    time_us: int = 0


class Fit(Struct, frozen=True):
    """How far hashes fit the signed roots: `good` is the last that they do, `bad` the first that they don't."""

    good: Signed | None
    bad: Signed | None

    def proves(self, index: int) -> bool:
        return self.bad is None or (self.good is not None and index < self.good.size)


def verify(
    directory: Path | str,
    public_key: Verifier | str | Path,
    *,
    trusted: Sequence[str] = (),
    parquet: bool = True,
) -> Report:
    """Verify a whole log. `trusted` are signed notes from elsewhere (a witness, an alert, an older copy).

    Raises SettingsError where there is no log in `directory` or the key can't be read. Whatever is wrong with
    the log itself is a problem.
    """
    directory = Path(directory)
    verifier = public_key if isinstance(public_key, Verifier) else notes.load_verifier(public_key)
    if not directory.is_dir():
        raise SettingsError(f"{directory} is no directory", hint="give the directory of the log, or a copy of it")
    problems = Problems()
    checkpoints = Checkpoints(directory, verifier, trusted, problems)
    book = SchemaBook(directory)
    try:
        store = SqliteLeafStore.reading(directory)
    except LogError as error:
        problems.add(Problem("index", str(error)))
        entries = _without_index(directory, checkpoints, problems)
        return _report(problems, checkpoints, entries, entries, 0)
    try:
        checkpoints.compare_with(store)
        stored = fit(store.size, _stored_hashes(store), checkpoints)
        changes = Problems()
        comparison = Comparison(directory, store, book, changes)
        comparison.run()
        if stored.bad is None:
            _take(changes, problems)
        else:
            _judge(directory, store, stored, changes, checkpoints, problems)
        rows = check_rows(directory, store, book, problems) if parquet else 0
        return _report(problems, checkpoints, store.size, comparison.entries, rows)
    finally:
        store.close()


class Checkpoints:
    """The signed checkpoints of a log by size. It looks at the files once, before the index: the writer may go on."""

    def __init__(self, directory: Path, verifier: Verifier, trusted: Sequence[str], problems: Problems) -> None:
        self._directory = directory
        self._verifier = verifier
        self._problems = problems
        self._parts = history.parts(directory)
        self._told: set[str] = set()
        self.published = self._published()
        self._extra = [Signed(c.size, c.root) for c in (self.published, *map(self._open, trusted)) if c is not None]
        self.newest = max(self._extra, key=lambda s: s.size, default=None)
        self.count = 0
        for signed in self:
            self.count += 1
            if self.newest is None or signed.size > self.newest.size:
                self.newest = signed
        if self.published and self.newest and self.newest.size > self.published.size:
            self._rolled_back(self.newest.size, "the history or a trusted checkpoint")

    def __iter__(self) -> Iterator[Signed]:
        return heapq.merge(self._history(), sorted(self._extra, key=lambda s: s.size), key=lambda s: s.size)

    def compare_with(self, store: SqliteLeafStore) -> None:
        """Is the published checkpoint the newest that the index knows of?"""
        stored = store.signed()
        if stored is None or self.published is None or self.newest is None:
            return
        current = self.published
        for _ in range(PUBLICATION_TRIES):  # a writer that goes on publishes it within milliseconds
            if stored[0].size <= max(current.size, self.newest.size):
                return
            time.sleep(PUBLICATION_S)
            current = self._published() or current
        self._rolled_back(stored[0].size, "the index")

    def _rolled_back(self, size: int, who: str) -> None:
        published = self.published.size if self.published else 0
        message = (
            f"`checkpoint` is of size {published}, older than size {size}, which {who} has: it was replaced by an "
            "older one (or a crash cut its publication short: then the writer's next start finishes it)"
        )
        self._tell(message)

    def _published(self) -> Checkpoint | None:
        try:
            text = (self._directory / history.CHECKPOINT).read_bytes().decode()
        except FileNotFoundError:
            self._tell("the file `checkpoint` is missing: nothing says how many entries there should be")
            return None
        except UnicodeDecodeError:
            self._tell("the file `checkpoint` is no text")
            return None
        return self._open(text)

    def _open(self, note: str) -> Checkpoint | None:
        try:
            return notes.open_note(note, self._verifier)
        except SignatureError as error:
            self._tell(str(error))
            return None

    def _history(self) -> Iterator[Signed]:
        size = 0
        for part in self._parts:
            try:
                for line in history.read(part):
                    checkpoint = self._open(line.note)
                    if checkpoint is None:
                        continue
                    if checkpoint.size < size:
                        self._tell(f"the history in {part.path.name} goes back from size {size} to {checkpoint.size}")
                        continue
                    size = checkpoint.size
                    yield Signed(size, checkpoint.root, line.time_us)
            except LogError as error:
                self._tell(str(error))

    def _tell(self, message: str) -> None:
        """Each thing once: the history is read more than once."""
        if message not in self._told and len(self._told) < PAGE:
            self._told.add(message)
            self._problems.add(Problem("checkpoint", message))


def fit(size: int, hashes: Iterable[bytes], checkpoints: Iterable[Signed]) -> Fit:
    """Grow a tree from leaf hashes and compare its root at each signed size, until one doesn't fit."""
    grown, good = tree.CompactRange(), None
    rest = iter(hashes)
    for signed in checkpoints:
        if signed.size > size:
            return Fit(good, signed)
        while grown.size < signed.size:
            page = list(islice(rest, min(PAGE, signed.size - grown.size)))
            if not page:
                return Fit(good, signed)
            grown.extend(page)
        if grown.root() != signed.root:
            return Fit(good, signed)
        good = signed
    return Fit(good, None)


def _stored_hashes(store: SqliteLeafStore) -> Iterator[bytes]:
    """In order up to the first gap: hashes behind a removed row would only shift."""
    for number, leaf in enumerate(store.leaves()):
        if leaf.index != number:
            return
        yield leaf.hash


def _entry_hashes(frames: Iterable[segment.Frame]) -> Iterator[bytes]:
    for frame in frames:
        yield tree.leaf_hash(leaf_input(frame.entry.header, frame.entry.commitment))


def _judge(
    directory: Path,
    store: SqliteLeafStore,
    stored: Fit,
    changes: Problems,
    checkpoints: Checkpoints,
    problems: Problems,
) -> None:
    """The index doesn't fit a signed root: do the entries? Each difference is blamed on whichever doesn't."""
    frames = scan(directory, store, lambda error, first: None)
    entries = fit(1 << 63, _entry_hashes(frames), checkpoints)
    for change in changes.found:
        blamed = change.first >= 0 and not stored.proves(change.first) and entries.proves(change.first)
        if blamed or entries.bad is None:
            problems.add(_replace(change, "index", "the index was changed here; the entry is what was signed"))
        elif change.first < 0 or stored.proves(change.first):
            problems.add(change)
        else:
            message = f"{change.message}; the index doesn't fit what was signed either"
            problems.add(_replace(change, change.kind, message))
    problems.more += changes.more
    if entries.bad is None:
        if not changes.found:
            problems.add(Problem("index", "the index doesn't fit what was signed; the entries do"))
        return
    if checkpoints.newest and checkpoints.newest.size > store.size:
        message = f"{checkpoints.newest.size} entries were signed, and the index has {store.size}: the tail is gone"
        problems.add(Problem("truncated", message, store.size, checkpoints.newest.size - 1))
    problems.add(_interval(max(stored, entries, key=lambda found: found.good.size if found.good else 0)))


def _without_index(directory: Path, checkpoints: Checkpoints, problems: Problems) -> int:
    """Entries against signed roots alone. Returns how many entries could be read."""
    count = 0

    def frames() -> Iterator[segment.Frame]:
        nonlocal count
        for _, path in segment.segments(directory):
            try:
                for frame in segment.read_frames(path):
                    count += 1
                    yield frame
            except segment.FrameError as error:
                problems.add(Problem("unreadable", error.message))

    source = frames()
    found = fit(1 << 63, _entry_hashes(source), checkpoints)
    for _ in source:
        pass
    if found.bad is not None:
        problems.add(_interval(found))
    return count


def _interval(found: Fit) -> Problem:
    good, bad = found.good, found.bad
    if bad is None:
        raise ValueError("an interval ends with a checkpoint that doesn't fit")
    begin = good.size if good else 0
    since = f"the checkpoint of size {begin}{_when(good)}" if good else "the beginning"
    until = f"the checkpoint of size {bad.size}{_when(bad)}"
    message = f"something was changed, removed or added between {since} and {until}"
    return Problem("interval", message, begin, bad.size - 1)


def _when(signed: Signed | None) -> str:
    if signed is None or not signed.time_us:
        return ""
    return f" ({datetime.fromtimestamp(signed.time_us / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC)"


def _replace(problem: Problem, kind: str, message: str) -> Problem:
    place = (problem.first, problem.last, problem.topic, problem.partition, problem.offset, problem.statement)
    return Problem(kind, message, *place)  # type: ignore[arg-type]


def _take(changes: Problems, problems: Problems) -> None:
    for change in changes.found:
        problems.add(change)
    problems.more += changes.more


def _report(problems: Problems, checkpoints: Checkpoints, size: int, entries: int, rows: int) -> Report:
    newest = checkpoints.newest
    if newest is None and not problems.found:
        problems.add(Problem("checkpoint", "no checkpoint: nothing is proven"))
    return Report(
        ok=not problems.found,
        problems=tuple(problems.found),
        more=problems.more,
        checkpoint=checkpoints.published,
        size=size,
        entries=entries,
        unsigned=max(0, size - (newest.size if newest else 0)),
        checkpoints=checkpoints.count,
        parquet_rows=rows,
    )
