"""SCIM as a provider reaches it: over HTTP, with its token, on a real broker, before a tap with open sessions."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taprail.connectors.local.identity import access_token
from taprail.connectors.local.ports import choose_ports
from taprail.schemas.endpoints import Endpoints
from taprail.streams import settings
from taprail.streams.certificate import self_signed
from taprail.streams.identity.book import read
from tests.fakes.last_words import LastWords
from tests.fakes.running_tap import SERVICE, RunningTap
from tests.fakes.scim_client import served

TOKEN, BEFORE = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
SECONDS_MAX = 5.0


@pytest.fixture
def tap(tmp_path: Path, stack: Endpoints, fresh_database: str) -> RunningTap:
    """With everything that the agents need, too; its service has the tap's own name."""
    made = RunningTap(tmp_path, stack, fresh_database)
    for name, text in (("agents", stack.kafka.users["agents"]), ("scim", TOKEN), ("before", BEFORE)):
        (tmp_path / name).write_text(text)
    port = choose_ports(["scim"], tmp_path / "scim-ports.json")["scim"]
    config = made.config.read_text().replace('tap = "file:kafka"', 'tap = "file:kafka", agents = "file:agents"')
    config = config.replace("[keys]", '[keys]\ncontrol_private = "file:control.pem"')
    config = config.replace(f'"{SERVICE}"', f'"{made.id}"')
    config += f'[scim]\ntoken = "file:scim"\nprevious_token = "file:before"\nsubject = "externalId"\nport = {port}\n'
    made.config.write_text(config)
    return made


async def within(seconds: float, true: Callable[[], bool]) -> float:
    """How long it took; fails when it takes longer."""
    started = time.monotonic()
    while not await asyncio.to_thread(true):
        assert time.monotonic() - started < seconds
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def test_without_the_token_nothing_is_told(tap: RunningTap) -> None:
    async with served(settings.load(tap.config)) as client:
        for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.swapcase(), "\u00e9" * 40):
            for path in ("/Users", "/ServiceProviderConfig", "/nothing"):
                status, said = await client.ask("GET", path, token=wrong)
                assert (status, said["status"]) == (401, "401")
        for right in (TOKEN, BEFORE):
            assert (await client.ask("GET", "/Users", token=right))[0] == 200
        status, said = await client.ask("POST", "/Users", {"userName": "x" * (5 << 20)})
        assert status == 413 and said["status"] == "413"


async def test_a_user_that_is_deactivated_loses_its_sessions_within_seconds(tap: RunningTap) -> None:
    loaded = settings.load(tap.config)
    with tap:
        async with served(loaded) as client:
            sent = {"userName": tap.id, "externalId": tap.id, "userType": "service", "active": True}
            status, made = await client.ask("POST", "/Users", sent)
            assert status == 201
            session = await asyncio.to_thread(tap.connect, user=tap.id)
            last_words = LastWords(session)
            await asyncio.to_thread(session.execute, "SELECT 1")

            def ended() -> bool:
                try:
                    session.execute("SELECT 1")
                except psycopg.OperationalError as error:
                    assert "revoked" in last_words.with_error(error)
                    return True
                return False

            path = f"/Users/{made['id']}"
            assert await client.patch(path, {"op": "Replace", "path": "active", "value": "False"}) == 200
            await within(SECONDS_MAX, ended)
            with pytest.raises(psycopg.OperationalError, match="may not sign in"):
                await asyncio.to_thread(tap.connect, user=tap.id)
            assert await client.patch(path, {"op": "replace", "value": {"active": True}}) == 200

            def comes_in() -> bool:
                try:
                    tap.connect(user=tap.id).close()
                except psycopg.OperationalError:
                    return False
                return True

            await within(SECONDS_MAX, comes_in)
            assert (await client.ask("DELETE", path))[0] == 204
            await within(SECONDS_MAX, lambda: not comes_in())


