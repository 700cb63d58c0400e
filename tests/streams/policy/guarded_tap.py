"""A tap with the shipped guard before a real PostgreSQL, and every byte that it sends to a client.

The database is prepared as `taprail init` prepares one; the spool is a real one that nobody drains.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import psycopg
import uvloop
from psycopg import sql

from taprail.connectors.postgres import onboard
from taprail.connectors.postgres.catalog import CatalogWatcher
from taprail.connectors.postgres.proxy import Hooks, Proxy
from taprail.connectors.postgres.signin import Identity, Login, ScramSecret
from taprail.connectors.postgres.upstream import Target
from taprail.connectors.spool.spool import Spool
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Durability, Request, SessionContext, Ticket, Verdict
from taprail.schemas.records import Person
from taprail.streams.approvals.waiter import DecisionDesk
from taprail.streams.gate import TapGate
from taprail.streams.masking.classify import classify
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.guard import PolicyGuard
from taprail.streams.recording import SpoolRecorder
from taprail.streams.tap import TapRecorder

MARK_KEY = secrets.token_bytes(32)
HOLD_SECONDS = 1
Returned = TypeVar("Returned")


class Trusted:
    """Everybody is who they say they are: `ann` sees masked data, `owner` belongs to the data's owners."""

    def method(self, login: Login) -> Literal["token", "scram", "none"]:
        return "none"

    async def token(self, login: Login, token: str) -> Identity:
        raise RefusedError("no tokens here")

    def secret(self, login: Login) -> ScramSecret | None:
        return None

    def identity(self, login: Login) -> Identity:
        groups = ("data-owners",) if login.user == "owner" else ("engineers",)
        kind: Literal["agent", "person"] = "agent" if login.user == "agent" else "person"
        return Identity(Person(login.user, login.user, kind, groups), "none")


class Witness(TapRecorder):
    """The tap's recorder, which also keeps the verdicts for the tests to look at."""

    def __init__(self, inner: SpoolRecorder, watchers: dict[str, CatalogWatcher]) -> None:
        super().__init__(inner, watchers)
        self.verdicts: list[tuple[str, Verdict]] = []

    def statement(self, request: Request, verdict: Verdict, *, approval: str = "", held_sequence: int = 0) -> Ticket:
        self.verdicts.append((request.text, verdict))
        return super().statement(request, verdict, approval=approval, held_sequence=held_sequence)


async def at_once(_: Durability) -> None:
    """Nothing publishes what is recorded here."""


class GuardedTap:
    """One database, named as its environment, behind a tap. Upstream everybody is a superuser: what the server's own
    permissions would refuse is no merit of the guard."""

    def __init__(self, endpoints: Endpoints, database: str, environment: str) -> None:
        self.endpoints, self.database, self.environment = endpoints, database, environment
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._directory = Path(tempfile.mkdtemp(prefix="taprail-guard-"))
        self._spool = Spool(self._directory)
        postgres = endpoints.postgres
        self._login = {"host": postgres.host, "port": postgres.port, "user": postgres.superuser}
        self.watcher = CatalogWatcher(
            {**self._login, "password": postgres.password, "database": database}, None, classify
        )
        watchers = {database: self.watcher}
        settings = RuleSettings(clear_groups=("data-owners",), hold_seconds=HOLD_SECONDS)
        self.guard = PolicyGuard(lambda name: watchers[name].catalog, settings)
        self.recorder = Witness(
            SpoolRecorder(self._spool, Sealer("data-1", secrets.token_bytes(32)), MARK_KEY), watchers
        )
        gate = TapGate(self.guard, DecisionDesk({}), watchers, at_once)
        hooks = Hooks(Trusted(), lambda *_: self._target(), self.guard, self.recorder, gate)
        self.sent = bytearray()  # to all clients
        self.run(self._start(hooks))

    async def _start(self, hooks: Hooks) -> None:
        self.watcher.start()
        self._proxy = Proxy("tap-1", hooks)
        self._tap_port = await self._proxy.listen("127.0.0.1", 0)
        self._wire = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port: int = self._wire.sockets[0].getsockname()[1]
        await self.watcher.wait_current()

    def _target(self) -> Target:
        postgres = self.endpoints.postgres
        return Target(
            environment=self.environment,
            server="main",
            database=self.database,
            host=postgres.host,
            port=postgres.port,
            upstream_database=self.database,
            role=postgres.superuser,
            password=postgres.password,
        )

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Between a client and the tap, and keep what the tap says."""
        tap_reader, tap_writer = await asyncio.open_connection("127.0.0.1", self._tap_port)

        async def upward() -> None:
            while data := await reader.read(65536):
                tap_writer.write(data)
            tap_writer.close()

        async def downward() -> None:
            while data := await tap_reader.read(65536):
                self.sent += data
                writer.write(data)
            writer.close()

        await asyncio.gather(upward(), downward(), return_exceptions=True)

    def run(self, work: Awaitable[Returned]) -> Returned:
        async def call() -> Returned:
            return await work

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(30)

    def refresh(self) -> None:
        """The catalog is as the server's is now."""

        async def again() -> None:
            self.watcher.stale()
            await self.watcher.wait_current()

        self.run(again())

    def conninfo(self, user: str = "ann", **options: str) -> str:
        given = {"host": "127.0.0.1", "port": str(self.port), "user": user, "dbname": self.database}
        return psycopg.conninfo.make_conninfo(**given, sslmode="disable", gssencmode="disable", **options)

    def connect(self, user: str = "ann", **options: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo(user, **options), autocommit=True)

    def direct(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.endpoints.postgres.dsn(self.database), autocommit=True)

    def session(self, user: str = "ann", **fields: Any) -> SessionContext:
        """As the tap would make it, for questions to the guard without a connection."""
        person = Trusted().identity(Login(user, self.database, "", "", False)).person
        given = {"environment": self.environment, "server": "main", "role": "app", "person": person, **fields}
        return SessionContext("s-1", "tap-1", database=self.database, method="none", **given)

    def judge(self, text: str, user: str = "ann", **fields: Any) -> Verdict:
        return self.guard.judge(Request(text, self.session(user, **fields), "simple"))

    def close(self) -> None:
        async def end() -> None:
            self._wire.close()
            await self._proxy.close()
            await self.watcher.stop()

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self._spool.close()
        shutil.rmtree(self._directory)


@contextmanager
def guarded_tap(endpoints: Endpoints, environment: str = "dev", setup: str = "") -> Iterator[GuardedTap]:
    """A new database, prepared and with `setup` run in it, behind a tap; gone afterwards."""
    name = f"guard_{secrets.token_hex(6)}"
    with psycopg.connect(endpoints.postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            dsn = endpoints.postgres.dsn(name)
            asyncio.run(onboard.apply(dsn, onboard.prepare(onboard.Onboarding(name))))
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(setup.encode())
            tap = GuardedTap(endpoints, name, environment)
            try:
                yield tap
            finally:
                tap.close()
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
