"""Services for tests, from one fixture: `stack` hands out endpoints.

Where a Docker engine answers they run in containers, otherwise as local child processes. They start when the first
test asks for them, once a session, and end with it. `TAPRAIL_TEST_ENDPOINTS=<endpoints.json>` uses a running stack.

Topics are shared by all tests of a session, so a test makes its own database, session ids and group ids.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
from psycopg import sql

from taprail.connectors.debezium.connector import connector_config, register, unregister
from taprail.connectors.kafka.admin import delete_topics, ensure_change_feed
from taprail.connectors.local.stack import LocalStack
from taprail.schemas.endpoints import Endpoints, read_endpoints


def pytest_configure() -> None:
    """A compiled copy that is older than its source would be tested in its place."""
    root = Path(__file__).parent.parent
    for library in (found for room in ("schemas", "connectors", "streams") for found in (root / room).rglob("*.so")):
        source = library.with_name(library.name.partition(".")[0] + ".py")
        if source.exists() and source.stat().st_mtime > library.stat().st_mtime:
            pytest.exit(f"{source} is newer than its compiled copy: run `make lint`, which builds it", returncode=3)


@pytest.fixture(scope="session")
def stack() -> Iterator[Endpoints]:
    """Kafka, Connect, registry, PostgreSQL and identity provider, real ones."""
    with _services() as endpoints:
        yield endpoints


@pytest.fixture
def fresh_database(stack: Endpoints) -> Iterator[str]:
    """The name of an empty database, dropped afterwards with its replication slots."""
    name = f"test_{secrets.token_hex(6)}"
    identifier = sql.Identifier(name)
    with psycopg.connect(stack.postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        yield name
        _drop_slots(connection, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


@pytest.fixture
def change_feed(stack: Endpoints, fresh_database: str) -> Iterator[Callable[[str], str]]:
    """A function: read this database's changes into a topic of its own, whose name it returns.

    Tables want REPLICA IDENTITY FULL before. The publication is made FOR ALL TABLES, unless it is there. The fixture
    asks for `fresh_database` so that its connectors are gone before that database is dropped.
    """
    topics: dict[str, str] = {}

    def start(database: str) -> str:
        postgres = stack.postgres
        with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_publication WHERE pubname = 'taprail'").fetchone() is None:
                connection.execute("CREATE PUBLICATION taprail FOR ALL TABLES")
        topics[database] = ensure_change_feed(stack.kafka, "test", database)
        host, port = (stack.postgres_from_connect or f"{postgres.host}:{postgres.port}").split(":")
        config = connector_config(
            server="test",
            database=database,
            host=host,
            port=int(port),
            user=postgres.superuser,
            password=postgres.password,
            registry_url=stack.registry_from_connect or stack.registry_url,
        )
        register(stack.connect, database, config)
        return topics[database]

    yield start
    for connector in topics:
        unregister(stack.connect, connector)
    delete_topics(stack.kafka, topics.values())


@contextmanager
def _services() -> Iterator[Endpoints]:
    running = os.environ.get("TAPRAIL_TEST_ENDPOINTS")
    if running:
        yield read_endpoints(Path(running))
        return
    containers = _containers()
    if containers.engine_answers():
        services: AbstractContextManager[Endpoints] = containers.container_stack()
        with services as endpoints:
            yield endpoints
        return
    home = Path(tempfile.mkdtemp(prefix="taprail-test-"))
    try:
        with LocalStack(home) as local:
            yield local.endpoints
    finally:
        shutil.rmtree(home)


def _containers() -> ModuleType:
    """tests/containers.py: test folders aren't packages, so it is loaded by its path."""
    path = Path(__file__).with_name("containers.py")
    spec = importlib.util.spec_from_file_location("taprail_test_containers", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _drop_slots(connection: psycopg.Connection, database: str) -> None:
    """A slot can be dropped when nobody reads it, and a database when it has no slot."""
    own = "FROM pg_replication_slots WHERE database = %s"
    connection.execute(f"SELECT pg_terminate_backend(active_pid) {own} AND active", [database])
    for _ in range(100):
        if not connection.execute(f"SELECT {own} AND active", [database]).fetchall():
            break
        connection.execute("SELECT pg_sleep(0.05)")
    connection.execute(f"SELECT pg_drop_replication_slot(slot_name) {own}", [database])
