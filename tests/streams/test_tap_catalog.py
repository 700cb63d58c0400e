"""After which statements the tap reads the catalog again."""

from __future__ import annotations

import pytest

from taprail.streams.policy import sql
from taprail.streams.policy.facts import facts_of
from taprail.streams.tap import may_change_catalog

CHANGES = [
    "CREATE TABLE t (id int)", "CREATE TABLE t AS SELECT 1", "CREATE TABLE t AS EXECUTE p", "SELECT 1 INTO t",
    "ALTER TABLE t ADD COLUMN email text", "DROP TABLE t", "CREATE VIEW v AS SELECT 1", "ALTER TABLE t RENAME TO u",
    "DO $$ BEGIN CREATE TABLE t (id int); END $$", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA s", "CREATE EXTENSION e", "GRANT SELECT ON t TO ann", "CALL p()",
    "ALTER ROLE ann SET search_path = s",
]  # fmt: skip
STAYS = [
    "SELECT 1", "INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t", "COPY t FROM STDIN",
    "COPY t TO STDOUT", "EXECUTE p(1)", "FETCH 10 FROM c", "BEGIN", "COMMIT",
    "SET search_path = s", "EXPLAIN SELECT 1", "SHOW work_mem",
]  # fmt: skip


@pytest.mark.parametrize("text", CHANGES)
def test_it_may_have_changed(text: str) -> None:
    assert may_change_catalog(facts_of(sql.parse(text).stmts[0].stmt))


@pytest.mark.parametrize("text", STAYS)
def test_it_is_as_it_was(text: str) -> None:
    assert not may_change_catalog(facts_of(sql.parse(text).stmts[0].stmt))
