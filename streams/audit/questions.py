"""Questions to the log: DuckDB over one view for each kind of record, current to the newest committed entry.

Closed segments are read from their Parquet, everything newer is decoded from its segment in memory. A question is one
SELECT: it can reach the views and nothing else, no file, no network, no setting. Views (docs have each column):

    entries      every leaf: leaf_index, entry_hash, kind, time, topic, partition, offset, schema_id
    statements   what somebody wanted to run, and the verdict       outcomes    how it ended: rows, bytes, status
    sessions     connections that opened, closed, were refused      changes     committed row changes, attributed
    detections   rules that fired                                   approvals   held statements that asked
    alerts       messages to people

An outcome's `settled` says what became of the statement in the end (committed, rolled_back); `transaction_status` is
what was known when it ended: 'open' inside a transaction block. Where `settled` is 'open', too, the block hasn't
ended, or its connection was lost before it did, and the server has rolled it back.

and `<kind>s` for any other kind in the log. A nested record's fields are `<field>_<inner>` (`person_subject`); lists
are JSON text. `statement` is `tap/epoch/sequence`. Two macros help with `relations`: `relation_names(relations)` is a
list of names, `reads(relations, 'customers')` is true where the relation is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from msgspec import Struct

from taprail.schemas import records
from taprail.schemas.avro import enriched_schema_of, schema_of
from taprail.schemas.errors import RefusedError
from taprail.streams.audit import segment
from taprail.streams.audit.columns import arrow_schema, columns_of
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.audit.parquet import ENTRIES, ENTRY_FIELDS, FOLDER, closed_segments, path_of, tables_of
from taprail.streams.audit.store import SqliteLeafStore

MEMORY = "2GB"
LOCKS = ("enable_external_access = false", "python_enable_replacements = false", "lock_configuration = true")
BULK_ROWS = 10_000
FAR_FUTURE_US = 1 << 62

SHIPPED: dict[str, pa.Schema] = {
    ENTRIES: ENTRY_FIELDS,
    "statement": arrow_schema(columns_of(enriched_schema_of(records.Statement))),
    "outcome": arrow_schema(columns_of(enriched_schema_of(records.Outcome))),
    "session": arrow_schema(columns_of(enriched_schema_of(records.Session))),
    "change": arrow_schema(columns_of(schema_of(records.Change))),
    "detection": arrow_schema(columns_of(schema_of(records.Detection))),
    "approval": arrow_schema(columns_of(schema_of(records.Approval))),
    "approval_state": arrow_schema(columns_of(schema_of(records.ApprovalState))),
    "alert": arrow_schema(columns_of(schema_of(records.Alert))),
}

MACROS = """
CREATE MACRO relation_names(relations) AS json_extract_string(relations, '$[*].name');
CREATE MACRO reads(relations, relation) AS
    contains(relations, relation) AND list_contains(
        list_transform(
            from_json(relations, '[{"name": "VARCHAR", "access": "VARCHAR"}]'),
            lambda used: used.name || '/' || used.access
        ),
        relation || '/read'
    );
