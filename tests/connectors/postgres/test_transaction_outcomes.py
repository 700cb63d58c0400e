"""What became of each statement of a transaction block, rollbacks to savepoints included."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from taprail.streams.policy import sql
from taprail.streams.policy.facts import facts_of

SCRIPT = [
    "BEGIN", "SELECT 1", "SAVEPOINT a", "SELECT 2", "SAVEPOINT b", "SELECT 3", "ROLLBACK TO a", "SELECT 4",
    'SAVEPOINT "A"', "SELECT 5", 'RELEASE "A"', "SAVEPOINT a", "SELECT 6", "ROLLBACK TO a", "RELEASE a", "SELECT 7",
    "ROLLBACK TO SAVEPOINT a", "COMMIT",
]  # fmt: skip


@pytest.fixture
def tap(bed):
    bed.guard.rule = lambda request, verdict: replace(
        verdict, facts=facts_of(sql.parse(request.text).stmts[0].stmt), inert=False
    )
    return bed


def ended(bed):
    """(text, transaction's status, the text of the first statement that it undoes)."""
    bed.settle(lambda: len(bed.recorder.outcomes) == len(bed.recorder.statements))
    texts = {ticket.sequence: request.text for request, _, ticket in bed.recorder.statements}
    return [
        (r.text, result.transaction_status, texts.get(result.undoes_from)) for r, result, _ in bed.recorder.outcomes
    ]


def test_a_rollback_to_a_savepoint_says_from_where_on_it_undoes(tap):
    with tap.connect(autocommit=True) as connection:
        for text in SCRIPT:
            connection.execute(text)
    *block, commit = ended(tap)
    assert commit == ("COMMIT", "committed", None)
    assert all(status == "open" for _, status, _ in block)
    undoing = [(text, first) for text, _, first in block if first]
    assert undoing == [
        ("ROLLBACK TO a", "SELECT 2"),
        ("ROLLBACK TO a", "SELECT 6"),
        ("ROLLBACK TO SAVEPOINT a", "SELECT 2"),
    ]


def test_in_one_message_each_statement_is_told_at_once(tap):
    with tap.connect(autocommit=True) as connection:
        connection.execute("BEGIN; SELECT 1; SAVEPOINT a; SELECT 2; ROLLBACK TO a; SELECT 3; COMMIT")
    told = {text.strip(): status for text, status, _ in ended(tap)}
    assert told["SELECT 2"] == "rolled_back"
    assert {told[text] for text in ("BEGIN", "SELECT 1", "SAVEPOINT a", "SELECT 3", "COMMIT")} == {"committed"}


def test_a_failed_statement_does_not_undo_and_names_of_an_ended_block_are_forgotten(tap):
    with tap.connect(autocommit=True) as connection:
        for text in ("BEGIN", "SAVEPOINT a", "COMMIT", "BEGIN", "SAVEPOINT b"):
            connection.execute(text)
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1/0")
        connection.execute("ROLLBACK TO b")
        with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
            connection.execute("ROLLBACK TO a")
        connection.execute("ROLLBACK")
    told = ended(tap)
    assert ("ROLLBACK TO b", "open", "SELECT 1/0") in told
    assert [first for text, _, first in told if text == "ROLLBACK TO a"] == [None]
    assert told[-1] == ("ROLLBACK", "rolled_back", None)
