"""Leaf hashes, positions and the last signed checkpoint in SQLite (WAL, synchronous=FULL): `index.sqlite`.

The segments are the truth; this file says how much of them is committed, and makes proofs and look-ups cheap. It can be
read beside the writer, or from a copy that nobody may write to.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from taprail.schemas.errors import LogError
from taprail.schemas.ledger import Checkpoint, Commit, Leaf

FILE = "index.sqlite"
FORMAT = 1
HASH_BYTES = 32
ROWS_AT_A_TIME = 4096
LEAF = (
    "SELECT idx, hash, name, partition, kafka_offset, segment, position"
    " FROM leaves JOIN topics ON leaves.topic = topics.id"
)
TABLES = """
CREATE TABLE log (id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, size INTEGER NOT NULL,
                  peaks BLOB NOT NULL);
CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE leaves (idx INTEGER PRIMARY KEY, hash BLOB NOT NULL, topic INTEGER NOT NULL, partition INTEGER NOT NULL,
                     kafka_offset INTEGER NOT NULL, segment INTEGER NOT NULL, position INTEGER NOT NULL,
                     UNIQUE (topic, partition, kafka_offset));
CREATE TABLE tiles (level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, idx))
                   WITHOUT ROWID;
CREATE TABLE segments (first INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);
CREATE TABLE signed (id INTEGER PRIMARY KEY CHECK (id = 1), origin TEXT NOT NULL, size INTEGER NOT NULL,
                     root BLOB NOT NULL, note TEXT NOT NULL);
