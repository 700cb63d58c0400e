"""`make keycloak`: people of a real Keycloak, with the realm that we ship, at a real tap.

Not collected by `make test`: starting a Keycloak takes half a minute.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from msgspec import json
from psycopg import sql

from taprail.connectors.local.ports import choose_ports
from taprail.connectors.oidc.keys import ProviderKeys
from taprail.connectors.oidc.tokens import TokenRules, TokenVerifier
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import RefusedError
from taprail.streams import settings
from taprail.streams.identity import publish
from tests.fakes.last_words import LastWords
from tests.fakes.running_tap import RunningTap
from tests.fakes.scim_client import served
from tests.keycloak.server import Keycloak, allow

SECONDS_MAX = 5.0
MODULE = [sys.executable, "-m", "taprail.streams.cli"]


@pytest.fixture(scope="module")
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Keycloak, Future[None]]]:
    """A Keycloak that starts while the stack does."""
    server = Keycloak(tmp_path_factory.mktemp("keycloak"))
    with ThreadPoolExecutor(1) as pool:
        try:
            yield server, pool.submit(server.start)
        finally:
            server.stop()


@pytest.fixture(scope="module")
def keycloak(starting: tuple[Keycloak, Future[None]], stack: Endpoints) -> Keycloak:
    server, started = starting
    started.result()
    return server


class Roles:
    """What the realm's groups may be in the database: names, with one password."""

    def __init__(self) -> None:
        mark = secrets.token_hex(4)
        self.database, self.engineer, self.owner = f"kc_{mark}", f"kc_engineer_{mark}", f"kc_owner_{mark}"
        self.password = secrets.token_hex(16)

    def toml(self) -> str:
        mapped = {"data-owners": self.owner, "engineers": self.engineer, "agents": self.engineer}
        return "".join(
            f'[[databases.roles]]\ngroup = "{group}"\nrole = "{role}"\npassword = "file:role"\n'
            for group, role in mapped.items()
        )


@pytest.fixture(scope="module")
def roles(stack: Endpoints) -> Iterator[Roles]:
    made = Roles()
    with psycopg.connect(stack.postgres.dsn(), autocommit=True) as connection:
        for role in (made.engineer, made.owner):
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(role), sql.Literal(made.password)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(made.database)))
        yield made
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(made.database)))
        for role in (made.engineer, made.owner):
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def a_tap(home: Path, stack: Endpoints, keycloak: Keycloak, roles: Roles, groups_from: str) -> RunningTap:
    tap = RunningTap(home, stack, roles.database)
    (home / "role").write_text(roles.password)
    (home / "agents").write_text(stack.kafka.users["agents"])
    (home / "scim").write_text(secrets.token_urlsafe(32))
    config = tap.config.read_text()
    config = re.sub(r"\[\[databases\.roles\]\]\n(?:.+\n){3}", roles.toml(), config)
    identity = f'issuer = "{keycloak.issuer}"\nleeway_seconds = 0\ngroups_from = "{groups_from}"'
    config = config.replace(f'issuer = "{stack.issuer_url}"', identity)
    config = config.replace('tap = "file:kafka"', 'tap = "file:kafka", agents = "file:agents"')
    config = config.replace("[keys]", '[keys]\ncontrol_private = "file:control.pem"')
    port = choose_ports(["scim"], home / "scim-ports.json")["scim"]
    tap.config.write_text(config + f'[scim]\ntoken = "file:scim"\nsubject = "externalId"\nport = {port}\n')
    return tap


@pytest.fixture(scope="module")
def tap(
    tmp_path_factory: pytest.TempPathFactory, stack: Endpoints, keycloak: Keycloak, roles: Roles
) -> Iterator[RunningTap]:
    with a_tap(tmp_path_factory.mktemp("tap"), stack, keycloak, roles, "token") as running:
        yield running


@pytest.fixture
def person(keycloak: Keycloak) -> Callable[..., tuple[str, str]]:
    """A new person in these groups: name and `sub`."""

    def make(*groups: str) -> tuple[str, str]:
        name = f"person-{secrets.token_hex(4)}"
        return name, keycloak.add_user(name, *groups)

    return make


def current_user(tap: RunningTap, name: str, token: str) -> str:
    with tap.connect(user=name, password=token) as connection:
        return str(connection.execute("SELECT current_user").fetchone()[0])  # type: ignore[index]


def ends(session: psycopg.Connection[Any], said: str) -> float:
    """Seconds until the tap ends this session, with this text."""
    started, last_words = time.monotonic(), LastWords(session)
    while time.monotonic() - started < SECONDS_MAX:
        try:
            session.execute("SELECT 1")
        except psycopg.OperationalError as error:
            assert said in last_words.with_error(error)
            return time.monotonic() - started
        time.sleep(0.02)
    raise AssertionError(f"it is open after {SECONDS_MAX} s")


Person = Callable[..., tuple[str, str]]


