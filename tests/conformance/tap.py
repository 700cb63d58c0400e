"""The tap that the suites go through: a process of its own, whose policy allows everything.

    PGPASSWORD=... python -m tests.conformance.tap PORT SPOOL [marks]

It prints its port, and serves until it is told to end. Its proxy, its splitting and parsing (libpg_query), its facts
and its recorder are the shipped tap's: each statement is written into a spool file before it runs. What differs: the
rules of a policy, the catalog and the masks aren't asked, anybody may sign in, and nobody drains the spool. With
`marks`, what writes by its text carries a mark, as does EXECUTE; the shipped guard asks about functions, too.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import uvloop

from taprail.connectors.local.postgres import SUPERUSER
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.proxy import Hooks, Proxy, Serving
from taprail.connectors.postgres.scram import ScramSecret, scram_secret
from taprail.connectors.postgres.signin import Identity, Login
from taprail.connectors.postgres.upstream import Target
from taprail.connectors.spool.spool import Spool
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Durability, Facts, Part, Release, Request, Ticket, Verdict
from taprail.schemas.records import Person
from taprail.streams.policy import sql
from taprail.streams.policy.facts import facts_of
from taprail.streams.policy.guard import SYNTAX, SYNTAX_ERROR
from taprail.streams.recording import SpoolRecorder

SPOOL_BYTES = 16 << 30
# What the suites choose at start-up besides what a tap allows by itself; an administrator may allow the same.
ALLOWED_SETTINGS = frozenset({"default_statistics_target", "compute_query_id", "enable_seqscan"})


class Anybody:
    """Implements `Authenticator`: the superuser has the password that the server wants of it; others prove nothing."""

    def __init__(self, password: str) -> None:
        self._secret = scram_secret(password)

    def method(self, login: Login) -> Literal["token", "scram", "none"]:
        return "scram" if login.user == SUPERUSER else "none"

    async def token(self, login: Login, token: str) -> Identity:
        raise RefusedError("no tokens here")

    async def speaks_for(self, login: Login, identity: Identity, statement: str) -> Identity:
        raise RefusedError("nobody speaks for anybody here")

    def secret(self, login: Login) -> ScramSecret | None:
        return self._secret if login.user == SUPERUSER else None

    def identity(self, login: Login) -> Identity:
        return Identity(Person(subject=login.user, name=login.user, kind="service"), "none")


@lru_cache(maxsize=4096)
def verdict_of(text: str) -> Verdict:
    """Everything that the server's own grammar can read is allowed; the rest is refused, as every tap refuses it."""
    normalised = sql.normalise(text)
    fingerprint = sql.fingerprint(normalised)
    try:
        statements = sql.parse(text).stmts
        facts = facts_of(statements[0].stmt) if statements else Facts("")
    except RefusedError as error:
        reason = "the statement can't be parsed"
        refused = Verdict("deny", Facts(""), normalised, fingerprint, "all", rule=SYNTAX, reason=reason)
        refused = replace(refused, message=error.message, hint=error.hint)
        return replace(refused, sqlstate=SYNTAX_ERROR, position=error.position)
    return Verdict("allow", facts, normalised, fingerprint, "all")


class AllowAll:
    """Implements `Guard`."""

    def __init__(self, *, marks: bool) -> None:
        self._marks = marks

    def split(self, text: str) -> tuple[Part, ...]:
        return sql.split(text)

    def judge(self, request: Request) -> Verdict:
        verdict = verdict_of(request.text)
        facts = verdict.facts
        if self._marks and (facts.writes or facts.executes) and not facts.prepares:
            return replace(verdict, mark="carried" if facts.markable else "impossible")
        return verdict

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        return verdict


class NoWaits:
    """Implements `Gate` for a guard that asks for no wait."""

    async def catalog(self, request: Request) -> None:
        return None

    async def recorded(self, durability: Durability) -> None:
        return None

    async def approval(
        self, request: Request, verdict: Verdict, ticket: Ticket, requests: tuple[Request, ...] = ()
    ) -> Release:
        return Release(False, reason="nobody approves anything here", status="denied")


def target_of(login: Login, port: int, password: str) -> Target:
    """The same role and database as without the tap. Other roles than the superuser have no password."""
    return Target(
        environment="conformance",
        server="main",
        database=login.database,
        host="127.0.0.1",
        port=port,
        upstream_database=login.database,
        role=login.user,
        password=password,
    )


async def serve(port: int, spool_folder: Path, *, marks: bool) -> None:
    password = os.environ["PGPASSWORD"]
    spool = Spool(spool_folder, bytes_max=SPOOL_BYTES)
    recorder = SpoolRecorder(spool, Sealer("data-1", secrets.token_bytes(32)), secrets.token_bytes(32))
    hooks = Hooks(
        Anybody(password), lambda login, _: target_of(login, port, password), AllowAll(marks=marks), recorder, NoWaits()
    )
    limits = Limits(failed_sign_ins_per_minute=0)  # suites try roles that can't sign in
    proxy = Proxy("tap-1", Serving(hooks, limits, allowed_settings=ALLOWED_SETTINGS))
    print(await proxy.listen("127.0.0.1", 0), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await proxy.close()
    spool.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]), marks=sys.argv[3:] == ["marks"]))
