"""With a mark before a statement, positions in errors and notices are still those of the client's own text."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from taprail.connectors.postgres.masks import original_position


@pytest.fixture
def marked(bed):
    """A tap that marks whatever runs by a simple query."""
    bed.guard.rule = lambda _, verdict: replace(verdict, mark="carried")
    return bed


def said(connection, text):
    """(severity, message, position) of notices, and of the error where there is one."""
    found = []
    connection.add_notice_handler(lambda diag: found.append(shown(diag)))
    try:
        connection.execute(text)
    except psycopg.Error as error:
        found.append(shown(error.diag))
    return found


def shown(diag):
    return diag.severity, diag.message_primary, diag.statement_position


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TYPE pg_temp.shell; CREATE FUNCTION pg_temp.f(pg_temp.shell) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT 'ü'; SELECT 1 + nothing",
        "PREPARE later AS SELECT * FROM pg_temp.gone; DROP TABLE pg_temp.gone; EXECUTE later",
    ],
    ids=["notice", "error", "error in another text"],
)
def test_positions_are_those_of_the_clients_text(marked, text):
    with marked.direct() as direct, marked.connect(autocommit=True) as through:
        for connection in (direct, through):
            connection.execute("CREATE TEMP TABLE gone (a int)")
        assert said(through, text) == said(direct, text)


def test_a_position_inside_a_mark_names_no_character_of_the_client():
    marks = ((0, 100), (10, 50))
    assert [original_position(str(at), marks) for at in (1, 100, 101, 110, 111, 160, 161)] == [
        "", "", "1", "10", "", "", "11"
    ]  # fmt: skip
    assert original_position("7", ()) == "7" and original_position("x", marks) == "x"
