"""What a statement is, read from the server's own grammar."""

from __future__ import annotations

import pytest

from taprail.schemas.guard import Facts
from taprail.schemas.records import RelationUse
from taprail.streams.policy import sql
from taprail.streams.policy.facts import facts_of


def facts(text: str) -> Facts:
    (statement,) = sql.parse(text).stmts
    return facts_of(statement.stmt)


def uses(text: str) -> set[tuple[str, str]]:
    """(relation, access), with the schema where there is one."""
    return {(f"{r.schema}.{r.name}".lstrip("."), r.access) for r in facts(text).relations}


@pytest.mark.parametrize(
    ("text", "tag", "writes", "utility"),
    [
        ("SELECT 1", "SELECT", False, False),
        ("VALUES (1)", "SELECT", False, False),
        ("TABLE t", "SELECT", False, False),
        ("SELECT a INTO z FROM t", "SELECT INTO", True, False),
        ("INSERT INTO t VALUES (1)", "INSERT", True, False),
        ("UPDATE t SET a = 1", "UPDATE", True, False),
        ("DELETE FROM t", "DELETE", True, False),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "MERGE", True, False),
        ("WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d", "SELECT", True, False),
        ("WITH d AS (SELECT 1) SELECT * FROM d", "SELECT", False, False),
        ("COPY t TO STDOUT", "COPY", False, True),
        ("COPY t FROM STDIN", "COPY", True, True),
        ("COPY (DELETE FROM t RETURNING a) TO STDOUT", "COPY", True, True),
        ("COPY (SELECT 1) TO STDOUT", "COPY", False, True),
        ("EXPLAIN DELETE FROM t", "EXPLAIN", False, True),
        ("EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN", True, True),
        ("EXPLAIN (ANALYZE off) DELETE FROM t", "EXPLAIN", False, True),
        ("EXPLAIN (ANALYZE off, ANALYZE on) DELETE FROM t", "EXPLAIN", True, True),
        ("EXPLAIN (ANALYZE 1) CREATE TABLE z AS SELECT 1", "EXPLAIN", True, True),
        ("PREPARE p AS DELETE FROM t", "PREPARE", True, True),
        ("PREPARE p AS SELECT 1", "PREPARE", False, True),
        ("DECLARE c CURSOR FOR SELECT 1", "DECLARE CURSOR", False, True),
        ("FETCH ALL c", "FETCH", False, True),
        ("SHOW x", "SHOW", False, True),
        ("SET x = 1", "SET", False, True),
        ("LISTEN c", "LISTEN", False, True),
        ("LOCK t", "LOCK", False, True),
        ("CREATE TABLE t (a int)", "CREATE TABLE", True, True),
        ("CREATE TABLE t AS SELECT 1", "CREATE TABLE AS", True, True),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW", True, True),
        ("ALTER TABLE t RENAME COLUMN a TO b", "ALTER TABLE", True, True),
        ("DROP TABLE t", "DROP TABLE", True, True),
        ("TRUNCATE t", "TRUNCATE TABLE", True, True),
        ("GRANT SELECT ON t TO r", "GRANT", True, True),
        ("DO $$ $$", "DO", True, True),
        ("CALL p()", "CALL", True, True),
    ],
)
def test_kinds_of_statements(text: str, tag: str, writes: bool, utility: bool) -> None:
    found = facts(text)
    assert (found.tag, found.writes, found.utility) == (tag, writes, utility)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT * FROM a, s.b", {("a", "read"), ("s.b", "read")}),
        (
            "SELECT (SELECT max(x) FROM b) FROM a WHERE EXISTS (SELECT FROM c)",
            {("a", "read"), ("b", "read"), ("c", "read")},
        ),
        ("SELECT * FROM a o FOR UPDATE OF o", {("a", "read")}),
        ("WITH a AS (SELECT 1) SELECT * FROM a", set()),
        ("WITH a AS (SELECT 1) SELECT * FROM s.a", {("s.a", "read")}),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", {("a", "read")}),
        ("WITH RECURSIVE a AS (SELECT * FROM a) SELECT * FROM a", set()),
        ("WITH x AS (SELECT * FROM y), y AS (SELECT 1) SELECT * FROM x, y", {("y", "read")}),
        ("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) s, a", {("a", "read")}),
        ("WITH a AS (SELECT 1) INSERT INTO a SELECT * FROM a", {("a", "write")}),
        ("WITH a AS (SELECT 1) DELETE FROM a", {("a", "write")}),
        ("INSERT INTO a SELECT * FROM b ON CONFLICT DO NOTHING", {("a", "write"), ("b", "read")}),
        ("UPDATE a SET x = b.x FROM b", {("a", "write"), ("b", "read")}),
        ("DELETE FROM a USING b WHERE a.x = b.x", {("a", "write"), ("b", "read")}),
        ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", {("a", "write"), ("b", "read")}),
        ("TRUNCATE a, s.b", {("a", "write"), ("s.b", "write")}),
        ("DROP TABLE a, s.b", {("a", "write"), ("s.b", "write")}),
        ("COPY a TO STDOUT", {("a", "read")}),
        ("CREATE VIEW v AS SELECT * FROM a", {("v", "write"), ("a", "read")}),
        ("SELECT x INTO z FROM a", {("z", "write"), ("a", "read")}),
        ("CREATE TABLE z AS SELECT * FROM a", {("z", "write"), ("a", "read")}),
        ("SELECT * FROM a UNION SELECT * FROM b", {("a", "read"), ("b", "read")}),
        ("SELECT * FROM a LEFT JOIN LATERAL (SELECT * FROM b) l ON true", {("a", "read"), ("b", "read")}),
        ('SELECT * FROM "A"', {("A", "read")}),
        ('SELECT * FROM U&"\\0061"', {("a", "read")}),
        ("LOCK a", {("a", "read")}),
        ("EXPLAIN ANALYZE DELETE FROM a", {("a", "write")}),
        ("CREATE RULE r AS ON INSERT TO a DO ALSO DELETE FROM b", {("a", "write"), ("b", "write")}),
        ("CREATE TABLE z (LIKE a) INHERITS (b)", {("z", "write"), ("a", "read"), ("b", "read")}),
        ("CREATE TABLE z PARTITION OF a DEFAULT", {("z", "write"), ("a", "read")}),
        ("ALTER TABLE a INHERIT b", {("a", "write"), ("b", "read")}),
        ("CREATE INDEX ON a (x)", {("a", "write")}),
        ("ALTER SEQUENCE q RESTART", {("q", "write")}),
        ("COMMENT ON TABLE a IS 'x'", set()),
        ("REFRESH MATERIALIZED VIEW a", {("a", "write")}),
        ("CREATE POLICY p ON a USING (EXISTS (SELECT FROM b))", {("a", "write"), ("b", "read")}),
    ],
)
def test_relations(text: str, expected: set[tuple[str, str]]) -> None:
    assert uses(text) == expected


