"""What the planner expects is asked before a statement is decided on; asking runs nothing, and holds nothing up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from msgspec import structs

from taprail.connectors.postgres.estimate import rows_expected
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.signin import Login
from taprail.schemas.guard import NOT_ASKED, UNKNOWN_ROWS, Request, SessionContext
from tests.connectors.postgres.conftest import ANN

TABLES = """
DROP SCHEMA IF EXISTS expected CASCADE;
CREATE SCHEMA expected;
CREATE TABLE expected.items (id int PRIMARY KEY, kind int, note text);
INSERT INTO expected.items SELECT i, i % 10, 'x' FROM generate_series(1, 1000) i;
CREATE TABLE expected.touched (at timestamptz);
CREATE FUNCTION expected.sly(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO expected.touched VALUES (now()); RETURN $1; END $$;
ANALYZE expected.items;
"""


@pytest.fixture(scope="module", autouse=True)
def tables(server: Any) -> None:
    with psycopg.connect(server.endpoint.dsn(), autocommit=True) as connection:
        connection.execute(TABLES.encode())


def ask(bed: Any, *texts: str, parameters: tuple[bytes | None, ...] = (), path: str = "expected", **target: Any) -> int:
    context = SessionContext("s", "tap-1", "test", "main", "postgres", "app", ANN, "oidc", search_path=path)
    requests = tuple(Request(text, context, "simple", parameters) for text in texts)
    login = Login("ann", "postgres", "", "", encrypted=False)
    made = structs.replace(bed.target(login), **target)
    found: int = bed.thread.run(rows_expected(made, requests, Limits()))
    return found


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SELECT * FROM items", 1000),
        ("SELECT * FROM items WHERE kind = 3", 100),
        ("SELECT * FROM items LIMIT 7", 7),
        ("DELETE FROM items", 1000),
        ("UPDATE items SET note = 'y' WHERE id = 3", 1),
        ("INSERT INTO items SELECT id + 5000, kind, note FROM items WHERE kind = 3", 100),
        ("WITH gone AS (DELETE FROM items RETURNING id) SELECT count(*) FROM gone", 1),
        ("DELETE FROM items -- all of them", 1000),
    ],
)
def test_rows_of_a_statement(bed: Any, text: str, rows: int) -> None:
    assert ask(bed, text) == rows
    with bed.direct() as connection:
        assert connection.execute("SELECT count(*), max(note) FROM expected.items").fetchone() == (1000, "x")


def test_of_several_the_sum_or_nothing(bed: Any) -> None:
    assert ask(bed, "DELETE FROM items", "SELECT * FROM items LIMIT 5") == 1005
    assert ask(bed, "DELETE FROM items", "SELECT * FROM nowhere") == UNKNOWN_ROWS


def test_bound_values_are_planned_as_any(bed: Any) -> None:
    with bed.direct() as connection:
        version = connection.info.server_version
    expected = 100 if version >= 160000 else UNKNOWN_ROWS
    assert ask(bed, "SELECT * FROM items WHERE kind = $1", parameters=(b"3",)) == expected


@pytest.mark.parametrize(
    "text", ["SELECT * FROM nowhere", "SELECT 1/0 FROM items WHERE", "COMMIT", "TABLE items; DROP TABLE items"]
)
def test_what_cannot_be_planned_is_not_known(bed: Any, text: str) -> None:
    assert ask(bed, text) == UNKNOWN_ROWS
    assert ask(bed, "SELECT * FROM items") == 1000


def test_names_are_those_of_the_session(bed: Any) -> None:
    assert ask(bed, "SELECT * FROM items", path="public") == UNKNOWN_ROWS


def test_what_planning_would_run_can_write_nothing(bed: Any) -> None:
    """The guard asks of no such statement; were it wrong, the transaction is read-only."""
    assert ask(bed, "SELECT * FROM items WHERE id = sly(3)") == UNKNOWN_ROWS
    with bed.direct() as connection:
        assert connection.execute("SELECT count(*) FROM expected.touched").fetchone() == (0,)


def test_a_server_that_does_not_answer_is_not_waited_for(bed: Any) -> None:
    assert ask(bed, "SELECT * FROM items", port=1) == UNKNOWN_ROWS


def test_a_lock_is_not_waited_for(bed: Any) -> None:
    with bed.direct() as connection, connection.transaction():
        connection.execute("LOCK TABLE expected.items")
        assert ask(bed, "SELECT * FROM items") == UNKNOWN_ROWS


@pytest.mark.parametrize("arguments", [(), ([3],)], ids=["simple", "extended"])
@pytest.mark.parametrize("rows_max", [5000, 50])
def test_a_verdict_may_wait_for_what_is_expected(bed: Any, arguments: Any, rows_max: int) -> None:
    def rule(request: Any, verdict: Any) -> Any:
        if "items" not in request.text:
            return verdict
        if request.expected == NOT_ASKED:
            return replace(verdict, needs_rows=True, explainable=True)
        too_many = request.expected > rows_max
        return replace(verdict, action="deny" if too_many else "allow", estimated_rows=request.expected, reason="many")

    bed.guard.rule = rule
    text = f"SELECT id FROM expected.items WHERE kind = {'%s' if arguments else 3}"
    with bed.connect() as connection:
        if rows_max == 50:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="many"):
                connection.execute(text, *arguments)
        else:
            assert len(connection.execute(text, *arguments).fetchall()) == 100
        assert connection.execute("SELECT 1").fetchone() == (1,)
    ours = [s for s in bed.recorder.statements if "items" in s[0].text]
    assert [(v.action, v.estimated_rows) for _, v, _ in ours] == [("deny" if rows_max == 50 else "allow", 100)]


def test_what_may_not_be_explained_is_not(bed: Any) -> None:
    seen: list[int] = []

    def rule(request: Any, verdict: Any) -> Any:
        seen.append(request.expected)
        return replace(verdict, needs_rows=request.expected == NOT_ASKED)

    bed.guard.rule = rule
    with bed.connect() as connection:
        connection.execute("SELECT 1 FROM expected.items LIMIT 1")
    assert seen == [NOT_ASKED, UNKNOWN_ROWS]


def test_whoever_approves_sees_what_is_expected(bed: Any) -> None:
    bed.guard.rule = lambda request, verdict: replace(verdict, action="hold", explainable=True)
    with bed.connect() as connection:
        connection.execute("DELETE FROM expected.items WHERE false")
        connection.execute("SELECT id FROM expected.items WHERE kind = 3; SELECT id FROM expected.items WHERE kind = 4")
    held = [v.estimated_rows for _, v, _ in bed.recorder.statements if v.action == "hold" and v.estimated_rows >= 0]
    assert 200 in held
