"""What onboarding says it will do is what it does, and what it takes back is all of it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from taprail.connectors.postgres import person
from taprail.connectors.postgres.onboard import Login, Onboarding, Step, apply, is_verifier_of, plan, prepare, undo
from taprail.connectors.postgres.readiness import findings, hba, readiness
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import StackError

KEY = bytes(range(32))
# Everything that onboarding touches: tables and their identities, schemas, functions, triggers, publications, slots.
SNAPSHOT = """
SELECT 'table', oid::regclass::text, relreplident::text || coalesce((SELECT indexrelid::regclass::text FROM pg_index
  WHERE indrelid = c.oid AND indisreplident), '') FROM pg_class AS c
  WHERE relkind IN ('r', 'p') AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
UNION ALL SELECT 'schema', nspname, coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'function', oid::regprocedure::text, '' FROM pg_proc WHERE oid > 16383
UNION ALL SELECT 'trigger', evtname, evtevent FROM pg_event_trigger
UNION ALL SELECT 'publication', pubname, '' FROM pg_publication
UNION ALL SELECT 'object', oid::text, '' FROM pg_largeobject_metadata
UNION ALL SELECT 'slot', slot_name, '' FROM pg_replication_slots WHERE database = current_database()
UNION ALL SELECT 'role', rolname, '' FROM pg_roles WHERE rolname LIKE '%' || $1
ORDER BY 1, 2"""


@pytest.fixture
def what(fresh_database: str) -> Onboarding:
    mine = secrets.token_hex(4)
    return Onboarding(
        fresh_database,
        (Login(f"engineer_{mine}", "e-secret", ("pg_read_all_data",)),),
        Login(f"catalog_{mine}", "c-secret"),
        Login(f"feed_{mine}", "f-secret"),
    )


@pytest.fixture
async def admin(stack: Endpoints, what: Onboarding) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.postgres.dsn(what.database))
    await connection.execute(
        "CREATE TABLE plain (a int); CREATE TABLE quiet (a int); ALTER TABLE quiet REPLICA IDENTITY NOTHING;"
        'CREATE TABLE "Odd" (id int NOT NULL, CONSTRAINT "by Id" UNIQUE (id));'
        'ALTER TABLE "Odd" REPLICA IDENTITY USING INDEX "by Id"; CREATE TABLE whole (a int);'
        "ALTER TABLE whole REPLICA IDENTITY FULL"
    )
    yield connection
    await apply(stack.postgres.dsn(what.database), all_undone(what))
    await connection.close()


def all_prepared(what: Onboarding) -> list[Step]:
    told = [Step(each.sql, each.reason, each.done, secret=True) for each in person.install(KEY)]
    return [*prepare(what), *told]


def all_undone(what: Onboarding) -> list[Step]:
    return [*(Step(each.sql, each.reason, each.done) for each in person.remove()), *undo(what)]


async def snapshot(admin: asyncpg.Connection, what: Onboarding) -> list[tuple[str, ...]]:
    return [tuple(row) for row in await admin.fetch(SNAPSHOT, what.logins[0].role.rpartition("_")[2])]


async def test_a_plan_is_empty_once_it_was_done_and_changes_nothing_itself(
    stack: Endpoints, what: Onboarding, admin: asyncpg.Connection
) -> None:
    dsn, steps, before = stack.postgres.dsn(what.database), all_prepared(what), await snapshot(admin, what)
    first = await plan(dsn, steps)
    assert first.count(True) > 20 and await snapshot(admin, what) == before
    await apply(dsn, steps)
    assert [s.reason for s, wanted in zip(steps, await plan(dsn, steps), strict=True) if wanted] == []
    after = await snapshot(admin, what)
    await apply(dsn, steps)
    assert await snapshot(admin, what) == after
    assert any(await plan(dsn, all_undone(what)))


async def test_what_somebody_has_changed_since_is_found(
    stack: Endpoints, what: Onboarding, admin: asyncpg.Connection
) -> None:
    dsn, steps = stack.postgres.dsn(what.database), all_prepared(what)
    await apply(dsn, steps)
    engineer = what.logins[0].role
    for sql, reason in (
        (f"ALTER ROLE {engineer} PASSWORD 'another'", "its password"),
        (f"ALTER ROLE {engineer} CREATEDB", "no right that it doesn't need"),
        (f"REVOKE pg_read_all_data FROM {engineer}", "the rights of pg_read_all_data"),
        ("ALTER EVENT TRIGGER taprail_ddl DISABLE", "tell of DDL"),
        ("ALTER TABLE plain REPLICA IDENTITY DEFAULT", "changes carry the row"),
        ("DROP PUBLICATION taprail", "publish all tables"),
        ("CREATE OR REPLACE FUNCTION taprail.person() RETURNS text LANGUAGE sql AS $$ SELECT 'root' $$", "who acts"),
        ("GRANT CREATE ON SCHEMA taprail TO PUBLIC", "nobody else may put anything"),
    ):
        await admin.execute(sql)
        wanted = [s.reason for s, is_wanted in zip(steps, await plan(dsn, steps), strict=True) if is_wanted]
        assert len(wanted) == 1 and reason in wanted[0], sql
        await apply(dsn, steps)
        assert not any(await plan(dsn, steps)), sql


async def test_what_is_taken_back_is_as_it_was(stack: Endpoints, what: Onboarding, admin: asyncpg.Connection) -> None:
    dsn, before = stack.postgres.dsn(what.database), await snapshot(admin, what)
    await apply(dsn, all_prepared(what))
    await admin.execute("SELECT pg_create_logical_replication_slot('taprail_' || $1, 'pgoutput')", what.database)
    assert await snapshot(admin, what) != before
    await apply(dsn, all_undone(what))
    assert await snapshot(admin, what) == before
    assert not any(await plan(dsn, all_undone(what)))


async def test_where_something_stands_on_it_nothing_is_taken_back(
    stack: Endpoints, what: Onboarding, admin: asyncpg.Connection
) -> None:
    dsn = stack.postgres.dsn(what.database)
    await apply(dsn, all_prepared(what))
    await admin.execute("ALTER TABLE plain ADD COLUMN who text DEFAULT taprail.person()")
    before = await snapshot(admin, what)
    with pytest.raises(StackError, match="who acts"):
        await apply(dsn, all_undone(what))
    assert await snapshot(admin, what) == before
    await admin.execute("ALTER TABLE plain DROP COLUMN who")


async def test_a_table_that_somebody_holds_is_not_waited_for(
    stack: Endpoints, what: Onboarding, admin: asyncpg.Connection
) -> None:
    before = await snapshot(admin, what)
    async with admin.transaction():
        await admin.execute("LOCK TABLE plain IN ACCESS SHARE MODE")
        with pytest.raises(StackError, match="lock timeout"):
            await apply(stack.postgres.dsn(what.database), all_prepared(what))
    assert await snapshot(admin, what) == before


def test_a_verifier_is_only_its_own_passwords() -> None:
    from taprail.connectors.postgres.onboard import scram_verifier

    made = scram_verifier("pencil")
    assert is_verifier_of("pencil", made) and not is_verifier_of("pencils", made)
    for other in (None, "", "md5abc", "SCRAM-SHA-256$", made.replace("4096", "1"), "SCRAM-SHA-256$4096:c2FsdA==$x"):
        assert not is_verifier_of("pencil", other)


SAID: dict[str, object] = {
    "version": 180000, "wal_level": "logical", "slots_max": 10, "slots": 9, "own_slots": 0, "senders_max": 10,
    "senders": 1, "encryption": "scram-sha-256", "superuser": True, "managed": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "level", "says"),
    [
        ({}, "ok", "can be onboarded"),
        ({"version": 130012}, "fail", "PostgreSQL 13"),
        ({"wal_level": "replica"}, "fail", "wal_level is replica"),
        ({"slots": 10}, "fail", "all 10 replication slots"),
        ({"slots": 10, "own_slots": 1}, "ok", "can be onboarded"),
        ({"senders": 10}, "warn", "WAL senders"),
        ({"superuser": False}, "fail", "no superuser"),
        ({"superuser": False, "managed": "rds_superuser"}, "fail", "as ever on Amazon RDS"),
    ],
)
def test_what_stands_in_the_way_is_said(changed: dict[str, object], level: str, says: str) -> None:
    (found,) = findings({**SAID, **changed}, feed=True)
    assert found.level == level and says in found.text


async def test_a_real_server_is_ready(stack: Endpoints, what: Onboarding) -> None:
    assert [f.level for f in await readiness(stack.postgres.dsn(what.database), feed=True)] == ["ok"]
    with pytest.raises(StackError, match="can't be reached as its administrator"):
        await readiness("postgresql://nobody:wrong@127.0.0.1:9/x", feed=True)


def test_lines_for_pg_hba_let_our_roles_in_from_our_addresses_alone() -> None:
    what = Onboarding("all", (Login('od"d'),), Login("cat"), Login("feed"))
    assert hba(what, ["10.0.7.0/24"], ["10.0.8.4/32"]) == [
        'hostssl "all" "od""d" 10.0.7.0/24 scram-sha-256',
        'host    all "od""d" all reject',
        'hostssl "all" "cat" 10.0.7.0/24 scram-sha-256',
        'host    all "cat" all reject',
        'hostssl "all" "feed" 10.0.8.4/32 scram-sha-256',
        'host    all "feed" all reject',
    ]
