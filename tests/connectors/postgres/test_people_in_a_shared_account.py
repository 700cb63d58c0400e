"""A service account names the real user when it connects: verified, recorded, and good for that user's rights only."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import psycopg
import pytest
from msgspec.structs import replace

from taprail.connectors.postgres.proxy import Hooks
from taprail.connectors.postgres.signin import Identity, Login
from taprail.connectors.postgres.upstream import Target
from taprail.streams.signin import SignIn
from tests.fakes.provider import AUDIENCE, FakeProvider
from tests.fakes.sign_in import settings

KEY = "a key of thirty-two bytes or more"
IDENTITY = 'leeway_seconds = 0\ndevice_claim = "deviceid"'
SERVICES = """
[[services]]
name = "superset"
password = "file:password"
groups = ["services"]
speaks_for = ["analysts", "engineers"]
statement_key = "file:statement-key"
[[services]]
name = "reports"
password = "file:password"
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def tap(beds: Callable[..., Any], provider: FakeProvider, tmp_path: Path) -> Any:
    """A tap whose routes are the settings'; the server's only role stands for all of theirs."""
    (tmp_path / "statement-key").write_text(KEY)
    sign_in = SignIn(settings(tmp_path, provider.url, identity=IDENTITY, more=SERVICES))
    bed = beds(authenticator=sign_in)

    def route(login: Login, identity: Identity) -> Target:
        mapped = sign_in.route(login, identity)
        return replace(bed._target(login), role="postgres", upstream_database=mapped.upstream_database)

    bed.mapped = lambda login, identity: sign_in.route(login, identity).role
    bed.routed = []

    def remember(login: Login, identity: Identity) -> Target:
        bed.routed.append(bed.mapped(login, identity))
        return route(login, identity)

    hooks = bed.proxy.serving.hooks
    bed.proxy.serving = replace(
        bed.proxy.serving, hooks=Hooks(sign_in, remember, hooks.guard, hooks.recorder, hooks.gate)
    )
    return bed


def statement(subject: str = "ann", *, key: str = KEY, seconds: int = 300, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": "superset", "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + seconds}
    claims |= {"jti": str(uuid.uuid4()), "groups": ["analysts", "data-owners"]} | changes
    return jwt.encode(claims, key, algorithm="HS256", headers={"typ": "taprail-person+jwt"})


def connect(tap: Any, said: str, user: str = "superset", password: str = "a password") -> psycopg.Connection[Any]:
    connection: psycopg.Connection[Any] = tap.connect(user, password, options=f"-c taprail.person={said}")
    return connection


def test_the_person_acts_with_the_persons_own_rights(tap: Any, provider: FakeProvider) -> None:
    with connect(tap, statement(name="Ann")) as connection:
        connection.execute("SELECT 1")
    (_, context, _), *_ = tap.recorder.sessions
    assert (context.person.subject, context.person.name, context.person.via) == ("ann", "Ann", "superset")
    assert (context.person.groups, context.person.issuer, context.method) == (("analysts",), provider.url, "scram")
    assert tap.recorder.statements[0][0].session.person == context.person
    assert tap.routed == ["analyst"], "the role of her group, not the service's"


def test_the_persons_own_token_does_as_well(tap: Any, provider: FakeProvider) -> None:
    connect(tap, provider.token(preferred_username="ann@example.com", deviceid="laptop-7")).close()
    (_, context, _), *_ = tap.recorder.sessions
    assert (context.person.subject, context.person.groups, context.person.via) == ("ann", ("engineers",), "superset")
    assert context.device == "", "what is connected here is the service, not her laptop"
    assert tap.routed == ["app"]


def test_without_a_statement_the_service_acts_itself(tap: Any) -> None:
    tap.connect("superset", "a password").close()
    (_, context, _), *_ = tap.recorder.sessions
    assert (context.person.subject, context.person.via) == ("superset", "")


async def test_a_start_up_parameter_of_its_own_says_it_too(tap: Any) -> None:
    """JDBC, asyncpg and others send settings without an options string."""
    connection = await asyncpg.connect(
        host="127.0.0.1", port=tap.port, user="superset", password="a password", database="postgres", ssl=False,
        server_settings={"Taprail.Person": statement()},
    )  # fmt: skip
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    await asyncio.to_thread(tap.settle, lambda: len(tap.recorder.sessions) == 2)
    assert tap.recorder.sessions[0][1].person.subject == "ann"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("ann", "no token"),
        (statement(key="another key of thirty-two bytes.."), "InvalidSignature"),
        (statement(seconds=-1), "expired"),
        (statement(groups=["data-owners"]), "may not speak for ann"),
        (statement(iss="reports"), "InvalidIssuer"),
    ],
)
def test_what_doesnt_hold_opens_no_session(tap: Any, said: str, why: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=why):
        connect(tap, said)
    assert [(event, context.person.subject) for event, context, _ in tap.recorder.sessions] == [("refused", "")]
    assert tap.routed == [] and tap.recorder.statements == []


def test_who_may_not_speak_is_refused_however_good_the_statement(tap: Any, provider: FakeProvider) -> None:
    with pytest.raises(psycopg.OperationalError, match="'reports' may not say"):
        connect(tap, statement(), user="reports")
    with pytest.raises(psycopg.OperationalError, match="only a service account may say"):
        connect(tap, statement(), user="ann", password=provider.token())
    like_the_service = provider.token(sub="superset", preferred_username="mallory")
    with pytest.raises(psycopg.OperationalError, match="only a service account may say"):
        connect(tap, statement(), user="mallory", password=like_the_service)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(tap, statement(), password="wrong")


def test_the_session_ends_with_the_statement(tap: Any) -> None:
    with connect(tap, statement(seconds=2)) as connection:
        connection.execute("SELECT 1")
        time.sleep(2.3)
        with pytest.raises(psycopg.errors.AdminShutdown, match="has expired"):
            connection.execute("SELECT 1")


def test_the_last_one_said_counts_and_it_never_reaches_the_server(tap: Any) -> None:
    """A user who can add to the connection's options could only add what is verified."""
    good, options = statement(), "-c taprail.person=forged"
    with pytest.raises(psycopg.OperationalError, match="no token"):
        tap.connect("superset", "a password", options=f"-c taprail.person={good} {options}")
    with connect(tap, good) as connection:
        assert connection.execute("SELECT current_setting('taprail.person', true)").fetchone() == (None,)
