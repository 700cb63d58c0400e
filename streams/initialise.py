"""`taprail init`: topics and rights, schemas, prepared databases, change feeds. Doing it twice is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from taprail.connectors.debezium.connector import connector_config, register
from taprail.connectors.kafka.admin import ensure_change_feed, provision
from taprail.connectors.kafka.registry import Registry
from taprail.connectors.postgres import onboard, person
from taprail.schemas import avro
from taprail.schemas.endpoints import ROLES, ConnectEndpoint
from taprail.streams.identity.passed_on import key_of
from taprail.streams.settings import Database, Loaded


def initialise(loaded: Loaded, progress: Callable[[str], None]) -> None:
    kafka = loaded.kafka(*(role for role in ROLES if role in loaded.settings.kafka.passwords))
    provision(kafka)
    progress("topics and access rules are there")
    registry = Registry(loaded.settings.registry.url)
    for record in avro.RECORDS:
        registry.register(f"taprail.{record.__name__}", avro.schema_of(record))
    progress(f"{len(avro.RECORDS)} schemas are registered")
    databases = loaded.settings.databases
    for database in databases:
        if database.admin_role:
            asyncio.run(onboard.apply(admin_dsn(loaded, database), steps(loaded, database)))
    progress(f"databases are prepared: {', '.join(d.name for d in databases)}")
    feeds = [d for d in databases if d.feed_role and loaded.settings.connect.url]
    for database in feeds:
        ensure_change_feed(kafka, database.server, database.upstream)
    with ThreadPoolExecutor() as pool:  # Connect takes a second for each
        list(pool.map(lambda d: _register(loaded, d), feeds))
    progress(f"change feeds run: {', '.join(d.name for d in feeds) or 'none'}")


def connect_endpoint(loaded: Loaded) -> ConnectEndpoint:
    connect = loaded.settings.connect
    return ConnectEndpoint(connect.url, connect.user, _secret(loaded, connect.password))


def connector_name(database: Database) -> str:
    return f"taprail-{database.server}-{database.upstream}"


def _register(loaded: Loaded, database: Database) -> None:
    endpoint = connect_endpoint(loaded)
    name = connector_name(database)
    config = connector_config(
        server=database.server,
        database=database.upstream,
        host=database.host,
        port=database.port,
        user=database.feed_role,
        password=_secret(loaded, database.feed_password),
        registry_url=loaded.settings.registry.url,
        sslmode=database.tls,
    )
    register(endpoint, name, config)


def steps(loaded: Loaded, database: Database) -> list[onboard.Step]:
    """What prepares a database, `taprail.person()` included where there is a key for it."""
    key = key_of(loaded, database)
    told = person.install(key) if key else []
    return [
        *onboard.prepare(onboarding(loaded, database)),
        *(onboard.Step(each.sql, each.reason, each.done, secret=True) for each in told),
    ]


def undoing(loaded: Loaded, database: Database) -> list[onboard.Step]:
    """What takes it back."""
    removed = [onboard.Step(each.sql, each.reason, each.done) for each in person.remove()]
    return [*removed, *onboard.undo(onboarding(loaded, database))]


def onboarding(loaded: Loaded, database: Database) -> onboard.Onboarding:
    logins = {
        m.role: onboard.Login(m.role, loaded.secret(m.password, f"databases.{database.name}.roles"), m.member_of)
        for m in database.roles
    }
    feed = onboard.Login(database.feed_role, _secret(loaded, database.feed_password)) if database.feed_role else None
    catalog = onboard.Login(database.catalog_role, loaded.secret(database.catalog_password))
    return onboard.Onboarding(database.upstream, tuple(logins.values()), catalog, feed)


def admin_dsn(loaded: Loaded, database: Database) -> str:
    password = quote(_secret(loaded, database.admin_password), safe="")
    place = f"{database.host}:{database.port}/{quote(database.upstream, safe='')}"
    return f"postgresql://{quote(database.admin_role, safe='')}:{password}@{place}"


def _secret(loaded: Loaded, reference: str | None) -> str:
    return loaded.secret(reference) if reference else ""
