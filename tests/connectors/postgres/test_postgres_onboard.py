"""Preparing a database: what an attacker could do with it, then what it must do, on a real server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Iterator

import asyncpg
import psycopg
import pytest

from taprail.connectors.postgres.onboard import (
    DDL_CHANNEL,
    Login,
    Onboarding,
    apply,
    dollar,
    literal,
    prepare,
    quote,
    scram_verifier,
    undo,
)
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import SettingsError, StackError

FULL = Onboarding(
    "shop", (Login("app_engineer", "hunter2-secret", ("readers",)),), Login("cat", "c"), Login("feed", "f")
)


def test_no_password_stands_in_a_statement_or_a_representation() -> None:
    text = repr(FULL) + repr(prepare(FULL)) + repr(undo(FULL))
    assert "hunter2-secret" not in text and "SCRAM-SHA-256$4096:" in text


def test_the_verifier_is_the_one_of_rfc_7677() -> None:
    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    head, keys = verifier.rsplit("$", 1)
    assert head == "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    stored, server = (base64.b64decode(key) for key in keys.split(":"))
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    told = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    signature = base64.b64encode(hmac.digest(server, told, "sha256"))
    assert signature == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client = bytes(a ^ b for a, b in zip(proof, hmac.digest(stored, told, "sha256"), strict=True))
    assert hashlib.sha256(client).digest() == stored


@pytest.mark.parametrize("password", ["grün", "tab\t", "nul\0"])
def test_a_password_that_saslprep_would_change_is_refused(password: str) -> None:
    with pytest.raises(SettingsError):
        scram_verifier(password)


def test_names_can_not_leave_their_quotes() -> None:
    assert quote('a"; DROP ROLE b; --') == '"a""; DROP ROLE b; --"'
    assert literal("o'neil\\") == "E'o''neil\\\\'"
    assert dollar("$taprail$ DROP") == "$taprail_$$taprail$ DROP$taprail_$"


def test_replica_identity_comes_before_the_publication() -> None:
    """A published table without a replica identity refuses UPDATE and DELETE."""
    steps = [step.sql for step in prepare(FULL)]
    full = next(
        i for i, sql in enumerate(steps) if "ALTER TABLE %s REPLICA IDENTITY FULL" in sql and sql.startswith("DO")
    )
    trigger = next(i for i, sql in enumerate(steps) if "CREATE EVENT TRIGGER taprail_identity" in sql)
    publication = next(i for i, sql in enumerate(steps) if "CREATE PUBLICATION" in sql)
    assert trigger < full < publication


@pytest.fixture
def onboarding(stack: Endpoints, fresh_database: str) -> Iterator[Onboarding]:
    """A database with two tables, prepared, and roles of its own."""
    mine = secrets.token_hex(4)
    what = Onboarding(
        fresh_database,
        (Login(f"engineer_{mine}", "e-secret", ("pg_read_all_data", "pg_write_all_data")),),
        Login(f"catalog_{mine}", "c-secret"),
        Login(f"feed_{mine}", "f-secret"),
    )
    yield what
    with psycopg.connect(stack.postgres.dsn(fresh_database), autocommit=True) as connection:
        for step in undo(what):
            connection.execute(step.sql.encode())


@pytest.fixture
async def admin(stack: Endpoints, onboarding: Onboarding) -> AsyncIterator[asyncpg.Connection]:
    dsn = stack.postgres.dsn(onboarding.database)
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE plain (a int); CREATE TABLE keyed (id int PRIMARY KEY); CREATE SCHEMA app")
    await connection.execute("CREATE TABLE app.parted (a int) PARTITION BY LIST (a)")
    await apply(dsn, prepare(onboarding))
    yield connection
    await connection.close()


IDENTITIES = """
SELECT string_agg(DISTINCT c.relreplident::text, '') FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND nspname IN ('public', 'app')"""


async def test_it_may_be_applied_again(stack: Endpoints, onboarding: Onboarding, admin: asyncpg.Connection) -> None:
    await apply(stack.postgres.dsn(onboarding.database), prepare(onboarding))
    assert await admin.fetchval(IDENTITIES) == "f"
    assert await admin.fetchval("SELECT puballtables FROM pg_publication WHERE pubname = 'taprail'")


async def test_tables_made_later_log_full_rows_whoever_makes_them(admin: asyncpg.Connection) -> None:
    await admin.execute("CREATE ROLE maker_of_tables; GRANT CREATE ON SCHEMA app TO maker_of_tables")
    try:
        await admin.execute(
            "SET ROLE maker_of_tables; CREATE TABLE app.later (a int); CREATE TABLE app.copy AS SELECT 1 a"
        )
        await admin.execute("SELECT 2 AS a INTO app.chosen; CREATE TEMP TABLE passing (a int); RESET ROLE")
        await admin.execute("CREATE TABLE app.part PARTITION OF app.parted FOR VALUES IN (1)")
        await admin.execute("CREATE SCHEMA own CREATE TABLE inside (a int)")
        assert await admin.fetchval(IDENTITIES) == "f"
        assert await admin.fetchval("SELECT relreplident FROM pg_class WHERE relname = 'inside'") == b"f"
        assert await admin.fetchval("SELECT relreplident FROM pg_class WHERE relname = 'passing'") == b"d"
        await admin.execute("INSERT INTO app.later VALUES (1); UPDATE app.later SET a = 2; DELETE FROM app.later")
    finally:
        await admin.execute("RESET ROLE; DROP OWNED BY maker_of_tables; DROP ROLE maker_of_tables")


async def test_ddl_is_told_to_those_who_listen(admin: asyncpg.Connection) -> None:
    heard: list[object] = []
    await admin.add_listener(DDL_CHANNEL, lambda *args: heard.append(args[3]))
    await admin.execute("CREATE TABLE told (a int)")
    await admin.execute("DROP TABLE told")
    await admin.execute("SELECT 1")
    assert heard == ["CREATE TABLE", "ALTER TABLE", "DROP TABLE"]


async def test_objects_of_the_callers_do_not_run_in_the_triggers(admin: asyncpg.Connection) -> None:
    """The triggers run for everybody's DDL, a superuser's too: nobody may put code under their feet."""
    await admin.execute("CREATE TABLE trap (a text)")
    for name in (
        "left(text, int)",
        "pg_notify(text, text)",
        "format(text, regclass)",
        "json_build_object(VARIADIC text[])",
    ):
        returns = "json" if name.startswith("json") else "text"
        body = "INSERT INTO public.trap VALUES (current_user)"
        await admin.execute(
            f"CREATE FUNCTION public.{name} RETURNS {returns} LANGUAGE sql AS $$ {body}; SELECT NULL::{returns} $$"
        )
    await admin.execute("SET search_path = public, pg_catalog")
    await admin.execute("CREATE TABLE public.bait (a int)")
    await admin.execute("DROP TABLE public.bait")
    assert await admin.fetchval("SELECT count(*) FROM public.trap") == 0


async def test_roles_have_no_right_that_they_do_not_need(
    stack: Endpoints, onboarding: Onboarding, admin: asyncpg.Connection
) -> None:
    assert onboarding.catalog is not None and onboarding.feed is not None
    rights = {}
    for login in (*onboarding.logins, onboarding.catalog, onboarding.feed):
        row = await admin.fetchrow(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls AS much, rolreplication,"
            " has_table_privilege(oid, 'plain', 'SELECT') AS reads,"
            " has_schema_privilege(oid, 'taprail', 'CREATE') OR"
            " has_function_privilege(oid, 'taprail.full_identity()', 'EXECUTE') AS ours"
            " FROM pg_roles WHERE rolname = $1",
            login.role,
        )
        assert row is not None
        rights[login.role.partition("_")[0]] = tuple(row.values())
    assert rights == {
        "engineer": (False, False, True, False),
        "catalog": (False, False, False, False),
        "feed": (False, True, False, False),
    }


async def test_a_role_signs_in_with_its_password_and_can_not_silence_the_feed(
    stack: Endpoints, onboarding: Onboarding, admin: asyncpg.Connection
) -> None:
    login, postgres = onboarding.logins[0], stack.postgres
    connection = await asyncpg.connect(
        host=postgres.host, port=postgres.port, user=login.role, password=login.password, database=onboarding.database
    )
    try:
        await connection.execute("INSERT INTO plain VALUES (1); UPDATE plain SET a = 2; DELETE FROM plain")
        for sql in (
            "ALTER EVENT TRIGGER taprail_ddl DISABLE",
            "DROP EVENT TRIGGER taprail_drop",
            "SET session_replication_role = replica",
            "DROP PUBLICATION taprail",
            "ALTER TABLE plain REPLICA IDENTITY NOTHING",
            "SELECT taprail.full_identity()",
            "SELECT pg_replication_origin_session_setup('x')",
        ):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
                await connection.execute(sql)
    finally:
        await connection.close()


async def test_the_triggers_fire_for_replicas_too(admin: asyncpg.Connection) -> None:
    await admin.execute("SET session_replication_role = replica")
    await admin.execute("CREATE TABLE replicated (a int)")
    assert await admin.fetchval("SELECT relreplident FROM pg_class WHERE relname = 'replicated'") == b"f"


async def test_a_step_that_fails_changes_nothing_and_says_which(stack: Endpoints, onboarding: Onboarding) -> None:
    dsn = stack.postgres.dsn(onboarding.database)
    broken = Onboarding(onboarding.database, (Login(onboarding.logins[0].role, "p", ("no_such_group",)),))
    with pytest.raises(StackError, match="the rights of no_such_group"):
        await apply(dsn, prepare(broken))
    connection = await asyncpg.connect(dsn)
    try:
        assert not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", broken.logins[0].role)
        assert not await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'taprail'")
    finally:
        await connection.close()


async def test_undo_leaves_nothing(stack: Endpoints, onboarding: Onboarding, admin: asyncpg.Connection) -> None:
    await apply(stack.postgres.dsn(onboarding.database), undo(onboarding))
    assert await admin.fetchval(IDENTITIES) == "d"
    assert not await admin.fetchval("SELECT count(*) FROM pg_event_trigger")
    assert not await admin.fetchval("SELECT count(*) FROM pg_publication")
    assert not await admin.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'taprail'")
    assert not await admin.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", onboarding.logins[0].role)
