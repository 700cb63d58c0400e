"""Functions that are called as if they were columns are functions: `o.keep` is `keep(o)` where there is no column."""

from __future__ import annotations

import pytest

from tests.streams.policy.small_world import catalog, guard, judge

# What is left of the dot has no such column; the server calls the function, as tried with PostgreSQL 18.
CALLS = {
    "SELECT o.keep FROM orders o": "keep",
    "SELECT orders.keep FROM orders": "keep",
    "SELECT public.orders.keep FROM public.orders": "keep",
    "SELECT (o).keep FROM orders o": "keep",
    "SELECT (1).keep": "keep",
    "SELECT ('x'::text).pg_read_file": "pg_read_file",
    "SELECT ((array['x'])[1]).pg_read_file": "pg_read_file",
    "SELECT (array['x'])[1].pg_read_file": "pg_read_file",
    "SELECT f.ts_stat FROM concat('SELECT to_tsvector(email) FROM customers') f": "ts_stat",
    "SELECT f.keep FROM generate_series(1, 2) AS f": "keep",
    "SELECT s.keep FROM (SELECT id FROM orders) s": "keep",
    "WITH c AS (SELECT id FROM orders) SELECT c.keep FROM c": "keep",
    "WITH c AS (SELECT id FROM orders) SELECT d.keep FROM c AS d": "keep",
    "SELECT (SELECT o.keep FROM orders o) FROM (SELECT 1 AS keep) o": "keep",
    "SELECT o.keep FROM orders o, (SELECT 1 AS keep) z": "keep",
    "WITH f AS (SELECT 1 AS ts_stat) SELECT f.ts_stat FROM concat('SELECT to_tsvector(email) FROM p') f": "ts_stat",
    "SELECT (SELECT f.ts_stat FROM concat('SELECT 1') f LIMIT 1) FROM (SELECT 1 AS ts_stat) f": "ts_stat",
    "SELECT (SELECT f.keep FROM generate_series(1, 2) f LIMIT 1) FROM (SELECT 1 AS keep) f": "keep",
    "SELECT f.ts_stat FROM concat('SELECT 1') f, scratch": "ts_stat",
    "SELECT f.keep FROM generate_series(1, 2) f, scratch": "keep",
    "SELECT s.ts_stat FROM (SELECT 'SELECT 1' AS ts_stat) s": "ts_stat",
    "WITH f AS (SELECT 1 AS pg_read_file) SELECT f.pg_read_file FROM concat('/etc/passwd') f": "pg_read_file",
    "SELECT f.keep FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS x int) f": "keep",
    "SELECT 1 FROM orders o WHERE o.keep = 1": "keep",
    "SELECT j.keep FROM (orders CROSS JOIN people) AS j": "keep",
    "UPDATE orders SET note = ('x'::text).pg_read_file WHERE id = 1": "pg_read_file",
    "DELETE FROM orders WHERE id = 1 RETURNING orders.keep": "keep",
    "EXPLAIN SELECT ('x'::text).pg_read_file": "pg_read_file",
    "PREPARE p AS SELECT ('x'::text).pg_read_file": "pg_read_file",
    "DECLARE c CURSOR FOR SELECT ('x'::text).pg_read_file": "pg_read_file",
    "CREATE TABLE z AS SELECT o.keep FROM orders o": "keep",
    "CREATE VIEW z AS SELECT ('x'::text).pg_read_file": "pg_read_file",
    "COPY (SELECT ('x'::text).pg_read_file) TO STDOUT": "pg_read_file",
    "CREATE TABLE z (a text DEFAULT ('x'::text).pg_read_file)": "pg_read_file",
    "VALUES (('x'::text).pg_read_file)": "pg_read_file",
    "SELECT 1 ORDER BY ('x'::text).pg_read_file": "pg_read_file",
}


