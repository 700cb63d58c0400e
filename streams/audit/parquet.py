"""Parquet derived from closed segments: `parquet/<kind>/<first index>-<last index>.parquet`, 20 digits each.

`parquet/entries/` has one row for every entry, whatever its kind, and is written last: where its file exists, the
segment's other files do. Each row carries leaf index and entry hash; nothing here is the truth, and everything can be
derived again. `check_rows` derives again and compares.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import Struct

from taprail.schemas.errors import LogError, RecordError
from taprail.schemas.ledger import Header
from taprail.streams.audit import segment, tree
from taprail.streams.audit.columns import BASE, columns_of, table
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.audit.entry import decode_header, leaf_input
from taprail.streams.audit.report import Problem, Problems
from taprail.streams.audit.segment import Frame
from taprail.streams.audit.store import SqliteLeafStore

FOLDER = "parquet"
ENTRIES = "entries"
ENTRY_FIELDS = pa.schema(
    [*BASE, ("topic", pa.string()), ("partition", pa.int64()), ("offset", pa.int64()), ("schema_id", pa.int64())]
)


class Closed(Struct, frozen=True):
    """A segment that gets no more entries; both indexes are included."""

    first: int
    last: int
    bytes: int


def closed_segments(store: SqliteLeafStore) -> list[Closed]:
    known = store.segments()
    return [Closed(first, then - 1, size) for (first, size), (then, _) in pairwise(known)]


def path_of(directory: Path, kind: str, first: int, last: int) -> Path:
    return directory / FOLDER / kind / f"{first:020d}-{last:020d}.parquet"


def derive(directory: Path) -> list[Path]:
    """Write what closed segments still lack; returns the new files. Safe beside the writer, and to repeat.

    Raises LogError where an entry isn't the one that the index has: wrong rows would be worse than none.
    """
    written = []
    store, book = SqliteLeafStore.reading(directory), SchemaBook(directory)
    try:
        for closed in closed_segments(store):
            if path_of(directory, ENTRIES, closed.first, closed.last).exists():
                continue
            tables = tables_of(_frames(directory, closed.first, closed.bytes), closed.first, book)
            _check_hashes(store, closed, tables[ENTRIES])
            for kind in sorted(tables, key=lambda k: k == ENTRIES):
                path = path_of(directory, kind, closed.first, closed.last)
                _write(path, tables[kind])
                written.append(path)
    finally:
        store.close()
    return written


def tables_of(
    frames: Iterable[Frame], first: int, book: SchemaBook, wanted: Callable[[str], bool] = lambda kind: True
) -> dict[str, pa.Table]:
    """Consecutive entries from leaf `first` on as one table for each wanted kind, and `entries` for all of them.

    An entry that can't be decoded has its row in `entries` alone.
    """
    with _no_collection():
        return _tables_of(frames, first, book, wanted)


def _tables_of(
    frames: Iterable[Frame], first: int, book: SchemaBook, wanted: Callable[[str], bool]
) -> dict[str, pa.Table]:
    headers: list[Header] = []
    hashes: list[str] = []
    groups: dict[tuple[str, bytes], tuple[list[int], list[dict[str, Any]]]] = {}
    for number, frame in enumerate(frames):
        entry = frame.entry
        header = decode_header(entry.header)
        headers.append(header)
        hashes.append(tree.leaf_hash(leaf_input(entry.header, entry.commitment)).hex())
        if not wanted(header.kind):
            continue
        try:
            record = book.decode(header, entry.payload)
        except RecordError:
            continue
        numbers, records = groups.setdefault((header.kind, header.schema_sha256), ([], []))
        numbers.append(number)
        records.append(record)
    tables: dict[str, list[pa.Table]] = {}
    for (kind, _), (numbers, records) in groups.items():
        columns = columns_of(book.schema(headers[numbers[0]]))
        rows = table(columns, _base(headers, hashes, numbers, first), records)
        if kind.isidentifier() and kind != ENTRIES:
            tables.setdefault(kind, []).append(rows)
    joined = {
        kind: pa.concat_tables(parts, promote_options="permissive").sort_by("leaf_index").combine_chunks()
        for kind, parts in tables.items()
    }
    joined[ENTRIES] = _entries(headers, hashes, first)
    return joined


@contextmanager
def _no_collection() -> Iterator[None]:
    """Decoding makes many dicts and no cycles: the collector would look at all of them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def check_rows(directory: Path, store: SqliteLeafStore, book: SchemaBook, problems: Problems) -> int:
    """Compare every Parquet file with what its segment gives now; returns how many rows were compared."""
    rows = 0
    files = set((directory / FOLDER).glob("*/*.parquet"))
    for closed in closed_segments(store):
        mine = {p for p in files if p.stem == f"{closed.first:020d}-{closed.last:020d}"}
        files -= mine
        if not mine:
            continue
        try:
            tables = tables_of(_frames(directory, closed.first, closed.bytes), closed.first, book)
        except (OSError, LogError) as error:
            problems.add(Problem("parquet", f"its segment can't be read: {error}", closed.first, closed.last))
            continue
        for kind in {p.parent.name for p in mine} | tables.keys():
            path = path_of(directory, kind, closed.first, closed.last)
            rows += _compare(path, tables.get(kind), closed, problems)
    for path in sorted(files):
        problems.add(Problem("parquet", f"{path.parent.name}/{path.name} belongs to no closed segment"))
    return rows


