"""Column lineage: what leaves, and where it comes from; a statement that sqlglot can't read has none."""

from __future__ import annotations

import pytest

from taprail.schemas.guard import Column, RelationInfo
from taprail.streams.policy.lineage import CHARACTERS_MAX, column_lineage


def relation(name: str, *columns: str, schema: str = "public") -> RelationInfo:
    return RelationInfo(1, schema, name, "r", tuple(Column(i, c, 25, "text") for i, c in enumerate(columns, 1)))


CUSTOMERS = relation("customers", "id", "name", "email")
ORDERS = relation("orders", "id", "customer_id", "total", schema="sales")

CASES = {
    "SELECT id, email FROM customers WHERE name = $1": ["email <- public.customers.email", "id <- public.customers.id"],
    "SELECT * FROM customers": [f"{c} <- public.customers.{c}" for c in ("email", "id", "name")],
    "SELECT upper(c.email) || name AS who FROM customers c": [
        "who <- public.customers.email",
        "who <- public.customers.name",
    ],
    "SELECT sum(o.total) AS s FROM customers c JOIN orders o ON o.customer_id = c.id": ["s <- sales.orders.total"],
    "WITH x AS (SELECT email AS e FROM customers) SELECT e FROM x": ["e <- public.customers.email"],
    "SELECT q.e FROM (SELECT lower(email) AS e FROM customers) q": ["e <- public.customers.email"],
    "SELECT id FROM customers UNION SELECT customer_id FROM orders": [
        "id <- public.customers.id",
        "id <- sales.orders.customer_id",
    ],
    "SELECT (SELECT max(email) FROM customers) AS m": ["m <- public.customers.email"],
    "CREATE TABLE copies AS SELECT email AS e FROM customers": ["copies.e <- public.customers.email"],
    "INSERT INTO lab.copies (mail) SELECT email FROM customers": ["lab.copies.mail <- public.customers.email"],
    "COPY (SELECT email FROM customers) TO STDOUT": ["email <- public.customers.email"],
    "WITH customers AS (SELECT 1 AS email) SELECT email FROM customers": [],
    "SELECT count(*) FROM customers": [],
    "UPDATE customers SET email = $1": [],
}


@pytest.mark.parametrize("text", CASES, ids=lambda text: text[:60])
def test_outputs_name_their_sources(text: str) -> None:
    assert list(column_lineage(text, [CUSTOMERS, ORDERS])) == CASES[text]


@pytest.mark.parametrize(
    "text",
    ["", "not sql at all (", "SELECT " + "(" * 5000, "SELECT email FROM customers " * 9, "x" * (CHARACTERS_MAX + 1)],
    ids=range(5),
)
def test_what_cannot_be_read_has_none(text: str) -> None:
    assert column_lineage(text, [CUSTOMERS]) == ()


def test_an_unknown_relation_is_named_as_far_as_it_is_known() -> None:
    assert column_lineage("SELECT secret FROM elsewhere", []) == ("secret <- elsewhere.secret",)
