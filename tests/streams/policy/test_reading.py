"""What a statement does, finer: verbs, conditions, probes, privileges."""

from __future__ import annotations

import pytest

from taprail.streams.policy import sql
from taprail.streams.policy.named import Reading
from taprail.streams.policy.reading import read


def reading(text: str) -> Reading:
    (statement,) = sql.parse(text).stmts
    return read(statement.stmt)


def touches(text: str) -> set[tuple[str, str, bool]]:
    """(relation, verb, filtered)"""
    return {(f"{t.schema}.{t.name}".lstrip("."), t.verb, t.filtered) for t in reading(text).touches}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("SELECT 1", ["SELECT"]),
        ("INSERT INTO t VALUES (1)", ["INSERT"]),
        ("INSERT INTO t SELECT * FROM s", ["INSERT", "SELECT"]),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", ["SELECT", "DELETE"]),
        ("WITH a AS (WITH u AS (UPDATE t SET x = 1) SELECT 1) SELECT 1", ["SELECT", "UPDATE"]),
        ("COPY (DELETE FROM t RETURNING x) TO STDOUT", ["COPY", "DELETE"]),
        ("EXPLAIN DELETE FROM t", ["EXPLAIN"]),
        ("EXPLAIN ANALYZE DELETE FROM t", ["EXPLAIN", "DELETE"]),
        ("EXPLAIN (ANALYZE, BUFFERS) CREATE TABLE z AS SELECT 1", ["EXPLAIN", "CREATE TABLE AS", "SELECT"]),
        ("MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
         ["MERGE", "DELETE", "INSERT"]),
        ("MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DO NOTHING", ["MERGE"]),
        ("PREPARE p AS DELETE FROM t", ["PREPARE", "DELETE"]),
        ("DECLARE c CURSOR FOR SELECT 1", ["DECLARE CURSOR", "SELECT"]),
        ("CREATE VIEW v AS SELECT 1", ["CREATE VIEW", "SELECT"]),
        ("REVOKE ALL ON t FROM r", ["REVOKE"]),
        ("REVOKE a FROM b", ["REVOKE ROLE"]),
    ],
)  # fmt: skip
def test_every_verb_in_a_statement_is_named(text: str, kinds: list[str]) -> None:
    assert set(reading(text).kinds) == set(kinds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DELETE FROM t", {("t", "delete", False)}),
        ("DELETE FROM t WHERE true", {("t", "delete", False)}),
        ("DELETE FROM t WHERE 1 = 1", {("t", "delete", False)}),
        ("DELETE FROM t WHERE now() > '2000-01-01'", {("t", "delete", False)}),
        ("DELETE FROM t WHERE $1", {("t", "delete", False)}),
        ("DELETE FROM t WHERE a = 1", {("t", "delete", True)}),
        ("UPDATE t SET a = 1 WHERE CURRENT OF c", {("t", "update", True)}),
        ("DELETE FROM t USING s", {("t", "delete", False), ("s", "read", False)}),
        ("UPDATE t SET a = 1 FROM s WHERE s.a = t.a", {("t", "update", True), ("s", "read", True)}),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", {("t", "delete", False), ("s", "read", False)}),
        ("TRUNCATE a, b.c", {("a", "truncate", True), ("b.c", "truncate", True)}),
        ("DROP TABLE a.b, c", {("a.b", "drop", True), ("c", "drop", True)}),
        ("SELECT * FROM t WHERE a = 1", {("t", "read", True)}),
        ("SELECT * FROM t", {("t", "read", False)}),
        ("SELECT * FROM (SELECT * FROM t) s WHERE s.a = 1", {("t", "read", True)}),
        ("SELECT (SELECT max(a) FROM t) FROM s WHERE b = 1", {("t", "read", False), ("s", "read", True)}),
        ("WITH c AS (SELECT * FROM t) SELECT * FROM c WHERE a = 1", {("t", "read", False)}),
        ("SELECT a FROM t WHERE a = 1 UNION SELECT a FROM s", {("t", "read", True), ("s", "read", False)}),
        ("COPY t TO STDOUT", {("t", "read", False)}),
        ("COPY t FROM STDIN", {("t", "insert", True)}),
        ("CREATE TABLE z AS SELECT * FROM t", {("z", "create", True), ("t", "read", False)}),
        ("SELECT * INTO z FROM t", {("z", "create", True), ("t", "read", False)}),
        ("GRANT SELECT ON t TO r", {("t", "grant", True)}),
        ("VACUUM t", {("t", "maintain", True)}),
        ("LOCK t", {("t", "lock", True)}),
        ("EXPLAIN DELETE FROM t", {("t", "read", False)}),
        ("SELECT * FROM t FOR UPDATE OF t", {("t", "read", False), ("t", "lock", True)}),
        ("SELECT * FROM t x, s FOR SHARE OF x", {("t", "read", False), ("t", "lock", True), ("s", "read", False)}),
        ("DELETE FROM t WHERE a = 1 RETURNING b", {("t", "delete", True), ("t", "read", True)}),
        ("DELETE FROM t WHERE EXISTS (SELECT * FROM s)", {("t", "delete", False), ("s", "read", False)}),
        (
            "MERGE INTO t USING s ON t.a = s.a WHEN NOT MATCHED BY SOURCE THEN DELETE",
            {("t", "delete", True), ("t", "delete", False), ("s", "read", True)},
        ),
        (
            "MERGE INTO t USING s ON t.a = s.a WHEN NOT MATCHED BY SOURCE AND t.b < 5 THEN DELETE",
            {("t", "delete", True), ("s", "read", True)},
        ),
        (
            "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2",
            {("t", "insert", True), ("t", "update", True)},
        ),
        (
            "CREATE SCHEMA s CREATE TABLE x (a int) GRANT SELECT ON t TO PUBLIC",
            {("x", "create", True), ("t", "grant", True)},
        ),
        ("DROP DATABASE d", {("d", "drop", True)}),
        ("DROP ROLE a, b", {("a", "drop", True), ("b", "drop", True)}),
        ("DROP FUNCTION a.f(int), g", {("a.f", "drop", True), ("g", "drop", True)}),
        ("DROP TYPE a.t", {("a.t", "drop", True)}),
        ("DROP TRIGGER x ON hr.staff", {("x", "drop", True), ("hr.staff", "alter", True)}),
        ("DROP SCHEMA hr CASCADE", {("hr.", "drop", True)}),
        ("WITH t AS (SELECT 1) SELECT * FROM t", set()),
    ],
)
def test_what_is_done_to_which_relation(text: str, expected: set[tuple[str, str, bool]]) -> None:
    assert touches(text) == expected


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("SELECT p FROM pg_authid AS a(o, n, s, p)", {"a.*", "p"}),
        ("SELECT 1 FROM a JOIN b USING (x)", {"x"}),
        ("SELECT 1 FROM a NATURAL JOIN b", {"*"}),
        ("INSERT INTO t VALUES (1)", {"t.*"}),
        ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2", {"t.a", "t.b"}),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET b = 1 WHEN NOT MATCHED THEN INSERT (c) VALUES (1)",
         {"t.b", "t.c"}),
        ("GRANT SELECT (salary) ON hr.staff TO bob", {"staff.salary"}),
        ("CREATE INDEX ON hr.staff (salary, lower(name))", {"staff.salary", "name"}),
        ("CREATE STATISTICS x ON a, b FROM t", {"a", "b"}),
        ("ALTER TABLE hr.staff RENAME salary TO x", {"staff.salary"}),
        ("ALTER TABLE t DROP COLUMN a, ALTER b TYPE int", {"t.a", "t.b"}),
    ],
)  # fmt: skip
def test_every_column_that_a_statement_names(text: str, columns: set[str]) -> None:
    found = reading(text)
    assert {f"{c.of}.{c.name}".lstrip(".") for c in (*found.columns, *found.written)} == columns


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("SELECT j.x FROM (a CROSS JOIN b) AS j", {"j": {"a", "b"}}),
        ("SELECT j.x FROM a JOIN b USING (x) AS j", {"j": {"a", "b"}}),
        ("DELETE FROM a RETURNING old.x, new.x", {"old": {"a"}, "new": {"a"}}),
        ("DELETE FROM a RETURNING WITH (OLD AS o) o.x", {"o": {"a"}}),
        ("INSERT INTO a VALUES (1) ON CONFLICT (x) DO UPDATE SET x = excluded.x", {"excluded": {"a"}}),
    ],
)
def test_what_an_alias_stands_for(text: str, relation: dict[str, set[str]]) -> None:
    assert relation.items() <= reading(text).aliases.items()


