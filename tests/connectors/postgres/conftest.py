"""A real PostgreSQL, a tap before it with a guard that a test scripts, and the records that the tap wrote."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import postgast
import psycopg
import pytest
import uvloop

from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.postgres import Postgres
from taprail.connectors.postgres import rows
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.proxy import Hooks, Proxy
from taprail.connectors.postgres.scram import ScramSecret, scram_secret
from taprail.connectors.postgres.session import Session
from taprail.connectors.postgres.signin import Identity, Login
from taprail.connectors.postgres.upstream import Target
from taprail.schemas.errors import RefusedError, SpoolError
from taprail.schemas.guard import Durability, Facts, Part, Release, Request, Result, SessionContext, Ticket, Verdict
from taprail.schemas.records import Person, RelationUse

ANN = Person(subject="ann", name="Ann", kind="person", issuer="https://idp.example")
TOKEN, SERVICE_PASSWORD = "a.good.token", "a service's password"
Returned = TypeVar("Returned")
_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)(?:\s+(\w+))?", re.DOTALL)
_TRANSACTION: dict[str, Any] = {"begin": "begin", "start": "begin", "commit": "commit", "end": "commit"}
_WRITES = {"insert", "update", "delete", "merge"}


def facts_of(text: str) -> Facts:
    """Enough facts for these tests, by the first words of a statement; the real ones come from a real parse."""
    match = _WORD.match(text)
    first, second = (match[1].lower(), (match[2] or "").lower()) if match else ("", "")
    transaction = _TRANSACTION.get(first, "")
    if first == "rollback":
        transaction = "rollback_to" if second == "to" else "rollback"
    settings: tuple[tuple[str, str], ...] = ()
    if first == "set" and (found := re.match(r"\s*set\s+(?:local\s+)?(\w+)\s*(?:=|to)\s*(.*)", text, re.I)):
        settings = ((found[1].lower(), found[2].strip().strip("'")),)
    return Facts(
        tag="DISCARD ALL" if first == "discard" else first.upper(),
        relations=(RelationUse("", "t", "read"),) if re.search(r"\bfrom\b|\binto\b", text, re.I) else (),
        writes=first in _WRITES,
        utility=first not in {"select", "with", "values", *_WRITES},
        opaque=first in {"do", "call"},
        transaction=transaction,
        settings=settings,
        copy="out" if "to stdout" in text.lower() else "in" if "from stdin" in text.lower() else "",
        prepares=second if first == "prepare" else "",
        executes=second if first == "execute" else "",
        declares=second if first == "declare" else "",
        fetches=text.split()[-1].strip(";") if first == "fetch" else "",
        deallocates=("" if second == "all" else second)
        if first == "deallocate"
        else ""
        if first == "discard"
        else None,
    )


class ScriptedGuard:
    """Allows everything but what `rule` decides otherwise; writes carry marks."""

    def __init__(self) -> None:
        self.rule: Callable[[Request, Verdict], Verdict] = lambda _, verdict: verdict
        self.lift: Callable[[Request, Verdict], Verdict] = lambda _, verdict: verdict
        self.judged: list[Request] = []

    def split(self, text: str) -> tuple[Part, ...]:
        try:
            statements = postgast.split(text)
        except postgast.PgQueryError as error:
            raise RefusedError(str(error)) from error
        parts, encoded, at = [], text.encode(), 0
        for statement in statements:
            start = encoded.index(statement.encode(), at)
            at = start + len(statement.encode())
            parts.append(Part(start, at - start))
        return tuple(parts)

    def judge(self, request: Request) -> Verdict:
        self.judged.append(request)
        facts = facts_of(request.text)
        mark: Literal["carried", "none"] = "carried" if facts.writes else "none"
        verdict = Verdict("allow", facts, request.text, "fp", "v1", mark=mark)
        return self.rule(request, verdict)

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        return self.lift(request, verdict)


class MemoryRecorder:
    """Keeps records in lists; `broken` is a spool that takes nothing."""

    def __init__(self) -> None:
        self.statements: list[tuple[Request, Verdict, Ticket]] = []
        self.outcomes: list[tuple[Request, Result, Ticket]] = []
        self.sessions: list[tuple[str, SessionContext, str]] = []
        self.approvals: list[tuple[str, int]] = []
        self.spent: list[str] = []
        self.broken = False
        self.marks = True

    def statement(self, request: Request, verdict: Verdict, *, approval: str = "", held_sequence: int = 0) -> Ticket:
        if self.broken:
            raise SpoolError("the spool is full", hint="let it drain")
        sequence = len(self.statements) + 1
        runs = verdict.action in ("allow", "mask") or approval
        mark = f"1|tap-1|7|{sequence}|main|it's" if runs and self.marks and verdict.mark == "carried" else ""
        ticket = Ticket(7, sequence, mark, time.time_ns() // 1000)
        self.statements.append((request, verdict, ticket))
        if approval:
            self.approvals.append((approval, held_sequence))
        return ticket

    def spend(self, approval: str) -> None:
        if approval in self.spent:
            raise RefusedError(f"approval {approval} was used already")
        self.spent.append(approval)

    def outcome(self, ticket: Ticket, request: Request, verdict: Verdict, result: Result) -> None:
        self.outcomes.append((request, result, ticket))

    def session(self, context: SessionContext, event: Literal["opened", "closed", "refused"], reason: str = "") -> None:
        self.sessions.append((event, context, reason))

    def texts(self) -> list[str]:
        return [request.text for request, _, _ in self.statements]

    def ended(self) -> list[tuple[str, str, int, str]]:
        """(text, status, rows, transaction status) of every outcome."""
        return [(request.text, r.status, r.rows, r.transaction_status) for request, r, _ in self.outcomes]


class ScriptedGate:
    """Answers what a test has set."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.decide: Callable[[Request], Awaitable[Release]] = self._approve
        self.refresh: Callable[[Request], Awaitable[None]] = self._nothing
        self.settle: Callable[[Durability], Awaitable[None]] = self._at_once

    async def _approve(self, _: Request) -> Release:
        return Release(True, approval_id="approval-1")

    async def _nothing(self, _: Request) -> None:
        return None

    async def _at_once(self, _: Durability) -> None:
        return None

    async def catalog(self, request: Request) -> None:
        await self.refresh(request)

    async def recorded(self, durability: Durability) -> None:
        await self.settle(durability)

    async def approval(
        self, request: Request, verdict: Verdict, ticket: Ticket, requests: tuple[Request, ...] = ()
    ) -> Release:
        self.asked.append(request)
        return await self.decide(request)


