"""Which outputs are clean by construction: what isn't proven is masked, and what is clean isn't."""

from __future__ import annotations

import pytest

from taprail.schemas.guard import Request
from taprail.streams.masking.clean import Proof
from taprail.streams.policy import sql
from tests.streams.policy.small_world import catalog, guard, session


def outputs(text: str, search_path: str = "public") -> tuple[frozenset[int], int]:
    node = sql.parse(text).stmts[0].stmt
    return Proof(node, session(search_path=search_path), catalog()).outputs(node.select_stmt)


@pytest.mark.parametrize(
    "expression",
    [
        "1", "'x'", "$1", "now()", "count(*)", "count(email)", "count(DISTINCT c)", "id", "c.id", "id + 1", "id::text",
        "upper(note)", "upper(c.note) || '!'", "sum(id)", "CASE WHEN id > 1 THEN note ELSE 'x' END", "ARRAY[id, 1]",
        "coalesce(note, 'none')", "id IN (1, 2)", "id BETWEEN 1 AND 2", "note IS NULL", "(id, note)", "current_date",
        "sum(id) OVER (PARTITION BY note)", "sum(id) FILTER (WHERE id > 1)", "NOT (id = 1 AND note = 'x')", "-id",
        "greatest(id, 3)", "(ARRAY[id])[1]",
    ],
)  # fmt: skip
def test_clean(expression: str) -> None:
    assert outputs(f"SELECT {expression}, email FROM customers c") == ({0}, 2)


@pytest.mark.parametrize(
    "expression",
    [
        "email", "c", "c::text", "row_to_json(c)", "lower(email)", "email = 'x'", "id > length(email)", "max(email)",
        "string_agg(email, ',')", "CASE WHEN email = 'x' THEN 1 ELSE 0 END", "(SELECT 1)", "EXISTS (SELECT 1)",
        "customer_email(id)", "@@@ id", "id OPERATOR(public.@@@) 1", "(c).email", "(c).id",
        "c.row_to_json", "public.c.id", "table_to_xml('customers', true, true, '')", "lo_get(1)", "nobody(id)",
        "sum(id) OVER (ORDER BY email)", "sum(id) FILTER (WHERE email = 'x')", "coalesce(note, email)", "payload",
        "ARRAY[email]", "(id, email)", "id = ANY (SELECT 1)", "nobody", "d.id", "tableoid", "customers.id",
    ],
)  # fmt: skip
def test_unproven(expression: str) -> None:
    assert outputs(f"SELECT 1, {expression} FROM customers c") == ({0}, 2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT c.id, o.total + 1 FROM customers c JOIN orders o ON o.id = c.id", ({0, 1}, 2)),
        ("SELECT id FROM customers c, orders o", ({0}, 1)),
        ("SELECT note FROM customers c, orders o, people p", ({0}, 1)),
        ("SELECT email FROM people, orders", (set(), 1)),
        ("SELECT c.row_to_json FROM customers c, orders", (set(), 1)),
        ("SELECT orders.row_to_json FROM customers c, orders", ({0}, 1)),
        ("SELECT id FROM customers AS c (x, id)", (set(), 1)),
        ("SELECT c.id FROM customers AS c (x, id)", (set(), 1)),
        ("SELECT note FROM orders AS customers (note)", (set(), 1)),
        ("SELECT id, 1 FROM (SELECT email AS id FROM customers) s", ({1}, 2)),
        ("SELECT id FROM customers c JOIN LATERAL (SELECT email AS id) l ON true", (set(), 1)),
        ("SELECT c.id FROM customers c JOIN LATERAL (SELECT email AS id) l ON true", ({0}, 1)),
        ("SELECT id FROM customers, unnest(ARRAY['x']) AS id", (set(), 1)),
        ("SELECT j.id FROM (customers c JOIN orders o ON true) AS j", (set(), 1)),
        ("SELECT id FROM customers JOIN orders USING (id) AS j", (set(), 1)),
        ("SELECT id FROM nobody", (set(), 1)),
        ("SELECT id FROM public.customers, decoy.customers", (set(), 1)),
        ("SELECT *, id FROM customers", (set(), -1)),
        ("SELECT c.* FROM customers c", (set(), -1)),
        ("SELECT id FROM customers UNION SELECT 1", (set(), -1)),
        ("VALUES (1)", (set(), -1)),
        ("WITH x AS (SELECT 1) SELECT 1", (set(), -1)),
        ("SELECT id, (SELECT 1) FROM (WITH customers AS (SELECT 1) SELECT 1) s, customers", (set(), 2)),
    ],
)
def test_names_stand_for_what_the_server_takes_them_for(text: str, found: tuple[set[int], int]) -> None:
    assert outputs(text) == found


def test_the_search_path_decides() -> None:
    assert outputs("SELECT email + 1 FROM customers", "decoy") == ({0}, 1)
    assert outputs("SELECT email + 1 FROM customers", "public") == (set(), 1)
    assert outputs("SELECT email + 1 FROM decoy.customers", "public") == ({0}, 1)
    # The role may not be allowed to use decoy; then the server takes public.customers.
    assert outputs("SELECT email + 1 FROM customers", "decoy, public") == (set(), 1)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("SELECT 1", False),
        ("SELECT id FROM orders", False),
        ("SELECT lower(note) FROM orders", False),
        ("SELECT email FROM customers", True),
        ("SELECT 1 FROM orders WHERE EXISTS (SELECT FROM customers)", True),
        ("SELECT 1 FROM nobody", True),
        ("SELECT customer_email(1)", True),
        ("SELECT @@@ 1", True),
        ("SELECT lo_get(1)", True),
        ("SHOW search_path", False),
        ("DELETE FROM customers WHERE id = 1", True),
        ("CREATE TABLE z (a int)", False),
        ("DROP TABLE customers", True),
        ("EXPLAIN SELECT email FROM customers", True),
        ("SELECT 1 FROM customers.orders", True),
        ("SELECT decoy.customers.email FROM decoy.customers", False),
    ],
)
def test_what_reaches_personal_data_has_a_plan(text: str, masked: bool) -> None:
    by = guard()
    verdict = by.judge(Request(text, session(environment="dev"), "simple"))
    assert (verdict.mask is not None) is masked
    assert by.judge(Request(text, session("owner", environment="dev"), "simple")).mask is None
    if verdict.mask is not None:
        assert verdict.mask.scrub