@pytest.mark.parametrize(
    ("where", "probes"),
    [
        ("email = 'x'", []),
        ("email IN ('x', 'y')", []),
        ("email = ANY($1)", []),
        ("email::text = 'x'", []),
        ("lower(email) = lower('X')", []),
        ("lower(email) LIKE 'a%'", ["email"]),
        ("upper(phone) > '5'", ["phone"]),
        ("btrim(email, 'x') = 'y'", ["email"]),
        ("email IN (SELECT x FROM s)", []),
        ("email = ANY (SELECT x FROM s)", []),
        ("email > ANY (SELECT x FROM s)", ["email"]),
        ("email IS NULL", []),
        ("email LIKE 'a%'", ["email"]),
        ("email ~ '^a'", ["email"]),
        ("email > 'a'", ["email"]),
        ("email BETWEEN 'a' AND 'b'", ["email"]),
        ("substr(email, 1, 1) = 'a'", ["email"]),
        ("length(email) = 3", ["email"]),
        ("1 / (ascii(email) - 97) = 1", ["email"]),
        ("CASE WHEN email = 'x' THEN true END", []),
        ("id > 5 AND email <> 'x'", ["id", "email"]),
    ],
)
def test_a_probe_is_what_is_compared_otherwise_than_for_equality(where: str, probes: list[str]) -> None:
    assert [c.name for c in reading(f"SELECT 1 FROM t WHERE {where}").probes] == probes