"""


class SqliteLeafStore:
    """A `LeafStore` in one SQLite file. Open it with `SqliteLeafStore.create` to write, or with `reading` to read."""

    def __init__(self, database: sqlite3.Connection, scratch: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self._database = database
        self._scratch = scratch
        self._topics: dict[str, int] = dict(database.execute("SELECT name, id FROM topics"))
        row = database.execute("SELECT format, size, peaks FROM log").fetchone()
        if row is None or row[0] != FORMAT:
            raise LogError("the log's index has another format", hint="use the version of taprail that wrote it")
        self.size: int = row[1]
        self.peaks: Sequence[bytes] = _split(row[2])

    @classmethod
    def create(cls, directory: Path) -> SqliteLeafStore:
        """Open for writing; makes the file where there is none."""
        database = sqlite3.connect(directory / FILE, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            database.executescript(f"BEGIN IMMEDIATE; {TABLES} INSERT INTO log VALUES (1, {FORMAT}, 0, x''); COMMIT;")
        return cls(database)

    @classmethod
    def reading(cls, directory: Path) -> SqliteLeafStore:
        """Open a snapshot for reading, beside the writer or from a copy on a read-only medium.

        A file without a write-ahead log is opened as immutable, so nothing is created beside it. One with a log is
        opened as any reader does; where that isn't possible the two files are copied to a temporary directory first.
        """
        path, wal = directory / FILE, directory / (FILE + "-wal")
        if not path.exists():
            raise LogError(f"{path} is missing", hint="give the directory of the log, or a whole copy of it")
        scratch = None
        try:
            if not wal.exists():
                database = _snapshot(path, "mode=ro&immutable=1")
            else:
                try:
                    database = _snapshot(path, "mode=ro")
                except sqlite3.OperationalError:
                    scratch = tempfile.TemporaryDirectory(prefix="taprail-index-")
                    for file in (path, wal):
                        shutil.copyfile(file, Path(scratch.name, file.name))
                    database = _snapshot(Path(scratch.name, FILE), "mode=rw")
            return cls(database, scratch)
        except sqlite3.DatabaseError as error:
            raise LogError(f"{path} can't be read: {error}", hint="the index is damaged or was replaced") from error

    def close(self) -> None:
        self._database.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        table, where = ("leaves", "") if level == 0 else ("tiles", f"level = {level} AND ")
        query = f"SELECT hash FROM {table} WHERE {where}idx >= ? AND idx < ? ORDER BY idx"
        found = [row[0] for row in self._database.execute(query, (first, first + count))]
        if len(found) != count:
            raise LogError(f"the index has {len(found)} of {count} hashes from {first} at level {level}")
        return found

    def leaf(self, index: int) -> Leaf | None:
        row = self._database.execute(f"{LEAF} WHERE idx = ?", (index,)).fetchone()
        return Leaf(*row) if row else None

    def leaves(self, first: int = 0) -> Iterator[Leaf]:
        """Every leaf from index `first` on, in order, a page in memory at a time."""
        while rows := self._database.execute(
            f"{LEAF} WHERE idx >= ? ORDER BY idx LIMIT {ROWS_AT_A_TIME}", (first,)
        ).fetchall():
            for row in rows:
                yield Leaf(*row)
            first = rows[-1][0] + 1

    def find(self, topic: str, partition: int, offset: int) -> Leaf | None:
        query = f"{LEAF} WHERE topic = ? AND partition = ? AND kafka_offset = ?"
        row = self._database.execute(query, (self._topics.get(topic), partition, offset)).fetchone()
        return Leaf(*row) if row else None

    def next_offset(self, topic: str, partition: int) -> int | None:
        query = "SELECT max(kafka_offset) + 1 FROM leaves WHERE topic = ? AND partition = ?"
        found: int | None = self._database.execute(query, (self._topics.get(topic), partition)).fetchone()[0]
        return found

    def after(self, segment: int, position: int) -> Leaf | None:
        """The first leaf of a segment whose entry begins behind byte `position`."""
        query = f"{LEAF} WHERE idx >= ? AND segment = ? AND position > ? ORDER BY idx LIMIT 1"
        row = self._database.execute(query, (segment, segment, position)).fetchone()
        return Leaf(*row) if row else None

    def segments(self) -> list[tuple[int, int]]:
        """(first index, committed bytes) of every segment, in order."""
        return self._database.execute("SELECT first, bytes FROM segments ORDER BY first").fetchall()

    def commit(self, batch: Commit) -> None:
        topics = dict(self._topics)
        try:
            self._database.execute("BEGIN IMMEDIATE")
            for name in {leaf.topic for leaf in batch.leaves} - topics.keys():
                topics[name] = len(topics) + 1
                self._database.execute("INSERT INTO topics VALUES (?, ?)", (topics[name], name))
            self._database.executemany(
                "INSERT INTO leaves VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (x.index, x.hash, topics[x.topic], x.partition, x.offset, x.segment, x.position)
                    for x in batch.leaves
                ],
            )
            self._database.executemany("INSERT INTO tiles VALUES (?, ?, ?)", batch.tiles)
            self._database.execute(
                "INSERT INTO segments VALUES (?, ?) ON CONFLICT (first) DO UPDATE SET bytes = excluded.bytes",
                (batch.segment, batch.segment_bytes),
            )
            self._database.execute("UPDATE log SET size = ?, peaks = ?", (batch.size, b"".join(batch.peaks)))
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise _failure(error) from error
        self._topics, self.size, self.peaks = topics, batch.size, tuple(batch.peaks)

    def signed(self) -> tuple[Checkpoint, str] | None:
        row = self._database.execute("SELECT origin, size, root, note FROM signed").fetchone()
        return (Checkpoint(row[0], row[1], row[2]), row[3]) if row else None

    def set_signed(self, checkpoint: Checkpoint, note: str) -> None:
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO signed VALUES (1, ?, ?, ?, ?)",
                (checkpoint.origin, checkpoint.size, checkpoint.root, note),
            )
        except sqlite3.Error as error:
            self._rollback()
            raise _failure(error) from error

    def _rollback(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")


def _snapshot(path: Path, options: str) -> sqlite3.Connection:
    """A connection whose reads all see the same commit."""
    database = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None)
    try:
        database.execute("PRAGMA query_only=ON")
        database.execute("BEGIN")
        database.execute("SELECT size FROM log").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database


def _failure(error: sqlite3.Error) -> LogError:
    if isinstance(error, sqlite3.IntegrityError):
        return LogError(
            f"a record is in the log already: {error}",
            hint="the topic was replayed from an older offset; the log continues from its own next offset",
        )
    return LogError(
        f"the log's index can't be written: {error}",
        hint="make room on the disk or mend its rights; the log continues where it stopped when it is opened again",
    )


def _split(peaks: bytes) -> tuple[bytes, ...]:
    return tuple(peaks[i : i + HASH_BYTES] for i in range(0, len(peaks), HASH_BYTES))