def test_from_taprail_login_to_logout(
    keycloak: Keycloak, tap: RunningTap, roles: Roles, person: Person, tmp_path: Path
) -> None:
    name, _ = person("engineers")
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}

    def taprail(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*MODULE, *arguments], env=env, capture_output=True, text=True, timeout=60)

    where = ("--issuer", keycloak.issuer, "--client-id", "psql", "--host", "127.0.0.1", "--port", str(tap.port))
    login = subprocess.Popen([*MODULE, "login", *where], env=env, stderr=subprocess.PIPE, text=True)
    assert login.stderr is not None
    said = ""
    while (address := re.search(r"http\S+user_code=\S+", said)) is None:
        line = login.stderr.readline()
        assert line, said
        said += line
    asyncio.run(allow(address[0], name))
    assert login.wait(30) == 0 and f"signed in as {name}" in login.stderr.read()
    asked = "import psycopg; print(psycopg.connect('').execute('SELECT current_user').fetchone()[0])"
    connected = taprail("connect", tap.database, "--", sys.executable, "-c", asked)
    assert connected.stdout.strip() == roles.engineer, connected
    [kept] = (json.decode(path.read_bytes()) for path in tmp_path.rglob("*.json"))
    refresh = {"grant_type": "refresh_token", "client_id": "psql", "refresh_token": kept["granted"]["refresh_token"]}
    assert "access_token" in keycloak.token_endpoint(refresh)
    out = taprail("logout")
    assert out.returncode == 0 and "signed out" in out.stderr and "wasn't told" not in out.stderr
    assert keycloak.token_endpoint(refresh)["error"] == "invalid_grant"


def test_groups_become_roles_and_nobody_comes_in_without(
    keycloak: Keycloak, tap: RunningTap, roles: Roles, person: Person
) -> None:
    for groups, role in ((["engineers"], roles.engineer), (["engineers", "data-owners"], roles.owner)):
        name, subject = person(*groups)
        token = keycloak.tokens(name)["access_token"]
        assert current_user(tap, name, token) == current_user(tap, subject, token) == role
    name, _ = person()
    with pytest.raises(psycopg.OperationalError, match=r"none of .* groups may use"):
        current_user(tap, name, keycloak.tokens(name)["access_token"])


def test_a_token_is_nobody_elses(keycloak: Keycloak, tap: RunningTap, person: Person) -> None:
    (ann, _), (bob, _) = person("engineers"), person("data-owners")
    with pytest.raises(psycopg.OperationalError, match="asks for user"):
        current_user(tap, bob, keycloak.tokens(ann)["access_token"])


def test_what_is_no_access_token_for_us_is_refused(keycloak: Keycloak, tap: RunningTap, person: Person) -> None:
    name, _ = person("engineers")
    keycloak.add_client("other-audience", without=("audience",))
    tokens = keycloak.tokens(name)
    for token, said in (
        (keycloak.tokens(name, "other-audience")["access_token"], "isn't for 'taprail'"),
        (tokens["id_token"], "isn't an access token"),
        (tokens["refresh_token"], "isn't accepted|isn't an access token"),
        (tokens["access_token"][:-4] + "AAAA", "doesn't hold"),
    ):
        with pytest.raises(psycopg.OperationalError, match=said):
            current_user(tap, name, token)


def test_a_token_that_expires_ends_the_session_and_opens_no_other(
    keycloak: Keycloak, tap: RunningTap, person: Person
) -> None:
    name, _ = person("engineers")
    keycloak.add_client("short-lived", lifespan_s=3)
    token = keycloak.tokens(name, "short-lived")["access_token"]
    session = tap.connect(user=name, password=token)
    assert ends(session, "expired") <= 4
    with pytest.raises(psycopg.OperationalError, match="has expired"):
        current_user(tap, name, token)


def test_keys_are_rotated_under_a_running_tap(keycloak: Keycloak, tap: RunningTap, person: Person) -> None:
    name, _ = person("engineers")
    before = keycloak.tokens(name)["access_token"]
    current_user(tap, name, before)
    component = keycloak.rotate_keys()
    after = keycloak.tokens(name)["access_token"]
    assert jwt.get_unverified_header(before)["kid"] != jwt.get_unverified_header(after)["kid"]
    for token in (after, before):
        current_user(tap, name, token)
    keycloak.admin("DELETE", f"/components/{component}")

    async def verify() -> (
        None
    ):  # a tap that has seen the key believes it for some minutes more, one that starts doesn't
        await TokenVerifier(TokenRules(keycloak.issuer, "taprail"), ProviderKeys(keycloak.issuer)).verify(after)

    with pytest.raises(RefusedError, match="key"):
        asyncio.run(verify())
    current_user(tap, name, keycloak.tokens(name)["access_token"])


