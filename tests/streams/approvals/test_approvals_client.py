"""Approvers at the command line, against the same server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec import json

from taprail.schemas.errors import RefusedError, StackError
from taprail.schemas.records import Person
from taprail.streams.approvals.client import ApprovalsClient
from taprail.streams.commands.approvals import approvals
from tests.fakes.approvals import ANN, BINDING, BOB, CAT, EVE, TEXT
from tests.fakes.site import Site
from tests.fakes.slack import FakeSlack

SETTINGS = """
databases = []
[kafka]
bootstrap = "kafka:9092"
[registry]
url = "http://registry:8080"
[identity]
issuer = "https://login.example.com"
[keys]
mark = "env:MARK"
data = "env:DATA"
control_public = {{}}
[approvals]
url = "{url}"
"""


async def cli(site: Site, tmp_path: Path, person: Person, *arguments: str, url: str = "") -> Result:
    settings = tmp_path / "taprail.toml"
    settings.write_text(SETTINGS.format(url=url or site.url))
    command = [*arguments, "--config", str(settings)]
    environment = {"TAPRAIL_TOKEN": site.token(person)}
    return await asyncio.to_thread(CliRunner().invoke, approvals, command, None, environment)


async def test_what_waits_is_listed(site: Site, tmp_path: Path) -> None:
    site.hold(approval_id="tap-1-7-13", normalized="SELECT\n  1")
    listed = await cli(site, tmp_path, BOB, "list")
    assert listed.output.splitlines() == [
        "tap-1-7-13  shop  Ann  SELECT 1",
        "tap-1-7-12  shop  Ann  DELETE FROM carts WHERE owner = $1",
    ]
    lines = (await cli(site, tmp_path, BOB, "list", "--json")).output.splitlines()
    assert [json.decode(line)["approval_id"] for line in lines] == ["tap-1-7-13", "tap-1-7-12"]
    assert (await cli(site, tmp_path, EVE, "list")).output == ""


async def test_a_look_changes_nothing(site: Site, tmp_path: Path) -> None:
    shown = await cli(site, tmp_path, BOB, "show", "tap-1-7-12")
    assert (json.decode(shown.output)["text"], json.decode(shown.output)["state"]) == (TEXT, "requested")
    assert site.published == []


@pytest.mark.parametrize(("verb", "answer"), [("approve", "approve"), ("deny", "deny")])
async def test_a_decision_is_signed(site: Site, tmp_path: Path, verb: str, answer: str) -> None:
    done = await cli(site, tmp_path, BOB, verb, "tap-1-7-12", "-r", "because", "--ticket", "OPS-1")
    assert (done.exit_code, done.output.startswith("tap-1-7-12: ")) == (0, True)
    [made] = site.decisions()
    assert (made.decision, made.binding, made.reason, made.ticket) == (answer, BINDING, "because", "OPS-1")
    assert made.approver.subject == "bob"


@pytest.mark.parametrize("person", [ANN, EVE])
@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_who_may_not_is_told_why(site: Site, tmp_path: Path, person: Person, verb: str) -> None:
    refused = await cli(site, tmp_path, person, verb, "tap-1-7-12", "-r", "because")
    assert isinstance(refused.exception, RefusedError)
    assert refused.exception.hint
    assert site.published == []


async def test_a_reason_must_be_given(site: Site, tmp_path: Path) -> None:
    assert (await cli(site, tmp_path, BOB, "approve", "tap-1-7-12")).exit_code == 2
    assert isinstance((await cli(site, tmp_path, BOB, "approve", "tap-1-7-12", "-r", " ")).exception, RefusedError)
    assert site.published == []


async def test_twice_is_refused(site: Site) -> None:
    client = ApprovalsClient(site.url + "/")
    assert "approved" in await asyncio.to_thread(client.decide, site.token(BOB), "tap-1-7-12", "approve", "because")
    with pytest.raises(RefusedError, match="approved already"):
        await asyncio.to_thread(client.decide, site.token(CAT), "tap-1-7-12", "deny", "because")
    assert len(site.published) == 1


@pytest.mark.parametrize(
    "name", ["no-such", "", "../../health", "a/b?c#d", "%2e%2e", "x\r\nHost: evil", "ünïcode", "🟠"]
)
async def test_an_id_is_never_more_than_an_id(site: Site, name: str) -> None:
    client = ApprovalsClient(site.url)
    with pytest.raises(RefusedError):
        await asyncio.to_thread(client.decide, site.token(BOB), name, "approve", "because")
    assert site.published == []


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
async def test_a_token_that_does_not_hold_is_refused(site: Site, token: str) -> None:
    with pytest.raises(RefusedError):
        await asyncio.to_thread(ApprovalsClient(site.url).pending, token)


async def test_a_token_cannot_bring_another_header(site: Site) -> None:
    with pytest.raises(RefusedError, match="not an access token"):
        await asyncio.to_thread(ApprovalsClient(site.url).pending, "x\r\nX-Forged: 1")


async def test_nobody_there_is_told_with_the_address(site: Site, tmp_path: Path) -> None:
    with FakeSlack() as gone:
        url = f"http://127.0.0.1:{gone.port}"
    done = await cli(site, tmp_path, BOB, "list", url=url)
    assert isinstance(done.exception, StackError)
    assert url in str(done.exception)


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"7", b"null", b"{}", b"[" * 5000])
@pytest.mark.parametrize("status", [200, 502])
async def test_what_is_not_the_service_is_told(body: bytes, status: int) -> None:
    """A proxy answers in its place: that is no decision, and no crash."""
    with FakeSlack() as proxy:
        client = ApprovalsClient(f"http://127.0.0.1:{proxy.port}")
        asks: list[Callable[[], object]] = [
            lambda: client.pending("token"),
            lambda: client.show("token", "x"),
            lambda: client.decide("token", "x", "approve", "because"),
        ]
        for ask in asks:
            proxy.fail_next(1, status, body=body, content_type="text/html")
            with pytest.raises((RefusedError, StackError)):
                await asyncio.to_thread(ask)