class ScriptedAuthenticator:
    """`ann` signs in with a token, `service` with SCRAM, `trusted` with nothing."""

    def __init__(self) -> None:
        self._secret = scram_secret(SERVICE_PASSWORD)

    def method(self, login: Login) -> Literal["token", "scram", "none"]:
        methods: dict[str, Literal["token", "scram", "none"]] = {"ann": "token", "trusted": "none"}
        return methods.get(login.user, "scram")

    async def token(self, login: Login, token: str) -> Identity:
        if token != TOKEN:
            raise RefusedError("the access token isn't valid", hint="sign in again")
        return Identity(ANN, "oidc")

    async def speaks_for(self, login: Login, identity: Identity, statement: str) -> Identity:
        raise RefusedError("nobody speaks for anybody here")

    def secret(self, login: Login) -> ScramSecret | None:
        return self._secret if login.user == "service" else None

    def identity(self, login: Login) -> Identity:
        method: Literal["scram", "none"] = "none" if login.user == "trusted" else "scram"
        return Identity(Person(subject=login.user, name=login.user, kind="service"), method)


class LoopThread:
    """An event loop in a thread of its own, so that blocking clients can be tested."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Awaitable[Returned]) -> Returned:
        async def call() -> Returned:
            return await work

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Bed:
    """A tap before a server. `dsn` is the tap's, `direct` the server's."""

    def __init__(self, server: Postgres, thread: LoopThread, **options: Any) -> None:
        self.server, self.thread = server, thread
        self.guard, self.recorder, self.gate = ScriptedGuard(), MemoryRecorder(), ScriptedGate()
        self.target: Callable[[Login], Target] = self._target
        authenticator = options.pop("authenticator", None) or ScriptedAuthenticator()
        hooks = Hooks(authenticator, lambda login, _: self.target(login), self.guard, self.recorder, self.gate)
        self.durability: Durability = options.pop("durability", "process")
        options = {"plaintext_tokens": True, **options}
        self.proxy: Proxy = thread.run(self._make(hooks, options))
        self.port = thread.run(self.proxy.listen("127.0.0.1", 0))

    async def _make(self, hooks: Hooks, options: dict[str, Any]) -> Proxy:
        return Proxy("tap-1", hooks, **options)

    def _target(self, login: Login) -> Target:
        endpoint = self.server.endpoint
        return Target(
            environment="test",
            server="main",
            database=login.database,
            host=endpoint.host,
            port=endpoint.port,
            upstream_database=login.database,
            role=endpoint.superuser,
            password=endpoint.password,
            durability=self.durability,
        )

    def conninfo(self, user: str = "trusted", password: str = "", **options: str) -> str:
        given = {"host": "127.0.0.1", "port": str(self.port), "user": user, "dbname": "postgres", **options}
        given.setdefault("sslmode", "disable")
        if password:
            given["password"] = password
        return psycopg.conninfo.make_conninfo(**given)

    def connect(self, user: str = "trusted", password: str = "", **options: Any) -> psycopg.Connection[Any]:
        python = {key: options.pop(key) for key in ("autocommit", "cursor_factory") if key in options}
        return psycopg.connect(self.conninfo(user, password, **options), **{"autocommit": True, **python})

    def direct(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.endpoint.dsn(), autocommit=True)

    def settle(self, check: Callable[[], object]) -> None:
        """Wait until `check` is true: records are written on the tap's thread."""
        end = time.monotonic() + 10
        while not check():
            assert time.monotonic() < end, "it didn't happen within 10 s"
            time.sleep(0.01)

    def close(self) -> None:
        self.thread.run(self.proxy.close())