async def test_a_restart_and_a_second_service_lose_nothing(tap: RunningTap) -> None:
    """Two at once, in turns, on one topic: neither undoes what the other did, and a third reads all of it."""
    loaded = settings.load(tap.config)
    other_port = choose_ports(["other"], tap.home / "other-ports.json")["other"]
    text = tap.config.read_text().replace(f"\nport = {loaded.settings.scim.port}\n", f"\nport = {other_port}\n")
    (tap.home / "other.toml").write_text(text)
    names = [f"user-{secrets.token_hex(4)}" for _ in range(4)]
    group_name = f"group-{secrets.token_hex(4)}"
    async with served(loaded) as one, served(settings.load(tap.home / "other.toml")) as two:
        status, group = await one.ask("POST", "/Groups", {"displayName": group_name})
        assert status == 201
        ids = []
        for number, name in enumerate(names):
            client = (one, two)[number % 2]
            status, made = await client.ask("POST", "/Users", {"userName": name, "externalId": name})
            assert status == 201, made
            add = {"op": "add", "path": "members", "value": [{"value": made["id"]}]}
            assert await client.patch(f"/Groups/{group['id']}", add) == 200
            ids.append(made["id"])
        assert (await two.ask("POST", "/Groups", {"displayName": group_name}))[0] == 409
        at_once = [
            (one, two)[number % 2].patch(f"/Users/{made}", {"op": "replace", "path": "active", "value": False})
            for number, made in enumerate(ids)
        ]
        assert await asyncio.gather(*at_once) == [200] * 4
    async with served(loaded) as again:
        found = (await again.ask("GET", f"/Groups/{group['id']}"))[1]
        assert {each["value"] for each in found["members"]} == set(ids)
        for made in ids:
            assert (await again.ask("GET", f"/Users/{made}"))[1]["active"] is False
    roster = await asyncio.to_thread(read, loaded)
    assert all((found := roster.get(name)) is not None and found.groups == (group_name,) for name in names)


async def test_over_tls(tap: RunningTap) -> None:
    key, certificate = self_signed()
    (tap.home / "scim.key").write_bytes(key)
    (tap.home / "scim.crt").write_bytes(certificate)
    files = 'certificate = "scim.crt"\nprivate_key = "scim.key"\n'
    tap.config.write_text(tap.config.read_text() + files)
    async with served(settings.load(tap.config)) as client:
        assert (await client.ask("GET", "/Users"))[0] == 200


async def test_with_groups_from_the_directory_a_token_alone_opens_nothing(tap: RunningTap) -> None:
    """The provider's token says what it likes of groups; who loses one is out within seconds, and comes in anew."""
    subject = f"person-{secrets.token_hex(4)}"
    token = await asyncio.to_thread(access_token, tap.stack.issuer_url, subject)
    issuer = f'issuer = "{tap.stack.issuer_url}"'
    tap.config.write_text(tap.config.read_text().replace(issuer, f'{issuer}\ngroups_from = "identities"'))

    def connect() -> psycopg.Connection[Any] | None:
        try:
            return tap.connect(user=subject, password=token)
        except psycopg.OperationalError as error:
            assert "isn't in the directory" in str(error)
            return None

    with tap:
        assert await asyncio.to_thread(connect) is None
        async with served(settings.load(tap.config)) as client:
            _, user = await client.ask("POST", "/Users", {"userName": subject, "externalId": subject})
            members = [{"value": user["id"]}]
            sent = {"displayName": f"group-{subject}", "members": members}
            _, group = await client.ask("POST", "/Groups", sent)
            await within(SECONDS_MAX, lambda: connect() is not None)
            await asyncio.sleep(0.5)  # what was written before it came in has been read
            session = await asyncio.to_thread(connect)
            assert session is not None
            last_words = LastWords(session)

            def ended() -> bool:
                try:
                    session.execute("SELECT 1")
                except psycopg.OperationalError as error:
                    assert "have changed: connect again" in last_words.with_error(error)
                    return True
                return False

            assert not await asyncio.to_thread(ended)
            leave = {"op": "remove", "path": f'members[value eq "{user["id"]}"]'}
            assert await client.patch(f"/Groups/{group['id']}", leave) == 200
            await within(SECONDS_MAX, ended)
            assert await asyncio.to_thread(connect) is not None, "with the groups that are left"
