"""Parquet and answers: current, complete, equal to the entries; and a question can reach nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taprail.schemas.avro import encode, encode_suffix, enriched_schema_of
from taprail.schemas.errors import LogError, RefusedError
from taprail.schemas.ledger import Entry, Header
from taprail.schemas.records import Enrichment, Envelope, Outcome, Person, RelationUse, Statement
from taprail.streams.audit import questions, segment
from taprail.streams.audit.columns import columns_of
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.audit.parquet import check_rows, derive, path_of
from taprail.streams.audit.report import Problems
from taprail.streams.audit.store import SqliteLeafStore
from taprail.streams.audit.verify import verify

ANN = Person("ann", "Ann Example", "person", ("engineers",))
ROBOT, OTHER = Person("agent-1", "Robot", "agent"), Person("agent-2", "Other", "agent")
ENRICHMENT = Enrichment("Ann Example", ("engineers",), True, ("email",), (), 9)
CUSTOMERS = RelationUse("public", "customers", "read", ("email",))
SEALED = Envelope("A256GCM", "data-1", "record", "p", b"n" * 12, b"secret")


def statement(sequence: int, person: Person, tag: str, action: str, *relations: RelationUse) -> Statement:
    values = {name: 0 if hint in (int, "int") else "" for name, hint in Statement.__annotations__.items()}
    return msgspec.structs.replace(
        Statement(**values),  # type: ignore[arg-type]
        tap="t1",
        epoch=3,
        sequence=sequence,
        time_us=1_000_000 * sequence,
        person=person,
        tag=tag,
        action=action,
        writes=False,
        relations=relations,
        environment="prod",
        approvers=(),
        lineage=(),
        matched=(),
        terms=None,
        values=SEALED,
    )


def outcome(sequence: int, of: Statement, rows: int, status: str = "ok") -> Outcome:
    values = {name: 0 if hint in (int, "int") else "" for name, hint in Outcome.__annotations__.items()}
    return msgspec.structs.replace(
        Outcome(**values),  # type: ignore[arg-type]
        tap="t1",
        epoch=3,
        sequence=sequence,
        time_us=1_000_000 * sequence,
        person=of.person,
        statement_epoch=3,
        statement_sequence=of.sequence,
        status=status,
        relations=of.relations,
        rows=rows,
    )


def story() -> list[Statement | Outcome]:
    drop = statement(1, ANN, "DROP TABLE", "deny", RelationUse("public", "orders", "write"))
    bulk = statement(3, ANN, "SELECT", "allow", RelationUse("public", "orders", "read"))
    refused = statement(5, OTHER, "SELECT", "deny", CUSTOMERS)
    read, again = statement(7, ROBOT, "SELECT", "mask", CUSTOMERS), statement(9, ROBOT, "SELECT", "mask", CUSTOMERS)
    written = statement(11, OTHER, "UPDATE", "allow", RelationUse("public", "customers", "write"))
    return [
        *(drop, outcome(2, drop, 0, "denied"), bulk, outcome(4, bulk, 100_000)),
        *(refused, outcome(6, refused, 0, "denied"), read, outcome(8, read, 5)),
        *(again, outcome(10, again, 7), written, outcome(12, written, 1)),
    ]


@pytest.fixture
def log(world: Any) -> Any:
    """The story twelve times over a dozen records of small segments: three are closed, one is open."""
    book = SchemaBook(world.directory)
    schemas = {
        kind: book.add(number, json.dumps(enriched_schema_of(kind)))
        for number, kind in ((20, Statement), (21, Outcome))
    }
    world.limits = msgspec.structs.replace(world.limits, segment_entries=5)
    with world.open() as open_log:
        for number, record in enumerate(story()):
            schema_id = 20 if isinstance(record, Statement) else 21
            sha256, kind = schemas[type(record)]
            value = b"\0" + schema_id.to_bytes(4, "big") + encode(record) + encode_suffix(ENRICHMENT)
            header = Header("taprail.audit", 0, number, 1_000_000 * number, schema_id, sha256, kind)
            open_log.append([Entry(header, value)])
        open_log.append([Entry(Header("taprail.audit", 0, 50, 0, 99, bytes(32), "unknown"), b"no avro")])
        open_log.publish()
    return world


def test_answers_are_the_same_from_segments_and_from_parquet(log: Any) -> None:
    query = "SELECT * FROM statements ORDER BY leaf_index"
    columns, before = questions.sql(log.directory, query)
    files = derive(log.directory)
    assert {path.parent.name for path in files} == {"entries", "statement", "outcome"}
    assert derive(log.directory) == []
    assert questions.sql(log.directory, query) == (columns, before)
    assert len(before) == 6
    row = dict(zip(columns, before[0], strict=True))
    assert row["statement"] == "t1/3/1" and row["person_subject"] == "ann" and row["leaf_index"] == 0
    assert json.loads(row["relations"]) == [{"schema": "public", "name": "orders", "access": "write", "classes": []}]
    assert row["time"].timestamp() == 1 and row["directory_active"] is True
    assert json.loads(row["directory_groups"]) == ["engineers"]


def test_what_became_of_a_statement_in_a_transaction_block(world: Any) -> None:
    """Sequences 11 to 20 in one block: ROLLBACK TO at 14 undoes 12 and 13, 16 fails, 17 undoes it, 20 commits."""
    told = dict.fromkeys(range(11, 20), ("open", 0)) | {14: ("open", 12), 16: ("rolled_back", 0), 17: ("open", 16)}
    told |= {18: ("none", 0), 20: ("committed", 0), 30: ("open", 0), 31: ("open", 30)}
    block = statement(1, ANN, "SELECT", "allow")
    records = [
        msgspec.structs.replace(
            outcome(100 + n, msgspec.structs.replace(block, sequence=n), 1),
            session="s-1" if n < 30 else "s-2",
            transaction=7,
            transaction_status=status,
            undoes_from=undoes,
        )
        for n, (status, undoes) in told.items()
    ]
    schema = SchemaBook(world.directory).add(21, json.dumps(enriched_schema_of(Outcome)))
    with world.open() as open_log:
        for number, record in enumerate(records):
            value = b"\0" + (21).to_bytes(4, "big") + encode(record) + encode_suffix(ENRICHMENT)
            open_log.append([Entry(Header("taprail.audit", 0, number, number, 21, *schema), value)])
        open_log.publish()
    query = "SELECT statement_sequence, settled FROM outcomes ORDER BY 1"
    settled = dict(questions.sql(world.directory, query)[1])
    assert {n for n, status in settled.items() if status == "rolled_back"} == {12, 13, 16, 30}
    assert {n for n, status in settled.items() if status == "committed"} == {11, 14, 15, 17, 19, 20}
    assert (settled[18], settled[31]) == ("none", "open")


def test_encrypted_values_are_in_no_column(log: Any) -> None:
    files = derive(log.directory)
    assert not any("values" in name for name in questions.sql(log.directory, "SELECT * FROM statements")[0])
    assert not any(b"secret" in path.read_bytes() for path in files)


def test_every_entry_has_its_row_also_one_that_nobody_can_decode(log: Any) -> None:
    for _ in range(2):
        columns, rows = questions.sql(log.directory, "SELECT * FROM entries ORDER BY leaf_index")
        assert [row[columns.index("leaf_index")] for row in rows] == list(range(13))
        assert rows[12][columns.index("kind")] == "unknown"
        with log.open() as open_log:
            hashes = [h.hex() for h in open_log.store.hashes(0, 0, 13)]
        assert [row[columns.index("entry_hash")] for row in rows] == hashes
        derive(log.directory)


def test_an_answer_is_current_to_the_last_entry(log: Any) -> None:
    derive(log.directory)
    with log.open() as open_log:
        open_log.append([Entry(Header("taprail.audit", 0, 60, 0, 99, bytes(32), "unknown"), b"new")])
        assert questions.sql(log.directory, "SELECT count(*) FROM entries")[1] == [(14,)]


@pytest.mark.parametrize("derived", [False, True])
def test_ready_questions(log: Any, derived: bool) -> None:
    if derived:
        derive(log.directory)
    dropped = questions.who_tried_to_drop(log.directory)
    assert [(row[0], row[dropped.columns.index("action")]) for row in dropped.rows] == [("ann", "deny")]
    bulk = questions.read_in_bulk(log.directory)
    found = [(row[0], row[bulk.columns.index("relations")], row[bulk.columns.index("rows")]) for row in bulk.rows]
    assert found == [("ann", "orders", 100_000)]
    assert len(questions.read_in_bulk(log.directory, rows_min=5).rows) == 3
    assert questions.agents_that_read(log.directory, "customers").rows == [(1,)]
    assert questions.agents_that_read(log.directory, "customers", 11_000_000).rows == [(0,)]
    assert questions.agents_that_read(log.directory, "x' OR 'a' = 'a").rows == [(0,)]
    asked = questions.AGENTS_THAT_READ.format(relation="customers")
    assert questions.sql(log.directory, asked)[1] == [(1,)]
    assert dropped.size == 13


@pytest.mark.parametrize(
    "question, answer",
    [
        ("SELECT (SELECT count(*) FROM statements) + (SELECT count(*) FROM outcomes)", 12),
        ("WITH s AS (SELECT * FROM Statements) SELECT count(*) FROM s", 6),
        ("SELECT count(*) FROM statements JOIN outcomes ON statement_sequence = statements.sequence", 6),
        (
            "SELECT count(*) FROM statements JOIN outcomes o USING (statement) "
            "JOIN entries e ON e.leaf_index = o.leaf_index",
            6,
        ),
        ("SELECT count(*) FROM query('SELECT * FROM ' || 'statements')", 6),
        ("SELECT count(*) FROM main.statements WHERE statement IN (SELECT statement FROM outcomes)", 6),
        ("SELECT count(*) FROM duckdb_views() WHERE view_name IN ('statements', 'outcomes', 'alerts')", 3),
    ],
)
def test_a_question_gets_all_views_that_it_names(log: Any, question: str, answer: int) -> None:
    for _ in range(2):
        assert questions.sql(log.directory, question)[1] == [(answer,)]
        derive(log.directory)


def test_the_views_are_there_before_the_first_record(world: Any) -> None:
    world.open().close()
    for view in ("entries", "statements", "outcomes", "sessions", "changes", "detections", "approvals", "alerts"):
        columns, rows = questions.sql(world.directory, f"SELECT * FROM {view}")
        assert {"leaf_index", "entry_hash", "kind", "time"} <= set(columns) and rows == []
    assert questions.who_tried_to_drop(world.directory).rows == []


@pytest.mark.parametrize(
    "question",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('{directory}/parquet/*/*.parquet')",
        "SELECT * FROM read_blob('{directory}/checkpoint')",
        "SELECT * FROM sqlite_scan('{directory}/index.sqlite', 'leaves')",
        "SELECT * FROM read_text('http://127.0.0.1:1/x')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{directory}/x''')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM pa",
        "COPY (SELECT 1) TO '{directory}/x'",
        "COPY statements TO '{directory}/parquet/entries/x.parquet'",
        "ATTACH '{directory}/index.sqlite'",
        "INSTALL httpfs",
        "LOAD sqlite",
        "SET enable_external_access = true",
        "SET lock_configuration = false; SELECT 1",
        "PRAGMA database_list",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW statements",
        "SELECT 1; SELECT 2",
        "EXPORT DATABASE '{directory}/x'",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{directory}/x'",
        "",
        "SELEC 1",
    ],
)
def test_a_question_reaches_nothing_but_the_views(log: Any, question: str) -> None:
    derive(log.directory)
    before = sorted(log.directory.rglob("*"))
    with pytest.raises(RefusedError):
        questions.sql(log.directory, question.format(directory=log.directory))
    assert sorted(log.directory.rglob("*")) == before


def change_rows(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    table = pq.ParquetFile(path).read()
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), table.schema), path, compression="zstd")


def only_problem(log: Any) -> Any:
    report = verify(log.directory, log.verifier)
    assert len(report.problems) == 1, report.to_text()
    return report.problems[0]


def test_verification_compares_every_row_with_its_entry(log: Any) -> None:
    derive(log.directory)
    report = verify(log.directory, log.verifier)
    assert report.ok and report.parquet_rows == 20, report.to_text()
    path = path_of(log.directory, "statement", 0, 4)
    whole = path.read_bytes()
    change_rows(path, lambda rows: [{**r, "action": "allow"} if r["leaf_index"] == 0 else r for r in rows])
    problem = only_problem(log)
    assert (problem.kind, problem.first) == ("parquet", 0) and "action" in problem.message
    for change, said in (
        (lambda rows: rows[1:], "lacks its row"),
        (lambda rows: [*rows, {**rows[0], "leaf_index": 77}], "no entry gives"),
        (lambda rows: [*rows, rows[0]], "twice"),
        (lambda rows: rows[::-1], "another order"),
        (lambda rows: [{**r, "entry_hash": "00"} if r["leaf_index"] == 2 else r for r in rows], "entry_hash"),
    ):
        path.write_bytes(whole)
        change_rows(path, change)
        assert said in only_problem(log).message
    path.write_bytes(b"no parquet")
    assert "can't be read" in only_problem(log).message
    path.unlink()
    assert "is missing" in only_problem(log).message
    path.write_bytes(whole)
    shutil.copy(path, path.with_name(path.name.replace("4.parquet", "3.parquet")))
    assert "belongs to no closed segment" in only_problem(log).message


def test_no_parquet_is_made_of_changed_entries(log: Any) -> None:
    path = segment.path_of(log.directory, 0)
    path.write_bytes(path.read_bytes().replace(b"DROP TABLE", b"DROP INDEX"))
    derive(log.directory)  # the leaf hash doesn't cover the payload itself: verification names it, also in Parquet
    data = bytearray(segment.path_of(log.directory, 5).read_bytes())
    data[20] ^= 1
    segment.path_of(log.directory, 5).write_bytes(data)
    shutil.rmtree(log.directory / "parquet")
    with pytest.raises(LogError):
        derive(log.directory)


def test_columns_of_any_avro_schema() -> None:
    sealed = {"type": "record", "name": "E", "fields": [{"name": "c", "type": ["null", "bytes"]}]}
    schema = {
        "type": "record",
        "name": "R",
        "namespace": "n",
        "fields": [
            {"name": "kind", "type": "string"},
            {"name": "b", "type": "bytes"},
            {"name": "e", "type": sealed},
            {"name": "e2", "type": ["null", "n.E"]},
            {"name": "p", "type": {"type": "record", "name": "P", "fields": [{"name": "s", "type": "string"}]}},
            {"name": "p2", "type": ["null", "P"]},
            {"name": "list", "type": {"type": "array", "items": "P"}},
            {"name": "sealed", "type": {"type": "array", "items": "E"}},
            {"name": "map", "type": {"type": "map", "values": "long"}},
            {"name": "either", "type": ["string", "long"]},
            {"name": "color", "type": {"type": "enum", "name": "C", "symbols": ["red"]}},
            {"name": "stamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "flag", "type": "boolean"},
            {"name": "tree", "type": {"type": "record", "name": "T", "fields": [{"name": "t", "type": ["null", "T"]}]}},
        ],
    }
    names = [column.name for column in columns_of(schema)]
    assert names == [
        *("record_kind", "p_s", "p2_s", "list", "map", "either", "color", "stamp", "flag", "tree_t"),
    ]
    assert columns_of("string") == ()
    schema["fields"].append({"name": "me", "type": ["null", "n.R"]})  # type: ignore[attr-defined]
    assert [column.name for column in columns_of(schema)] == names


def test_problems_of_a_log_without_parquet_are_none(world: Any) -> None:
    world.fill(50)
    problems, store = Problems(), SqliteLeafStore.reading(world.directory)
    assert check_rows(world.directory, store, SchemaBook(world.directory), problems) == 0
    store.close()
    assert problems.found == []
