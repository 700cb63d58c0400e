"""Prepare a PostgreSQL database for taprail: publication, replica identity, DDL messages, roles. And undo it.

`prepare` and `undo` are pure: they give the statements, each with its reason, so that an administrator can read them
before anybody runs them. `apply` runs them as a superuser (publications FOR ALL TABLES and event triggers ask for
one), in one transaction, and may be run again. Needs PostgreSQL 14 or newer with `wal_level = logical`.

Sources: PostgreSQL documentation, Event Triggers (ch. 38), Logical Replication (29.1 replica identity), pg_authid
(format of SCRAM verifiers), `pg_logical_emit_message` (9.28.6).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

import asyncpg
from msgspec import Struct, field

from taprail.schemas.errors import SettingsError, StackError
from taprail.schemas.mark import DDL_PREFIX

PUBLICATION = "taprail"
SCHEMA = "taprail"
DDL_CHANNEL = "taprail_ddl"
OBJECT_BYTES_MAX = 1000  # an object's name in a message; NOTIFY takes less than 8000 bytes in all
SCRAM_ITERATIONS = 4096
LOCK_TIMEOUT = "5s"  # ALTER TABLE waits for this long at most, and everybody who comes after it waits, too


class Step(Struct, frozen=True):
    """What has to be run and why. `sql` may hold a SCRAM verifier, never a password.

    done    an SQL condition that holds where there is nothing to do; '' where that isn't asked
    login   whose password it sets: nothing to do where the server's verifier is this password's already
    secret  `sql` holds a key: it isn't shown
    """

    sql: str
    reason: str
    done: str = ""
    login: Login | None = None
    secret: bool = False


class Login(Struct, frozen=True):
    """A role that the tap or the feed signs in as; `member_of` are existing roles whose rights it has."""

    role: str
    password: str = field(default="")
    member_of: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Login({self.role!r}, member_of={self.member_of!r})"


class Onboarding(Struct, frozen=True):
    """What a database is prepared for. Passwords that are empty leave the roles' passwords alone.

    logins   roles of people and services: what the tap signs in as upstream
    catalog  the tap's role that reads the catalog and listens for DDL
    feed     Debezium's role: REPLICATION and no right on any table
    """

    database: str
    logins: tuple[Login, ...] = ()
    catalog: Login | None = None
    feed: Login | None = None


def prepare(what: Onboarding) -> list[Step]:
    """The statements, in the order in which they must run: replica identity before publication.

    A published table without a replica identity refuses UPDATE and DELETE, so every table gets FULL first, and an
    event trigger gives it to tables that are made later. FULL is also what makes a change carry the row as it was:
    without it a DELETE would name nothing but a key.
    """
    creates = f"SELECT FROM pg_catalog.pg_namespace, pg_catalog.aclexplode(nspacl) WHERE nspname = '{SCHEMA}'"
    steps = [
        Step(
            f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
            "a place for the trigger functions",
            f"pg_catalog.to_regnamespace('{SCHEMA}') IS NOT NULL",
        ),
        Step(
            f"REVOKE CREATE ON SCHEMA {SCHEMA} FROM PUBLIC",
            "nobody else may put anything into it",
            f"NOT EXISTS ({creates} AND grantee = 0 AND privilege_type = 'CREATE')",
        ),
    ]
    for login in what.logins:
        steps += _role(what.database, login, "NOREPLICATION", "the tap signs in as it for people and services")
    if what.catalog is not None:
        steps += _role(what.database, what.catalog, "NOREPLICATION", "the tap reads the catalog and listens for DDL")
    if what.feed is not None:
        steps += _role(what.database, what.feed, "REPLICATION", "Debezium reads the change feed, and no table")
    return [*steps, *_event_triggers(), *_feed()]


def undo(what: Onboarding) -> list[Step]:
    """What takes all of it back; each table gets the replica identity again that it had.

    The connector must have been removed and its slot dropped before; roles that own or may use something outside this
    database stay, with an error that says so.
    """
    gone = f"pg_catalog.to_regnamespace('{SCHEMA}') IS NULL"
    steps = [
        Step(f"DROP PUBLICATION IF EXISTS {PUBLICATION}", "end the change feed", f"NOT {_published()}"),
        *(
            Step(
                f"DROP EVENT TRIGGER IF EXISTS {name}",
                "end the DDL messages",
                f"NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = '{name}')",
            )
            for name in _TRIGGERS
        ),
        Step(
            _IDENTITIES_BACK,
            "tables log old rows as they did before",
            f"pg_catalog.to_regclass('{SCHEMA}.replica_identity') IS NULL",
        ),
        Step(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", "drop the functions, and what was remembered", gone),
    ]
    logins = [*what.logins, *([what.catalog] if what.catalog else []), *([what.feed] if what.feed else [])]
    for login in logins:
        drop = f"EXECUTE 'DROP OWNED BY {quote(login.role)}'; EXECUTE 'DROP ROLE {quote(login.role)}'"
        exists = f"EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(login.role)})"
        sql = f"DO {dollar(f'BEGIN IF {exists} THEN {drop}; END IF; END')}"
        steps.append(Step(sql, f"drop the role {login.role}", f"NOT {exists}"))
    # The last one, for it can't be rolled back; a slot that is in use fails, and then nothing was undone.
    reason = "end the change feed's replication slots: an idle one would keep the server's WAL"
    steps.append(Step(f"SELECT pg_catalog.pg_drop_replication_slot(slot_name) {_SLOTS}", reason, _NO_SLOTS))
    return steps


async def connect(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    """Raises StackError where the server doesn't answer, or refuses the administrator."""
    try:
        return await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        hint = "check the database's host, port, admin_role and admin_password"
        raise StackError(f"the server can't be reached as its administrator: {error}", hint=hint) from error