def _compare(path: Path, expected: pa.Table | None, closed: Closed, problems: Problems) -> int:
    name = f"{path.parent.name}/{path.name}"
    if not path.exists():
        problems.add(Problem("parquet", f"{name} is missing", closed.first, closed.last))
        return 0
    try:
        found = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        problems.add(Problem("parquet", f"{name} can't be read: {error}", closed.first, closed.last))
        return 0
    if expected is None or not found.equals(expected):
        _name_rows(name, found, expected, problems)
    return found.num_rows


def _name_rows(name: str, found: pa.Table, expected: pa.Table | None, problems: Problems) -> None:
    if expected is None or found.schema != expected.schema:
        problems.add(Problem("parquet", f"{name} has other columns than its entries give"))
        return
    left = {row["leaf_index"]: row for row in found.to_pylist()}
    right = {row["leaf_index"]: row for row in expected.to_pylist()}
    for index in sorted({*left, *right}, key=lambda i: -1 if i is None else i):
        if index not in left:
            message = f"{name} lacks its row"
        elif index not in right:
            message = f"{name} has a row that no entry gives"
        elif left[index] != right[index]:
            fields = ", ".join(key for key in right[index] if left[index][key] != right[index][key])
            message = f"{name} doesn't say what the entry says: {fields}"
        else:
            continue
        problems.add(Problem("parquet", message, -1 if index is None else index, -1 if index is None else index))
    if found.num_rows != len(left):
        problems.add(Problem("parquet", f"{name} has rows twice"))
    elif list(left) != list(right) and left == right:
        problems.add(Problem("parquet", f"{name} has its rows in another order"))


def _frames(directory: Path, first: int, size: int) -> Iterable[Frame]:
    return segment.read_frames(segment.path_of(directory, first), 0, size)


def _check_hashes(store: SqliteLeafStore, closed: Closed, entries: pa.Table) -> None:
    stored = pa.array([h.hex() for h in store.hashes(0, closed.first, closed.last - closed.first + 1)])
    if len(stored) != entries.num_rows or not pc.all(pc.equal(entries["entry_hash"], stored)).as_py():
        raise LogError(
            f"the entries {closed.first} to {closed.last} aren't those that the index has: no Parquet is made of them",
            hint="run `taprail audit verify`, which names the entry",
        )


def _base(headers: list[Header], hashes: list[str], numbers: list[int], first: int) -> dict[str, list[Any]]:
    return {
        "leaf_index": [first + n for n in numbers],
        "entry_hash": [hashes[n] for n in numbers],
        "kind": [headers[n].kind for n in numbers],
        "time": [headers[n].timestamp_us for n in numbers],
    }


def _entries(headers: list[Header], hashes: list[str], first: int) -> pa.Table:
    arrays: dict[str, list[Any]] = {
        **_base(headers, hashes, list(range(len(headers))), first),
        "topic": [h.topic for h in headers],
        "partition": [h.partition for h in headers],
        "offset": [h.offset for h in headers],
        "schema_id": [h.schema_id for h in headers],
    }
    return pa.table({f.name: pa.array(arrays[f.name], f.type) for f in ENTRY_FIELDS}, ENTRY_FIELDS)


def _write(path: Path, rows: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pq.write_table(rows, temporary, compression="zstd")
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    segment.sync_directory(path.parent)
