"""Facts of other dialects mean what PostgreSQL's mean: the two readers against each other, and what only one reads."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from google.protobuf.json_format import MessageToDict

from taprail.schemas.errors import RefusedError
from taprail.streams.policy.example import facts_of_example
from taprail.streams.policy.packs import shipped
from taprail.streams.policy.policy import Dialect, Example
from taprail.streams.policy.trial import rule_now, try_all

Other = Literal["mysql", "tsql"]
TABLES = {"public.t": "a integer, b text, c text, d integer", "public.s": "a integer, b text", "hr.staff": "id integer"}
# What all three understand.
COMMON = """
SELECT 1
SELECT a, b FROM t
SELECT * FROM t
SELECT t.* FROM t
SELECT id FROM hr.staff
SELECT count(*) FROM t
SELECT x.a FROM t AS x WHERE x.b = '1'
SELECT email FROM customers WHERE id = 1 AND name LIKE 'x%'
SELECT id FROM customers WHERE lower(email) = 'x'
SELECT id FROM customers WHERE phone > '5' OR email IN ('1', '2')
SELECT id FROM customers WHERE email BETWEEN 'a' AND 'b'
SELECT id FROM customers WHERE email IS NULL
SELECT id FROM customers WHERE email <> 'x' AND NOT phone = 'y'
SELECT id FROM customers WHERE email IN (SELECT email FROM customers WHERE id = 2)
SELECT a FROM t WHERE 1 = 1
SELECT o.id, c.email FROM orders o JOIN customers c ON c.id = o.customer_id
SELECT o.id FROM orders o LEFT JOIN customers c ON c.id = o.customer_id WHERE c.name = 'x'
SELECT t.a FROM t, s
SELECT t.a FROM t CROSS JOIN s
SELECT * FROM (SELECT * FROM t) s WHERE s.a = 1
SELECT (SELECT max(a) FROM t) FROM s WHERE b = '1'
SELECT a FROM t WHERE EXISTS (SELECT 1 FROM s WHERE s.a = t.a)
WITH c AS (SELECT * FROM t) SELECT * FROM c WHERE a = 1
WITH c AS (SELECT a FROM t), d AS (SELECT a FROM c) SELECT a FROM d
WITH t AS (SELECT a FROM s) SELECT a FROM t
SELECT a FROM t WHERE a = 1 UNION SELECT a FROM s
SELECT a FROM t UNION ALL SELECT a FROM s WHERE b = '2'
SELECT a, max(b) FROM t GROUP BY a HAVING max(b) > '5'
SELECT a FROM t ORDER BY b
SELECT coalesce(b, 'x'), CASE WHEN b = '1' THEN 2 END FROM t
SELECT sum(amount), avg(amount) FROM payments WHERE amount > 10
INSERT INTO t (a, b) VALUES (1, '2')
INSERT INTO customers VALUES (1, 'a', 'b', 'c', 'd')
INSERT INTO t SELECT * FROM s
INSERT INTO t (a) SELECT a FROM s WHERE b = '1'
UPDATE t SET a = 1
UPDATE t SET a = 1, b = c WHERE d = 5
UPDATE t SET a = (SELECT max(a) FROM s) WHERE b = '1'
UPDATE hr.staff SET id = 1 WHERE 1 = 1
DELETE FROM t
DELETE FROM hr.staff WHERE id = 1
DELETE FROM t WHERE 1 = 1
DELETE FROM t WHERE a IN (SELECT a FROM s)
MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = s.b WHEN NOT MATCHED THEN INSERT (a) VALUES (s.a)
MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE
CREATE TABLE z (a int, b varchar(10))
CREATE TABLE z AS SELECT * FROM t
CREATE VIEW v AS SELECT a FROM t WHERE b = '1'
CREATE INDEX i ON t (a)
DROP TABLE t
DROP TABLE hr.staff, s
DROP VIEW v
DROP DATABASE x
ALTER TABLE t DROP COLUMN a
ALTER TABLE t ADD COLUMN e int
TRUNCATE TABLE t
GRANT SELECT ON t TO bob
GRANT SELECT, UPDATE ON hr.staff TO bob
REVOKE SELECT ON t FROM bob
COMMIT
ROLLBACK
SAVEPOINT x
RELEASE SAVEPOINT x
CALL p()
WITH c AS (SELECT a FROM t) INSERT INTO s SELECT a, 'x' FROM c
SELECT a FROM t; DELETE FROM s
""".strip().splitlines()
# The same in words of their own: what PostgreSQL calls it, and what they do.
TRANSLATED: list[tuple[Other, str, str]] = [
    ("mysql", "SELECT 1 FROM customers JOIN people USING (email)", "SELECT 1 FROM customers JOIN people USING (email)"),
    ("mysql", "SELECT 1 FROM t NATURAL JOIN s", "SELECT 1 FROM t NATURAL JOIN s"),
    ("mysql", "SELECT c.x FROM patients AS c(a, b, x)", "SELECT c.x FROM patients AS c(a, b, x)"),
    ("mysql", "DELETE FROM t WHERE a = 1 RETURNING b", "DELETE FROM t WHERE a = 1 RETURNING b"),
    ("mysql", "SELECT `a` FROM `t` WHERE `b` <=> 'x'", "SELECT a FROM t WHERE b IS NOT DISTINCT FROM 'x'"),
    ("mysql", "SELECT a FROM t LIMIT 5", "SELECT a FROM t LIMIT 5"),
    ("tsql", "SELECT TOP 5 a FROM t", "SELECT a FROM t LIMIT 5"),
    ("tsql", "SELECT [a] FROM [hr].[staff]", "SELECT a FROM hr.staff"),
    ("tsql", "SELECT a INTO z FROM t", "SELECT a INTO z FROM t"),
    ("mysql", "SELECT a FROM t FOR UPDATE", "SELECT a FROM t FOR UPDATE"),
    ("mysql", "DELETE t FROM t JOIN s ON t.a = s.a", "DELETE FROM t USING s WHERE t.a = s.a"),
    ("tsql", "DELETE x FROM t AS x JOIN s ON x.a = s.a", "DELETE FROM t x USING s WHERE x.a = s.a"),
    ("mysql", "DELETE t FROM t JOIN s", "DELETE FROM t USING s"),
    ("mysql", "DELETE FROM t LIMIT 5", "DELETE FROM t"),
    ("mysql", "UPDATE t AS x SET x.a = 1", "UPDATE t AS x SET a = 1"),
    ("tsql", "UPDATE x SET a = 1 FROM t AS x WHERE x.b = 'y'", "UPDATE t AS x SET a = 1 WHERE x.b = 'y'"),
    ("mysql", "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE b = 'x'",
     "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 'x'"),
    ("mysql", "EXPLAIN DELETE FROM t", "EXPLAIN DELETE FROM t"),
    ("mysql", "EXPLAIN ANALYZE SELECT a FROM t", "EXPLAIN ANALYZE SELECT a FROM t"),
    ("mysql", "START TRANSACTION", "BEGIN"),
    ("mysql", "START TRANSACTION READ WRITE", "BEGIN READ WRITE"),
    ("mysql", "START TRANSACTION READ ONLY", "BEGIN READ ONLY"),
    ("mysql", "SET SESSION TRANSACTION READ WRITE", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"),
    ("mysql", "SET TRANSACTION READ WRITE", "SET TRANSACTION READ WRITE"),
    ("tsql", "BEGIN TRANSACTION", "BEGIN"),
    ("tsql", "SAVE TRANSACTION x", "SAVEPOINT x"),
    ("mysql", "ROLLBACK TO SAVEPOINT x", "ROLLBACK TO SAVEPOINT x"),
    ("mysql", "SET GLOBAL general_log = 'OFF'", "SET general_log = 'OFF'"),
]  # fmt: skip


def facts(text: str, dialect: Dialect) -> list[dict[str, Any]]:
    """Of each statement what a policy sees; the text itself aside."""
    found = []
    for messages in facts_of_example(Example(text, dialect, tables=TABLES)):
        said = MessageToDict(messages["statement"])
        said.pop("text", None), said.pop("fingerprint")
        for each in said.get("relations", []):
            each["columns"] = sorted(each.get("columns", []))
        unordered = {
            name: sorted(value) for name, value in said.items() if isinstance(value, list) and name != "relations"
        }
        said["relations"] = sorted(said.get("relations", []), key=lambda each: (each["full"], each["verb"]))
        found.append(said | unordered)
    return found


@pytest.mark.parametrize("dialect", ["mysql", "tsql"])
@pytest.mark.parametrize("text", COMMON)
def test_both_readers_say_the_same(text: str, dialect: Other) -> None:
    assert facts(text, dialect) == facts(text, "postgresql")


@pytest.mark.parametrize(("dialect", "theirs", "ours"), TRANSLATED)
def test_what_another_dialect_says_in_its_own_words_means_the_same(dialect: Other, theirs: str, ours: str) -> None:
    assert facts(theirs, dialect) == facts(ours, "postgresql")


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("mysql", "/*!50000 DROP TABLE t */"),
        ("mysql", "SELECT 1 /*!50000 INTO OUTFILE '/tmp/x' FROM t */"),
        ("mysql", "SELECT 1 /*M! UNION SELECT * FROM t */"),
        ("mysql", "FLUSH PRIVILEGES"),
        ("mysql", "RESET MASTER"),
        ("mysql", "RENAME TABLE t TO u"),
        ("mysql", "OPTIMIZE TABLE t"),
        ("mysql", "LOCK TABLES t WRITE"),
        ("mysql", "PREPARE p FROM 'DELETE FROM t'"),
        ("mysql", "EXECUTE p"),
        ("mysql", "KILL 5"),
        ("mysql", "CREATE PROCEDURE p() BEGIN DELETE FROM t; END"),
        ("mysql", "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW DELETE FROM s"),
        ("mysql", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t"),
        ("mysql", "GRANT ALL PRIVILEGES ON *.* TO 'bob'@'%'"),
        ("tsql", "EXEC xp_cmdshell 'dir'"),
        ("tsql", "EXEC('DELETE FROM t')"),
        ("tsql", "SELECT 1 DELETE FROM t"),
        ("tsql", "IF 1 = 1 DROP TABLE t"),
        ("tsql", "WHILE 1 = 1 DELETE FROM t"),
        ("tsql", "BEGIN DELETE FROM t END"),
        ("tsql", "WITH c AS (SELECT * FROM t) DELETE FROM c"),
        ("tsql", "CREATE PROCEDURE p AS DELETE FROM t"),
        ("tsql", "sp_who"),
        ("tsql", "ALTER ROLE db_owner ADD MEMBER bob"),
    ],
)
def test_what_isnt_understood_as_a_whole_is_opaque_and_may_write(dialect: Other, text: str) -> None:
    said = facts(text, dialect)
    assert any(each.get("opaque") and each.get("writes") for each in said)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("mysql", "SELECT * FROM t INTO OUTFILE '/tmp/x'"),
        ("mysql", "LOAD DATA LOCAL INFILE '/x' INTO TABLE t"),
        ("mysql", "HANDLER t OPEN"),
        ("mysql", "INSTALL PLUGIN x SONAME 'y'"),
        ("mysql", "SELECT 'a"),
        ("tsql", "BULK INSERT t FROM 'x'"),
        ("tsql", "EXECUTE AS USER = 'x'"),
        ("tsql", "INSERT INTO t EXEC p"),
        ("tsql", "SELECT a FROM s DROP TABLE t"),
        ("mysql", "(" * 5_000 + "SELECT 1" + ")" * 5_000),
        ("mysql", "SELECT '" + "x" * 200_000 + "'"),
    ],
)
def test_what_cant_be_read_is_refused(dialect: Other, text: str) -> None:
    with pytest.raises(RefusedError):
        facts(text, dialect)


@pytest.mark.parametrize(
    ("dialect", "text", "escapes", "foreign"),
    [
        ("mysql", "SELECT load_file('/etc/passwd')", ["file"], []),
        ("mysql", "SELECT sys_eval('id')", ["program"], ["sys_eval"]),
        ("mysql", "SELECT my_function(a) FROM t", [], ["my_function"]),
        ("mysql", "SELECT sleep(5), upper(b) FROM t", [], []),
        ("tsql", "EXEC xp_cmdshell 'dir'", ["program"], []),
        ("tsql", "SELECT * FROM OPENROWSET('SQLNCLI', 'x', 'y')", ["dblink"], ["openrowset"]),
    ],
)
def test_ways_out_and_functions_that_arent_the_servers_own(
    dialect: Other, text: str, escapes: list[str], foreign: list[str]
) -> None:
    [said] = facts(text, dialect)
    assert (said.get("escapes", []), said.get("foreignFunctions", [])) == (escapes, foreign)


def test_replace_deletes_and_inserts() -> None:
    [said] = facts("REPLACE INTO t (a) VALUES (1)", "mysql")
    assert set(said["kinds"]) == {"INSERT", "DELETE"} and {each["verb"] for each in said["relations"]} == {
        "insert",
        "delete",
    }


def test_what_mysqls_update_joins_is_read_and_may_be_written() -> None:
    [said] = facts("UPDATE t JOIN s ON t.a = s.a SET t.b = s.b", "mysql")
    verbs = {(each["name"], each["verb"]) for each in said["relations"]}
    assert verbs == {("t", "update"), ("s", "update"), ("s", "read")}


def test_a_use_of_another_database_is_a_setting() -> None:
    [said] = facts("USE secrets", "mysql")
    assert said["settings"] == ["search_path"]


def test_the_text_holds_no_literal_and_no_comment() -> None:
    text = "SELECT a /* why */ FROM t WHERE b = 'secret' AND d = 5 -- end"
    [messages] = facts_of_example(Example(text, "mysql", tables=TABLES))
    statement: Any = messages["statement"]
    assert statement.text == "SELECT a FROM t WHERE b = ? AND d = ?"


@pytest.mark.parametrize("dialect", ["mysql", "tsql"])
def test_what_ships_says_the_same_of_the_same_statement(dialect: Other) -> None:
    """Every example of every policy that both can read, and understand, goes the same way."""
    compared = 0
    for policy in shipped().policies:
        for each in (*policy.tests.match, *policy.tests.passes):
            example = Example(each) if isinstance(each, str) else each
            given = policy.tests.given
            if _POSTGRESQL.search(example.sql):
                continue
            try:
                theirs = list(facts_of_example(_in(example, dialect), given))
                ours = list(facts_of_example(example, given))
            except RefusedError:
                continue
            pairs = [(t, o) for t, o in zip(theirs, ours, strict=False) if not _opaque(t) and not _opaque(o)]
            for their_facts, our_facts in pairs:
                said, expected = rule_now(shipped(), their_facts), rule_now(shipped(), our_facts)
                assert {m.policy for m in said.matches} == {m.policy for m in expected.matches}, example.sql
                compared += 1
    assert compared >= 150
    assert compared >= 100


# Functions that mean something in PostgreSQL alone.
_POSTGRESQL = re.compile(r"\.row_to_json|set_config|\blo_\w+|\bpg_\w+\(")


def _in(example: Example, dialect: Dialect) -> Example:
    fields = {name: getattr(example, name) for name in example.__struct_fields__}
    return Example(**fields | {"dialect": dialect})


def _opaque(messages: Any) -> bool:
    return bool(messages["statement"].opaque)


def test_a_policys_own_tests_may_be_in_another_dialect() -> None:
    policy = next(each for each in shipped().policies if each.id == "unbounded-write")
    assert {tried.sql for tried in try_all([policy]) if "`" in tried.sql}
    assert not [tried for tried in try_all([policy]) if tried.wrong]