async def plan(dsn: str, steps: list[Step]) -> list[bool]:
    """For each step whether there is anything to do, by what the database says now. Changes nothing."""
    connection = await connect(dsn)
    try:
        async with connection.transaction(readonly=True):
            return [not await _is_done(connection, step) for step in steps]
    finally:
        await connection.close()


async def _is_done(connection: asyncpg.Connection[asyncpg.Record], step: Step) -> bool:
    try:
        async with connection.transaction():  # a question about what isn't there fails, and that is an answer
            if step.login is not None:
                query = "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1"
                return is_verifier_of(step.login.password, await connection.fetchval(query, step.login.role))
            return bool(step.done) and bool(await connection.fetchval(f"SELECT {step.done}"))
    except asyncpg.PostgresError:
        return False


async def apply(dsn: str, steps: list[Step]) -> None:
    """Run the steps as the superuser of `dsn`, in that database, all or none; what is there already is left alone.

    Raises SettingsError where the server isn't ready for logical decoding, StackError naming the step that failed.
    """
    connection = await connect(dsn)
    try:
        level = await connection.fetchval("SHOW wal_level")
        if level != "logical":
            raise SettingsError(
                f"the server runs with wal_level = {level}",
                hint="ALTER SYSTEM SET wal_level = logical, then restart the server",
            )
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")  # rather than queue everybody
            # Two preparations of databases on one server meet in the shared catalog of roles.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('taprail onboarding'))")
            for step in steps:
                if await _is_done(connection, step):
                    continue
                try:
                    await connection.execute(step.sql)
                except asyncpg.PostgresError as error:
                    raise StackError(
                        f"preparing the database failed at “{step.reason}”: {error}",
                        hint="nothing was changed; correct it and run it again",
                    ) from error
    finally:
        await connection.close()