@pytest.mark.parametrize(
    "text",
    [
        "SELECT count(*) FILTER (WHERE email LIKE 'a%') FROM t",
        "SELECT t.id, count(*) FROM t, generate_series(1, ascii(email)) GROUP BY t.id",
        "SELECT s.id FROM t, LATERAL (SELECT id FROM s LIMIT ascii(email)) s",
    ],
)
def test_what_says_how_many_rows_there_are_is_a_condition(text: str) -> None:
    assert "email" in [c.name for c in reading(text).probes]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", {"default_transaction_read_only"}),
        ("SET TRANSACTION READ WRITE", {"transaction_read_only"}),
        ("BEGIN READ WRITE", {"transaction_read_only"}),
        ("BEGIN READ ONLY", set()),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", {"transaction_isolation"}),
    ],
)
def test_settings_of_transactions(text: str, settings: set[str]) -> None:
    assert set(reading(text).settings) == settings


@pytest.mark.parametrize(
    ("text", "privileges", "grantees", "options", "alters"),
    [
        ("GRANT SELECT, UPDATE ON t TO PUBLIC", ["SELECT", "UPDATE"], ["PUBLIC"], [], []),
        ("GRANT ALL ON SCHEMA s TO bob", ["ALL"], ["bob"], [], []),
        ("GRANT admin TO bob, CURRENT_USER", ["ROLE admin"], ["bob", "CURRENT_USER"], [], []),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bob", ["SELECT"], ["bob"], [], []),
        ("ALTER ROLE bob SUPERUSER NOLOGIN PASSWORD 'x'", [], [], ["SUPERUSER", "NOLOGIN", "PASSWORD"], []),
        ("CREATE ROLE eve IN ROLE admin BYPASSRLS REPLICATION", [], [], ["MEMBER", "BYPASSRLS", "REPLICATION"], []),
        ("ALTER TABLE t DROP COLUMN a, OWNER TO bob", [], ["bob"], [], ["DROP COLUMN", "CHANGE OWNER"]),
        ("ALTER SCHEMA s OWNER TO bob", [], ["bob"], [], ["CHANGE OWNER"]),
    ],
)  # fmt: skip
def test_who_gets_what(
    text: str, privileges: list[str], grantees: list[str], options: list[str], alters: list[str]
) -> None:
    found = reading(text)
    assert list(found.privileges) == privileges and list(found.grantees) == grantees
    assert list(found.role_options) == options and list(found.alters) == alters


def test_a_function_with_its_owners_rights() -> None:
    made = "CREATE FUNCTION f() RETURNS int LANGUAGE sql {} AS 'SELECT 1'"
    assert reading(made.format("SECURITY DEFINER")).definer
    assert not reading(made.format("SECURITY INVOKER")).definer
