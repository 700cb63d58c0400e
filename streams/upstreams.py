"""How a tap reaches its databases: as a session's role, and as the role that reads the catalog."""

from __future__ import annotations

import ssl
from typing import Any

from taprail.connectors.postgres.upstream import Target, client_context
from taprail.schemas.guard import Durability
from taprail.streams.settings import Database, Loaded


def target_of(
    database: Database, role: str, password: str, tls: ssl.SSLContext | None, durability: Durability
) -> Target:
    """Where a session of this database goes, as this role. `tls` is `upstream_tls`'s."""
    return Target(
        environment=database.environment,
        server=database.server,
        database=database.name,
        host=database.host,
        port=database.port,
        upstream_database=database.upstream,
        role=role,
        password=password,
        ssl=tls,
        direct_tls=database.direct_tls,
        minor=int(database.protocol.partition(".")[2]),
        durability=database.durability or durability,
    )


def catalog_connect(loaded: Loaded, database: Database) -> dict[str, Any]:
    """asyncpg's arguments for the catalog's role, `ssl` excepted."""
    connect: dict[str, Any] = {
        "host": database.host,
        "port": database.port,
        "database": database.upstream,
        "user": database.catalog_role,
        "password": loaded.secret(database.catalog_password, f"databases.{database.name}.catalog_password"),
    }
    return {**connect, "direct_tls": True} if database.direct_tls else connect


def upstream_tls(database: Database, loaded: Loaded) -> ssl.SSLContext | None:
    """How the tap encrypts to the server: `require` believes any certificate, `verify-full` only the right one."""
    if database.tls == "disable":
        return None
    context = ssl.create_default_context(cafile=str(loaded.path(database.ca_file)) if database.ca_file else None)
    if database.tls == "require":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return client_context(context)