@pytest.mark.parametrize("scope", ["openid", "openid offline_access"])
@pytest.mark.parametrize("how", ["logout", "disabled"])
def test_who_is_logged_out_or_disabled_gets_no_new_token(
    keycloak: Keycloak, person: Person, how: str, scope: str
) -> None:
    name, subject = person("engineers")
    refresh = {"grant_type": "refresh_token", "client_id": "psql"}
    refresh["refresh_token"] = keycloak.tokens(name, scope=scope)["refresh_token"]
    refresh["refresh_token"] = keycloak.token_endpoint(refresh)["refresh_token"]
    time.sleep(1.1)  # its "not before" has whole seconds: an offline token of the same one would stay
    if how == "logout":
        keycloak.admin("POST", f"/users/{subject}/logout")
    else:
        keycloak.admin("PUT", f"/users/{subject}", {"enabled": False})
    assert keycloak.token_endpoint(refresh)["error"] == "invalid_grant"


def test_who_is_revoked_by_hand_is_out_though_the_token_holds(
    keycloak: Keycloak, tap: RunningTap, person: Person
) -> None:
    name, subject = person("engineers")
    token = keycloak.tokens(name)["access_token"]
    session = tap.connect(user=name, password=token)
    publish.revoke(settings.load(tap.config), subject, "left")
    ends(session, "revoked")
    with pytest.raises(psycopg.OperationalError, match="may not sign in"):
        current_user(tap, name, token)


def test_an_agent_signs_in_as_itself(keycloak: Keycloak, tap: RunningTap, roles: Roles) -> None:
    client = keycloak.client("support-agent")
    secret = keycloak.admin("GET", f"/clients/{client['id']}/client-secret")["value"]
    account = keycloak.admin("GET", f"/clients/{client['id']}/service-account-user")
    [group] = (each for each in keycloak.admin("GET", "/groups") if each["name"] == "agents")
    keycloak.admin("PUT", f"/users/{account['id']}/groups/{group['id']}")
    form = {"grant_type": "client_credentials", "client_id": "support-agent", "client_secret": secret}
    token = keycloak.token_endpoint(form)["access_token"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="an agent must state its purpose"):
        current_user(tap, account["username"], token)
    with tap.connect(user=account["username"], password=token) as connection:
        connection.execute("SET taprail.purpose = 'ticket 1'")
        assert connection.execute("SELECT current_user").fetchone() == (roles.engineer,)


def test_an_agents_client_makes_its_tokens_an_agents(keycloak: Keycloak, person: Person) -> None:
    name, _ = person("engineers")
    token = keycloak.tokens(name)["access_token"]

    async def kind(*agent_clients: str) -> str:
        rules = TokenRules(keycloak.issuer, "taprail", agent_clients=agent_clients)
        return (await TokenVerifier(rules).verify(token)).person.kind

    assert (asyncio.run(kind("psql")), asyncio.run(kind("other"))) == ("agent", "person")


async def test_users_and_groups_over_scim(
    keycloak: Keycloak, stack: Endpoints, roles: Roles, person: Person, tmp_path: Path
) -> None:
    """As a SCIM plugin of Keycloak does: externalId is the user's id. What the token says of groups doesn't count."""
    name, subject = await asyncio.to_thread(person, "data-owners")
    token = (await asyncio.to_thread(keycloak.tokens, name))["access_token"]
    with a_tap(tmp_path, stack, keycloak, roles, "identities") as tap:
        with pytest.raises(psycopg.OperationalError, match="isn't in the directory"):
            await asyncio.to_thread(current_user, tap, name, token)
        async with served(settings.load(tap.config)) as scim:
            _, user = await scim.ask("POST", "/Users", {"userName": name, "externalId": subject, "active": True})
            members = [{"value": user["id"]}]
            group = (await scim.ask("POST", "/Groups", {"displayName": "engineers", "members": members}))[1]

            async def comes_in() -> psycopg.Connection[Any]:
                deadline = time.monotonic() + SECONDS_MAX
                while True:
                    try:
                        return await asyncio.to_thread(tap.connect, user=name, password=token)
                    except psycopg.OperationalError:
                        assert time.monotonic() < deadline
                        await asyncio.sleep(0.05)

            session = await comes_in()
            found = await asyncio.to_thread(session.execute, "SELECT current_user")
            assert found.fetchone() == (roles.engineer,)
            gone = {"op": "remove", "path": f'members[value eq "{user["id"]}"]'}
            assert await scim.patch(f"/Groups/{group['id']}", gone) == 200
            await asyncio.to_thread(ends, session, "groups of")
            with pytest.raises(psycopg.OperationalError, match=r"none of .* groups may use"):
                await asyncio.to_thread(current_user, tap, name, token)
            back = {"op": "add", "path": "members", "value": members}
            assert await scim.patch(f"/Groups/{group['id']}", back) == 200
            session = await comes_in()
            off = {"op": "Replace", "path": "active", "value": "False"}
            assert await scim.patch(f"/Users/{user['id']}", off) == 200
            await asyncio.to_thread(ends, session, "revoked")