def test_a_script_is_split_where_the_server_splits_it() -> None:
    text = "SELECT 'ä;'; DO $$ ; $$;; CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; COMMIT"
    parts = [text.encode()[p.start : p.start + p.length].decode().strip() for p in sql.split(text)]
    assert [p.split(" ")[0] for p in parts] == ["SELECT", "DO", "CREATE", "COMMIT"]
    assert parts[2].endswith("SELECT 2; END")
    assert sql.split(" ; -- nothing\n") == ()


@pytest.mark.parametrize(
    ("text", "has_where"),
    [
        ("DELETE FROM t", False),
        ("DELETE FROM t WHERE true", True),
        ("UPDATE t SET a = 1 FROM s", False),
        ("WITH d AS (DELETE FROM t) UPDATE s SET a = 1 WHERE a = 2", False),
        ("WITH a AS (WITH b AS (UPDATE t SET x = 1) SELECT 1) SELECT 1", False),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1", True),
        ("EXPLAIN DELETE FROM t", True),
        ("COPY (DELETE FROM t RETURNING a) TO STDOUT", False),
    ],
)
def test_a_write_without_where_is_seen_anywhere(text: str, has_where: bool) -> None:
    assert facts(text).has_where is has_where


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ('SET search_path = a, "B c"', (("search_path", "a, B c"),)),
        ("SET LOCAL Work_Mem TO '4MB'", (("work_mem", "4MB"),)),
        ("SET ROLE x", (("role", "x"),)),
        ("SET SESSION AUTHORIZATION DEFAULT", (("session_authorization", ""),)),
        ("SET NAMES 'SJIS'", (("client_encoding", "SJIS"),)),
        ("RESET search_path", (("search_path", ""),)),
        ("RESET ALL", (("", ""),)),
        ("DISCARD ALL", (("", ""),)),
        ("SET TIME ZONE -3.5", (("timezone", "-3.5"),)),
        ("SELECT set_config('Role', 'x', false)", (("role", "x"),)),
        ("SELECT set_config('role', $1, false)", (("role", ""),)),
        ("SELECT set_config($1, 'x', false)", (("", "x"),)),
        ("SELECT pg_catalog.set_config('a' || 'b', 'x', false)", (("", "x"),)),
        ("SELECT set_config(setting_name => 'role', new_value => 'x', is_local => true)", (("", ""),)),
        ("SELECT 1 WHERE set_config('role', 'x', true) = 'x'", (("role", "x"),)),
    ],
)
def test_settings(text: str, settings: tuple[tuple[str, str], ...]) -> None:
    assert facts(text).settings == settings


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("PREPARE p AS SELECT 1", {"prepares": "p"}),
        ("EXECUTE p(1)", {"executes": "p"}),
        ("EXPLAIN EXECUTE p", {"executes": "p", "explain_analyze": False}),
        ("EXPLAIN ANALYZE EXECUTE p", {"executes": "p", "explain_analyze": True}),
        ('DECLARE "C" CURSOR FOR SELECT 1', {"declares": "C"}),
        ("FETCH 1 FROM c", {"fetches": "c"}),
        ("MOVE c", {"fetches": "c"}),
        ("DEALLOCATE p", {"deallocates": "p"}),
        ("DEALLOCATE ALL", {"deallocates": ""}),
        ("DISCARD ALL", {"deallocates": ""}),
        ("BEGIN", {"transaction": "begin"}),
        ("ROLLBACK TO s", {"transaction": "rollback_to"}),
        ("PREPARE TRANSACTION 'x'", {"transaction": "two_phase"}),
        ("CREATE TABLE z AS EXECUTE p", {"opaque": True, "executes": ""}),
        ("COPY t FROM PROGRAM 'x'", {"copy": "in", "functions": ("copy program",)}),
        ("SELECT a < b, x BETWEEN 1 AND 2, y OPERATOR(s.@@@) 1", {"operators": ("<", "<=", ">", ">=", "@@@")}),
        ("SELECT 1 = ANY (SELECT 2) ORDER BY 1 USING >", {"operators": ("=", ">")}),
        ("SELECT count(*), s.f(g(1))", {"functions": ("count", "s.f", "g")}),
        ("VACUUM t", {"markable": False}),
        ("CREATE INDEX CONCURRENTLY ON t (a)", {"markable": False}),
        ("REINDEX (CONCURRENTLY) TABLE t", {"markable": False}),
        ("REINDEX TABLE t", {"markable": False}),  # it may have partitions
        ("REINDEX SCHEMA s", {"markable": False}),
        ("CLUSTER t USING i", {"markable": False}),
        ("ALTER DATABASE d SET TABLESPACE s", {"markable": False}),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", {"markable": False}),
        ("ALTER TABLE t DETACH PARTITION p", {"markable": True}),
        ("ALTER TABLE t ADD a int", {"markable": True}),
        ("DO $$ BEGIN COMMIT; END $$", {"markable": False}),
        ("CREATE INDEX ON t (a)", {"markable": True, "reshapes": False}),
        ("ALTER TABLE t ADD a int", {"reshapes": True}),
        ("DROP TABLE t", {"reshapes": True}),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", {"reshapes": True}),
        ("DO $$ $$", {"opaque": True, "reshapes": True}),
        ("EXPLAIN ANALYZE CREATE TABLE z AS SELECT 1", {"reshapes": False, "opaque": False}),
        ("CREATE TEMP TABLE t (a int)", {"reshapes": False}),
        ("ALTER AGGREGATE a (int) RENAME TO sum", {"opaque": True}),
        ("CREATE TYPE t AS ENUM ('a')", {"opaque": False}),
        ('CREATE COLLATION c FROM "C"', {"opaque": False}),
    ],
)
def test_what_else_is_known(text: str, names: dict[str, object]) -> None:
    found = facts(text)
    assert {name: getattr(found, name) for name in names} == names


def test_the_same_relation_is_named_once_for_each_access() -> None:
    found = facts("INSERT INTO t SELECT * FROM t, t AS u, (TABLE t) AS v")
    assert found.relations == (RelationUse("", "t", "write"), RelationUse("", "t", "read"))
