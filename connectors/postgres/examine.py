"""What a server says of itself and of the roles that a tap uses there, for whoever checks a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from msgspec import Struct

from taprail.connectors.postgres.onboard import PUBLICATION, SCHEMA
from taprail.schemas.errors import StackError

_ROLES = """
SELECT rolname, rolsuper, rolbypassrls, rolreplication, rolcreaterole
FROM pg_catalog.pg_roles WHERE rolname = ANY($1)"""
_TRIGGERS = "SELECT count(*) FROM pg_catalog.pg_event_trigger WHERE evtname LIKE 'taprail%' AND evtenabled <> 'D'"
_PERSON = """
SELECT count(*) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname = 'person' AND p.pronargs = 0"""
_PUBLICATION = "SELECT count(*) FROM pg_catalog.pg_publication WHERE pubname = $1"


class RoleFacts(Struct, frozen=True):
    """Rights of a role that grants and row-level security don't bound."""

    name: str
    superuser: bool
    bypass_rls: bool
    replication: bool
    create_role: bool


class Examined(Struct, frozen=True):
    """One database, as the catalog's role sees it. `version` is PostgreSQL's number, 180006 for 18.6."""

    version: int
    encoding: str
    wal_level: str
    roles: tuple[RoleFacts, ...]
    event_triggers: int
    publications: int
    person_functions: int


async def examine(connect: Mapping[str, Any], roles: Sequence[str], timeout_s: float = 10.0) -> Examined:
    """Ask the database that `connect` (asyncpg's arguments) leads to. Raises StackError."""
    try:
        connection = await asyncpg.connect(**connect, timeout=timeout_s)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StackError(str(error) or type(error).__name__, hint="are host, role, password and TLS right?") from error
    try:
        found = await connection.fetch(_ROLES, list(roles), timeout=timeout_s)
        return Examined(
            version=int(await connection.fetchval("SHOW server_version_num")),
            encoding=str(await connection.fetchval("SHOW server_encoding")),
            wal_level=str(await connection.fetchval("SHOW wal_level")),
            roles=tuple(RoleFacts(*row) for row in found),
            event_triggers=int(await connection.fetchval(_TRIGGERS)),
            publications=int(await connection.fetchval(_PUBLICATION, PUBLICATION)),
            person_functions=int(await connection.fetchval(_PERSON, SCHEMA)),
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StackError(f"the catalog can't be read: {error}", hint="see `taprail init`") from error
    finally:
        connection.terminate()
