"""What clients ask of the catalog to draw their trees and tabs is answered as the server answers it, for everybody."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from taprail.connectors.local.postgres import installed_psql
from taprail.schemas.endpoints import Endpoints
from tests.streams.policy.guarded_tap import GuardedTap, guarded_tap

WORLD = """
CREATE TABLE customers (id int PRIMARY KEY, name text, email text UNIQUE, phone text DEFAULT 'none', note text,
                        CHECK (email <> ''));
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, total numeric(10, 2), at timestamptz);
CREATE TABLE parts (day date, n int) PARTITION BY RANGE (day);
CREATE TABLE parts_2024 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE VIEW people AS SELECT id, email FROM customers;
CREATE MATERIALIZED VIEW people_copy AS SELECT id, email FROM customers;
CREATE SEQUENCE tickets;
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamp BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE STATISTICS people_mcv (mcv) ON email, phone FROM customers;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON orders USING (total > 0);
COMMENT ON TABLE customers IS 'who buys';
CREATE TYPE pair AS (a int, b text);
INSERT INTO customers VALUES (1, 'Ann', 'ann@mail.example', '1', 'quiet');
ANALYZE;
"""
MARK = "-- next --"
BACKSLASH = (
    r"\d", r"\d+", r"\d customers", r"\d+ customers", r"\d orders", r"\d+ orders", r"\d people", r"\d+ people",
    r"\d parts", r"\d+ parts", r"\d parts_2024", r"\d tickets", r"\d customers_pkey", r"\dt", r"\dt+", r"\dti",
    r"\dv", r"\dv+", r"\dm+", r"\di", r"\di+", r"\ds", r"\df", r"\df+ twice", r"\sf twice", r"\sv people", r"\l",
    r"\l+", r"\dn", r"\dn+", r"\du", r"\du+", r"\dg", r"\dT", r"\dT+", r"\dD", r"\dp", r"\z", r"\ddp", r"\dy", r"\dx",
    r"\dx+", r"\da sum", r"\do =", r"\dc", r"\dC", r"\dd", r"\db", r"\des", r"\dew", r"\det", r"\deu", r"\dF",
    r"\dFd", r"\dFp", r"\dFt", r"\dL", r"\dO", r"\dP", r"\dP+", r"\dRp", r"\dRp+", r"\dRs", r"\drds", r"\drg", r"\dX",
    r"\dAc", r"\dAf", r"\dAo", r"\dAp", r"\dconfig work_mem", r"\dS pg_class", r"\d+ pg_stats", r"\dfS lower",
    r"\conninfo", r"\dl", r"\lo_list", r"\encoding",
)  # fmt: skip
QUERIES = Path(__file__).with_name("catalog_queries.sql").read_text().splitlines()[1:]


@pytest.fixture(scope="module")
def tap(stack: Endpoints) -> Iterator[GuardedTap]:
    with guarded_tap(stack, "prod", WORLD) as made:
        yield made


def psql(conninfo: str) -> dict[str, str]:
    """What psql says to each command, on both of its outputs, without the lines that name the connection."""
    script = "".join(f"\\echo {MARK}\n\\warn {MARK}\n{command}\n" for command in BACKSLASH)
    done = subprocess.run(
        [installed_psql(), "-X", "-q", "-d", conninfo],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = [
        re.sub(r"(?m)^.*(Port|PID|User|Password|Host).*\n", "", text).split(MARK)[1:]
        for text in (done.stdout, done.stderr)
    ]
    return {command: out + errors for command, out, errors in zip(BACKSLASH, *said, strict=True)}


@pytest.fixture(scope="module")
def through_the_tap(tap: GuardedTap) -> dict[str, str]:
    return psql(tap.conninfo())


@pytest.fixture(scope="module")
def directly(tap: GuardedTap) -> dict[str, str]:
    return psql(tap.endpoints.postgres.dsn(tap.database))


@pytest.mark.parametrize("command", BACKSLASH)
def test_psqls_commands(through_the_tap: dict[str, str], directly: dict[str, str], command: str) -> None:
    shown = through_the_tap[command]
    assert shown == directly[command]
    assert "***" not in shown and "ERROR" not in shown


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_clients_queries(tap: GuardedTap, query: str) -> None:
    with tap.direct() as direct, tap.connect() as through:
        rows: list[tuple[Any, ...]] = direct.execute(query.encode()).fetchall()
        assert through.execute(query.encode()).fetchall() == rows


def test_a_client_sees_its_own_temporary_table(tap: GuardedTap) -> None:
    with tap.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (id int, label text)")
        connection.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
        connection.execute("INSERT INTO t SELECT id + 2, label FROM t")
        assert connection.execute("SELECT id, upper(label) FROM t ORDER BY 1").fetchall()[-1] == (4, "TWO")
        with connection.transaction():
            connection.execute("CREATE TEMP TABLE u ON COMMIT DROP AS SELECT id FROM customers")
            connection.execute("INSERT INTO orders (id) SELECT 70 + id FROM t")
            connection.execute("UPDATE orders SET total = 3 WHERE id > 70")
            assert connection.execute("SELECT count(*) FROM u").fetchone() == (1,)


@pytest.mark.parametrize("person", ["ann", "owner"])
def test_what_is_not_personal_is_not_masked(tap: GuardedTap, person: str) -> None:
    query = sql.SQL(
        "SELECT c.id, upper(note), CASE WHEN o.total > 1 THEN 'much' ELSE note END, count(email) OVER (), twice(7)"
        " FROM customers c LEFT JOIN orders o ON o.customer_id = c.id"
    )
    with tap.connect(person) as connection:
        row = connection.execute(query).fetchone()
    assert row == (1, "QUIET", "quiet", 1, 14 if person == "owner" else None)


def test_a_migration_of_clean_tables_runs_in_one_transaction(tap: GuardedTap) -> None:
    with tap.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE TABLE versions (number text PRIMARY KEY, applied_at timestamptz DEFAULT now())")
        connection.execute("ALTER TABLE orders ADD state text DEFAULT 'open'")
        connection.execute("CREATE INDEX ON orders (state)")
        connection.execute("INSERT INTO versions VALUES ('1', now())")
        connection.execute("UPDATE versions SET number = '2' WHERE number = '1'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="copy personal data"), connection.transaction():
            connection.execute("UPDATE orders SET state = total::text WHERE id > 0")
