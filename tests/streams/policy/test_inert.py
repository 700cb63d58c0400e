"""A verdict that calls its statement inert is right: neither the session nor the catalog is another after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from taprail.connectors.postgres.outlook import Outlook, after, changes_names
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Request
from taprail.streams.tap import may_change_catalog
from tests.streams.policy.small_world import guard, session

ACTIVE = (
    "SET search_path = s", "SELECT set_config('search_path', 's', false)", "RESET ALL", "BEGIN", "COMMIT", "ROLLBACK",
    "PREPARE p AS SELECT 1", "DEALLOCATE p", "DEALLOCATE ALL", "DISCARD ALL", "DECLARE c CURSOR FOR SELECT 1",
    "CLOSE c", "DO $$ BEGIN END $$", "CALL p()", "CREATE TABLE z (id int)", "CREATE TEMP TABLE orders (id int)",
    "SELECT 1 INTO z", "CREATE TABLE z AS SELECT 1", "ALTER TABLE orders RENAME TO z", "DROP TABLE orders",
    "CREATE SCHEMA s", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "GRANT SELECT ON orders TO ann",
    "EXECUTE p", "FETCH c", "EXPLAIN ANALYZE EXECUTE p", "SET ROLE ann", "SAVEPOINT a", "SELECT unknown_function()",
    "INSERT INTO orders (id) VALUES (unknown_function())", "COMMIT PREPARED 'x'",
)  # fmt: skip
CORPUS = [
    line
    for name in ("streams/policy/catalog_queries.sql", "system/guard_attacks.sql")
    for line in (Path(__file__).parents[2] / name).read_text().splitlines()
    if line and not line.startswith("--")
]


@pytest.mark.parametrize("text", ACTIVE)
def test_what_may_change_something_is_not_inert(text: str) -> None:
    by, prepared, cursors = guard(), {"p": "PREPARE p AS SELECT 1"}, {"c": "DECLARE c CURSOR FOR SELECT 1"}
    verdict = by.judge(Request(text, session("owner", prepared=prepared, cursors=cursors), "simple"))
    assert not verdict.inert


def test_over_a_corpus_inert_means_that_nothing_changes() -> None:
    by, inert = guard(), 0
    for text in (
        *CORPUS,
        "SELECT 1",
        "SELECT id FROM orders WHERE id = 3",
        "UPDATE orders SET note = 'x' WHERE id = 1",
    ):
        context = session("owner")
        try:
            verdict = by.judge(Request(text, context, "simple"))
        except RefusedError:
            continue
        if verdict.inert:
            inert += 1
            outlook = Outlook(context)
            assert after(outlook, verdict, text) is outlook
            assert not changes_names(verdict.facts) and not verdict.facts.reshapes and not verdict.facts.transaction
            assert not may_change_catalog(verdict.facts)
    assert inert > 100