@pytest.mark.parametrize(("text", "function"), CALLS.items())
def test_a_call_behind_a_dot_is_a_call(text: str, function: str) -> None:
    verdict = judge(guard(), text, "owner")
    assert function in verdict.facts.functions
    if function in ("pg_read_file", "ts_stat"):
        assert (verdict.action, verdict.rule) == ("deny", "server-programs")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT o.row_to_json FROM orders o",  # a column, here
        "SELECT o.id, o.ctid FROM orders o",
        "SELECT (o).id FROM orders o",
        "SELECT s.keep FROM (SELECT 1 AS keep) s",
        "SELECT s.keep FROM (SELECT 1) s(keep)",
        "SELECT s.row_to_json FROM (SELECT * FROM orders) s",
        "WITH c AS (SELECT 1 AS keep) SELECT d.keep FROM c d",
        "WITH RECURSIVE t AS (SELECT 1 AS keep UNION ALL SELECT x.keep + 1 FROM t x) SELECT y.keep FROM t y",
        "SELECT f.keep FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS keep int) f",
        "SELECT f.keep FROM json_to_recordset('[]') AS f(keep int)",
        "WITH c(keep) AS (SELECT 1) SELECT c.keep FROM c",
        "SELECT f.keep FROM generate_series(1, 2) AS f(keep)",
        "SELECT j.id, j.note FROM (orders CROSS JOIN peoplelog) AS j",
        "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET row_to_json = excluded.row_to_json",
        "SELECT x.anything FROM orders x",
    ],
)
def test_a_column_is_none(text: str) -> None:
    assert not {"keep", "row_to_json", "anything", "id"} & set(judge(guard(), text, "owner").facts.functions)


def test_what_is_executed_and_what_is_passed_to_it() -> None:
    prepared = {"p": "PREPARE p AS SELECT o.keep FROM orders o", "q": "PREPARE q AS SELECT $1"}
    assert "keep" in judge(guard(), "EXECUTE p", "owner", prepared=prepared).facts.functions
    passed = judge(guard(), "EXECUTE q(('x'::text).pg_read_file)", "owner", prepared=prepared)
    assert (passed.action, passed.rule) == ("deny", "server-programs")


def test_such_a_call_may_write_and_an_agent_doesnt() -> None:
    verdict = judge(guard(), "SELECT o.keep FROM orders o", "agent", purpose="OPS-1: look")
    assert (verdict.action, verdict.rule, verdict.mark) == ("deny", "agent-read-only", "carried")


@pytest.mark.parametrize(
    "expression",
    [
        "o.customer_email",
        "(o.id).customer_email",
        "(1).customer_email",
        "(16400::oid).lo_get",
        "(1).pg_stat_get_backend_activity",
        "(o).id",
        "(o.id).anything",
        "(c).note",
    ],
)
def test_what_it_gives_is_masked(expression: str) -> None:
    plan = judge(guard(), f"SELECT {expression}, customer_email(o.id) FROM orders o, customers c").mask
    assert plan is not None and 0 not in plan.clean


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO orders (note) VALUES ((1).customer_email)",
        "INSERT INTO orders (note) SELECT x.customer_email FROM unnest(ARRAY[1]) x",
        "UPDATE orders SET note = (id).customer_email WHERE id = 1",
        "CREATE TABLE zz AS SELECT (id).customer_email AS id FROM orders",
        "CREATE VIEW zz AS SELECT (id).customer_email AS id FROM orders",
        "ALTER TABLE orders ADD b text DEFAULT (1).customer_email",
        "SELECT (c.email).keep FROM customers c",
        "SELECT c.keep FROM customers c",
        "SELECT (hashtext(email)::bigint).pg_advisory_lock FROM customers",
        "SELECT lo_lseek64(0, ascii(email), 0) FROM customers",
        "SELECT lo_truncate64(0, ascii(email)) FROM customers",
    ],
)
def test_a_call_behind_a_dot_copies_and_sends_nothing_masked(text: str) -> None:
    verdict = judge(guard(), text)
    assert (verdict.action, verdict.rule) == ("deny", "masked-copy"), text


def test_what_was_left_in_a_large_object_is_masked() -> None:
    for function in ("lo_tell64(0)", "lo_lseek64(0, 0, 1)"):
        plan = judge(guard(), f"SELECT {function}").mask
        assert plan is not None and 0 not in plan.clean


def test_a_function_that_the_open_transaction_made_isnt_known_yet() -> None:
    """In a session that has changed what names stand for, a name behind a dot that is no column may be a function."""
    verdict = judge(guard(catalog()), "SELECT o.brandnew FROM orders o", "owner", reshaped=True)
    assert "brandnew" in verdict.facts.functions