"""
# What became of a statement in the end: inside a transaction block the last outcome of the block tells, unless a
# ROLLBACK TO that came after it has undone it.
SETTLED = """, CASE
    WHEN transaction_status <> 'open' THEN transaction_status
    WHEN min(nullif(undoes_from, 0)) OVER (in_transaction ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
        <= statement_sequence THEN 'rolled_back'
    ELSE last_value(nullif(transaction_status, 'none') IGNORE NULLS)
        OVER (in_transaction ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
END AS settled"""
IN_TRANSACTION = " WINDOW in_transaction AS (PARTITION BY tap, session, transaction ORDER BY statement_sequence)"
WHO_TRIED_TO_DROP = """
SELECT person_subject, person_name, person_kind, time, environment, server, database, action, rule, normalized,
       statement, leaf_index
FROM statements WHERE tag = 'DROP TABLE' ORDER BY leaf_index
"""
READ_IN_BULK = f"""
SELECT person_subject, person_name, person_kind, time, environment, server, database,
       array_to_string(relation_names(relations), ', ') AS relations, rows, bytes, statement, leaf_index
FROM outcomes WHERE rows >= {BULK_ROWS} AND contains(relations, '"read"') ORDER BY rows DESC, leaf_index
"""
AGENTS_THAT_READ = """
SELECT count(DISTINCT person_subject) AS agents
FROM outcomes WHERE person_kind = 'agent' AND status = 'ok' AND reads(relations, '{relation}')
"""


class Answer(Struct, frozen=True):
    """Column names, rows, and the size of the log that the answer stands on."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    size: int


def sql(directory: Path | str, query: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Answer one SELECT: column names and rows. Raises RefusedError where it is none, or DuckDB can't answer it."""
    answer = ask(Path(directory), query, parameters)
    return answer.columns, answer.rows


def ask(directory: Path, query: str, parameters: Sequence[Any] = ()) -> Answer:
    """As `sql`, with the size of the log that was looked at."""
    _check(query)
    with duckdb.connect(":memory:", config={"memory_limit": MEMORY, "temp_directory": ""}) as connection:
        size = _views(connection, directory, _asked(query))
        try:
            found = connection.execute(query, list(parameters))
            return Answer([column[0] for column in found.description or ()], found.fetchall(), size)
        except duckdb.Error as error:
            hint = f"the views are {', '.join(map(view_of, SHIPPED))}"
            raise RefusedError(f"the question can't be answered: {error}", hint=hint) from error


def who_tried_to_drop(directory: Path) -> Answer:
    """Who tried to drop a table: person, time, place, verdict."""
    return ask(directory, WHO_TRIED_TO_DROP)


def read_in_bulk(directory: Path, rows_min: int = BULK_ROWS) -> Answer:
    """Which data was read in bulk, by whom, how many rows; the largest read first."""
    return ask(directory, READ_IN_BULK.replace(str(BULK_ROWS), "?"), [rows_min])


def agents_that_read(directory: Path, relation: str, since_us: int = 0, until_us: int = FAR_FUTURE_US) -> Answer:
    """How many distinct agents read a relation with since <= time < until (microseconds since 1970 UTC)."""
    query = AGENTS_THAT_READ.replace("'{relation}'", "?") + "AND time_us >= ? AND time_us < ?"
    return ask(directory, query, [relation, since_us, until_us])


def _check(query: str) -> None:
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise RefusedError(f"the question is no SQL: {error}") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise RefusedError("a question is one SELECT", hint="the log can't be changed, and nothing else can be reached")


def _asked(query: str) -> frozenset[str]:
    """The views that a question names, so that only they are made. Empty where that can't be said: then all are."""
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        connection.execute(MACROS)
        try:
            return frozenset(name.lower() for name in connection.get_table_names(query))
        except duckdb.Error:
            return frozenset()


def _views(connection: duckdb.DuckDBPyConnection, directory: Path, asked: frozenset[str]) -> int:
    """Make the views and lock everything else away; returns the log's size."""

    def wanted(kind: str) -> bool:
        return not asked or view_of(kind) in asked

    store = SqliteLeafStore.reading(directory)
    try:
        size = store.size
        files, newest = _sources(directory, store, wanted)
    finally:
        store.close()
    connection.execute(MACROS)
    for kind in [*SHIPPED, *sorted((files.keys() | newest.keys()) - SHIPPED.keys())]:
        if wanted(kind):
            _view(connection, kind, files.get(kind, []), newest.get(kind))
    readable = [str(path) for paths in files.values() for path in paths]
    connection.execute("SET allowed_paths = ?", [readable])
    for setting in LOCKS:
        connection.execute(f"SET {setting}")
    return size


def _sources(
    directory: Path, store: SqliteLeafStore, wanted: Callable[[str], bool]
) -> tuple[dict[str, list[Path]], dict[str, pa.Table]]:
    """For each kind the Parquet files of derived segments, and one table of all entries that are in none."""
    files: dict[str, list[Path]] = {}
    parts: dict[str, list[pa.Table]] = {}
    derived = {path.name for path in (directory / FOLDER / ENTRIES).glob("*.parquet")}
    closed = {path_of(directory, ENTRIES, c.first, c.last).name: c for c in closed_segments(store)}
    for path in sorted((directory / FOLDER).glob("*/*.parquet")):
        if path.name in derived and path.name in closed and wanted(path.parent.name):
            files.setdefault(path.parent.name, []).append(path)
    book = SchemaBook(directory)
    fresh = [(c.first, c.bytes) for name, c in closed.items() if name not in derived]
    for first, length in fresh + store.segments()[-1:]:
        frames = segment.read_frames(segment.path_of(directory, first), 0, length)
        for kind, table in tables_of(frames, first, book, wanted).items():
            parts.setdefault(kind, []).append(table)
    return files, {kind: pa.concat_tables(tables, promote_options="permissive") for kind, tables in parts.items()}


def view_of(kind: str) -> str:
    return ENTRIES if kind == ENTRIES else f"{kind}s"


def _view(connection: duckdb.DuckDBPyConnection, kind: str, files: list[Path], newest: pa.Table | None) -> None:
    """All rows of a kind by column name; the shipped columns are there also where no row has them yet."""
    parts = []
    if kind in SHIPPED:
        connection.register(f"shipped_{kind}", SHIPPED[kind].empty_table())
        parts.append(f"SELECT * FROM shipped_{kind}")
    if files:
        names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
        parts.append(f"SELECT * FROM read_parquet([{names}], union_by_name = true, hive_partitioning = false)")
    if newest is not None:
        connection.register(f"newest_{kind}", newest)
        parts.append(f"SELECT * FROM newest_{kind}")
    rows = " UNION ALL BY NAME ".join(parts)
    columns = {row[0] for row in connection.execute(f"DESCRIBE {rows}").fetchall()}
    settled, window = (SETTLED, IN_TRANSACTION) if kind == "outcome" else ("", "")
    connection.execute(f'CREATE VIEW "{view_of(kind)}" AS SELECT *{_statement(columns)}{settled} FROM ({rows}){window}')


def _statement(columns: set[str]) -> str:
    """The readable id of the statement that a row is about, where its record has one and doesn't say it already."""
    if "statement" in columns or not {"tap", "epoch", "sequence"} <= columns:
        return ""
    prefix = "statement_" if "statement_epoch" in columns else ""
    return f", tap || '/' || {prefix}epoch || '/' || {prefix}sequence AS statement"