@pytest.fixture(scope="session")
def thread() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL of these tests' own, with logical decoding."""
    with a_server() as made:
        yield made


class a_server:
    def __enter__(self) -> Postgres:
        self._home = Path(tempfile.mkdtemp(prefix="taprail-tap-"))
        port = choose_ports(["postgres"], self._home / "ports.json")["postgres"]
        (self._home / "logs").mkdir()
        programs = os.environ.get("TAPRAIL_TEST_POSTGRES")  # another version's: see tests/postgres_versions.py
        self._server = Postgres(self._home / "postgres", port, programs=Path(programs) if programs else None)
        self._server.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.child.stop()
        shutil.rmtree(self._server.data.parent, ignore_errors=True)
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.fixture
def mortal_server() -> Iterator[Postgres]:
    """A PostgreSQL for one test to kill."""
    with a_server() as made:
        yield made


@pytest.fixture
def beds(server: Postgres, thread: LoopThread) -> Iterator[Callable[..., Bed]]:
    """Make a tap with options of its own."""
    made: list[Bed] = []

    def make(of: Postgres | None = None, **options: Any) -> Bed:
        made.append(Bed(of or server, thread, **options))
        return made[-1]

    yield make
    for bed in made:
        bed.close()


@pytest.fixture
def bed(beds: Callable[..., Bed]) -> Bed:
    return beds()


@pytest.fixture(params=["pure", "built"])
def rows_variant(request: pytest.FixtureRequest) -> ModuleType:
    """`rows.py` as Python, and as this installation has built it (compiled where a compiler was at hand)."""
    if request.param == "built":
        return rows
    source = Path(rows.__file__).with_name("rows.py")
    spec = importlib.util.spec_from_file_location("taprail_rows_pure", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Offline:
    """A session without sockets; what it says to either side is collected."""

    def __init__(self, limits: Limits | None = None, durability: Durability = "process") -> None:
        self.guard, self.recorder = ScriptedGuard(), MemoryRecorder()
        context = SessionContext("s", "tap-1", "test", "main", "shop", "app", ANN, "oidc")
        self.session = Session(context, self.guard, self.recorder, limits, durability=durability)
        self.server = self.client = b""

    def from_client(self, data: bytes) -> bytes:
        self.session.from_client(data)
        self.client += self.session.take_to_client()
        sent = self.session.take_to_server()
        self.server += sent
        return sent

    def from_server(self, data: bytes) -> bytes:
        self.session.from_server(data)
        self.server += self.session.take_to_server()
        sent = self.session.take_to_client()
        self.client += sent
        return sent


@pytest.fixture
def offline() -> Callable[..., Offline]:
    return Offline