def quote(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant; standard_conforming_strings may be on or off (backslashes go into an E'' string)."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def dollar(body: str) -> str:
    """A dollar-quoted body, with a tag that the body doesn't hold."""
    tag = "taprail"
    while f"${tag}$" in body:
        tag += "_"
    return f"${tag}${body}${tag}$"


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What pg_authid keeps for a password (RFC 5803): the password itself never reaches the server or its log.

    Raises SettingsError for a password that isn't printable ASCII: SASLprep (RFC 4013) leaves only that unchanged.
    """
    if not password.isascii() or not password.isprintable():
        raise SettingsError("a role's password isn't printable ASCII", hint="make one with `openssl rand -base64 24`")
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def is_verifier_of(password: str, verifier: str | None) -> bool:
    """Whether it is the verifier of this password, as this module makes it. Another number of iterations isn't."""
    head, _, keys = (verifier or "").rpartition("$")
    mechanism, _, salted = head.partition("$")
    iterations, _, salt = salted.partition(":")
    if mechanism != "SCRAM-SHA-256" or iterations != str(SCRAM_ITERATIONS) or not keys:
        return False
    return hmac.compare_digest(scram_verifier(password, base64.b64decode(salt)), verifier or "")


def _role(database: str, login: Login, replication: str, reason: str) -> list[Step]:
    name = quote(login.role)
    create = f"CREATE ROLE {name}"
    exists = f"EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(login.role)})"
    attributes = f"LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS INHERIT {replication}"
    secret = f" PASSWORD {literal(scram_verifier(login.password))}" if login.password else ""
    is_so = (
        f"EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(login.role)} AND rolcanlogin AND rolinherit "
        f"AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls) AND "
        f"{'' if replication == 'REPLICATION' else 'NOT '}rolreplication)"
    )
    steps = [
        Step(f"DO {dollar(f'BEGIN IF NOT {exists} THEN {create}; END IF; END')}", f"{login.role}: {reason}", exists),
        Step(f"ALTER ROLE {name} {attributes}", f"{login.role}: no right that it doesn't need", is_so),
        Step(
            f"GRANT CONNECT ON DATABASE {quote(database)} TO {name}",
            f"{login.role}: sign in to this database",
            f"{exists} AND pg_catalog.has_database_privilege({literal(login.role)}, {literal(database)}, 'CONNECT')",
        ),
    ]
    if login.password:
        steps.append(Step(f"ALTER ROLE {name}{secret}", f"{login.role}: its password", login=login))
    for group in login.member_of:
        steps.append(
            Step(
                f"GRANT {quote(group)} TO {name}",
                f"{login.role}: the rights of {group}",
                f"{exists} AND pg_catalog.pg_has_role({literal(login.role)}, {literal(group)}, 'USAGE')",
            )
        )
    return steps


# Two messages for each command: one into the WAL, where it stands in the transaction's order, so that DDL can be
# attributed like rows; one to those who listen, so that the tap's catalog is refreshed.
_SAY = f"""
    PERFORM pg_catalog.pg_logical_emit_message(true, '{DDL_PREFIX}', pg_catalog.json_build_object(
      'tag', tg_tag, 'type', command.object_type, 'schema', command.schema_name,
      'object', pg_catalog.left(command.object_identity, {OBJECT_BYTES_MAX // 4}))::text);"""
_NOTIFY = f"PERFORM pg_catalog.pg_notify('{DDL_CHANNEL}', tg_tag);"

# A command that lists no object is told as well: better one word too many than a way to be silent.
_DDL_FUNCTION = f"""
DECLARE command record; told boolean := false;
BEGIN
  FOR command IN SELECT object_type, schema_name, object_identity FROM pg_catalog.pg_event_trigger_ddl_commands()
  LOOP
    told := true;
    CONTINUE WHEN command.schema_name = 'pg_temp';{_SAY}
  END LOOP;
  IF NOT told AND (tg_tag NOT LIKE 'DROP %' OR tg_tag = 'DROP OWNED') THEN
    SELECT '' AS object_type, '' AS schema_name, '' AS object_identity INTO command;{_SAY}
  END IF;
  {_NOTIFY}
END"""

_DROP_FUNCTION = f"""
DECLARE command record;
BEGIN
  FOR command IN
    SELECT object_type, schema_name, object_identity FROM pg_catalog.pg_event_trigger_dropped_objects()
    WHERE NOT is_temporary AND (original OR object_type IN ('table', 'view', 'materialized view'))
  LOOP{_SAY}
  END LOOP;
  {_NOTIFY}
END"""

# With its owner's rights: a trusted extension's tables don't belong to the one who creates the extension. The names
# come from the catalog, quoted by it; nothing of the caller's is run.
_IDENTITY_FUNCTION = """
DECLARE command record;
BEGIN
  FOR command IN
    SELECT DISTINCT c.oid FROM pg_catalog.pg_event_trigger_ddl_commands() AS made
    JOIN pg_catalog.pg_class AS c ON c.oid = made.objid
    WHERE made.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND made.object_type = 'table'
      AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relreplident <> 'f'
  LOOP
    EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY FULL', command.oid::pg_catalog.regclass);
  END LOOP;
END"""

_FUNCTIONS = {
    "emit_ddl": (_DDL_FUNCTION, "SECURITY INVOKER", "tell of DDL in its own transaction"),
    "emit_drop": (_DROP_FUNCTION, "SECURITY INVOKER", "tell of dropped objects, which the other event doesn't name"),
    "full_identity": (_IDENTITY_FUNCTION, "SECURITY DEFINER", "give REPLICA IDENTITY FULL to tables made later"),
}
# Triggers of one event fire in the order of their names: a table is made before its identity is changed.
_TRIGGERS = {
    "taprail_ddl": ("ddl_command_end", "emit_ddl", ()),
    "taprail_drop": ("sql_drop", "emit_drop", ()),
    "taprail_identity": ("ddl_command_end", "full_identity", ("CREATE TABLE", "CREATE TABLE AS", "SELECT INTO",
                                                              "CREATE SCHEMA", "CREATE EXTENSION")),
}  # fmt: skip


def _event_triggers() -> list[Step]:
    steps = []
    for name, (body, security, reason) in _FUNCTIONS.items():
        head = f"CREATE OR REPLACE FUNCTION {SCHEMA}.{name}() RETURNS event_trigger LANGUAGE plpgsql {security}"
        # A pinned search_path: the caller's own objects can't take the place of the catalog's.
        create = f"{head} SET search_path = pg_catalog, pg_temp AS {dollar(body)}"
        revoke = f"REVOKE ALL ON FUNCTION {SCHEMA}.{name}() FROM PUBLIC"  # event triggers need no such right
        done = (
            f"EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = '{name}' AND prosrc = {literal(body)} "
            f"AND pronamespace = pg_catalog.to_regnamespace('{SCHEMA}') AND proconfig IS NOT NULL "
            f"AND proacl IS NOT NULL AND prosecdef = {str(security.endswith('DEFINER')).lower()})"
        )
        steps.append(Step(f"{create}; {revoke}", reason, done))
    for name, (event, function, tags) in _TRIGGERS.items():
        only = f" WHEN TAG IN ({', '.join(map(literal, tags))})" if tags else ""
        create = f"CREATE EVENT TRIGGER {name} ON {event}{only} EXECUTE FUNCTION {SCHEMA}.{function}()"
        always = f"ALTER EVENT TRIGGER {name} ENABLE ALWAYS"  # also where session_replication_role is replica
        done = (
            f"EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = '{name}' AND evtenabled = 'A' "
            f"AND evtevent = '{event}' AND pg_catalog.cardinality(coalesce(evttags, '{{}}')) = {len(tags)})"
        )
        steps.append(Step(f"DROP EVENT TRIGGER IF EXISTS {name}; {create}; {always}", _FUNCTIONS[function][2], done))
    return steps


_TABLES = """
    SELECT c.oid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relreplident <> 'f'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'"""

# What a table had before is remembered, so that `undo` can give it back.
_IDENTITIES = f"""
DECLARE relation regclass;
BEGIN
  IF pg_catalog.to_regclass('{SCHEMA}.replica_identity') IS NULL THEN
    CREATE TABLE {SCHEMA}.replica_identity (relation oid PRIMARY KEY, identity "char" NOT NULL, index_name text);
    INSERT INTO {SCHEMA}.replica_identity
      SELECT c.oid, 'f' FROM pg_catalog.pg_class AS c WHERE c.relreplident = 'f' AND c.relkind IN ('r', 'p')
        AND c.relnamespace <> pg_catalog.to_regnamespace('{SCHEMA}');
  END IF;
  FOR relation IN {_TABLES}
  LOOP
    INSERT INTO {SCHEMA}.replica_identity
      SELECT c.oid, c.relreplident, (SELECT i.indexrelid::pg_catalog.regclass::text FROM pg_catalog.pg_index AS i
                                     WHERE i.indrelid = c.oid AND i.indisreplident)
      FROM pg_catalog.pg_class AS c WHERE c.oid = relation ON CONFLICT DO NOTHING;
    EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY FULL', relation);
  END LOOP;
END"""

_IDENTITIES_BACK = rf"""DO $taprail$
DECLARE had record;
BEGIN
  IF pg_catalog.to_regclass('{SCHEMA}.replica_identity') IS NULL THEN
    RETURN;
  END IF;
  FOR had IN
    SELECT c.oid::pg_catalog.regclass AS relation, coalesce(r.identity, 'd') AS identity,
           (SELECT x.relname FROM pg_catalog.pg_class AS x
            WHERE x.oid = pg_catalog.to_regclass(r.index_name)) AS index_name
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN {SCHEMA}.replica_identity AS r ON r.relation = c.oid
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relreplident = 'f'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{SCHEMA}') AND n.nspname NOT LIKE 'pg\_toast%'
  LOOP
    EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', had.relation, CASE had.identity
      WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL'
      WHEN 'i' THEN coalesce(pg_catalog.format('USING INDEX %I', had.index_name), 'DEFAULT') ELSE 'DEFAULT' END);
  END LOOP;
END
$taprail$"""


# Ours are named after the database, by the connector.
_SLOTS = (
    "FROM pg_catalog.pg_replication_slots WHERE database = pg_catalog.current_database() "
    f"AND pg_catalog.starts_with(slot_name, '{PUBLICATION}_')"
)
_NO_SLOTS = f"NOT EXISTS (SELECT {_SLOTS})"


def _published() -> str:
    return f"EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {literal(PUBLICATION)})"


def _feed() -> list[Step]:
    exists = _published()
    create = f"CREATE PUBLICATION {PUBLICATION} FOR ALL TABLES"
    return [
        Step(
            f"DO {dollar(_IDENTITIES)}",
            "changes carry the row as it was, and deletes name their rows",
            f"pg_catalog.to_regclass('{SCHEMA}.replica_identity') IS NOT NULL AND NOT EXISTS ({_TABLES})",
        ),
        Step(
            f"DO {dollar(f'BEGIN IF NOT {exists} THEN {create}; END IF; END')}", "publish all tables' changes", exists
        ),
    ]
