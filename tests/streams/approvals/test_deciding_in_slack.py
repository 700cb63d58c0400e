"""Deciding in Slack: only what Slack signs counts, and only for whom the directory knows by that address."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from taprail.connectors.slack import SlackSink, interactions
from taprail.connectors.slack.interactions import buttons
from taprail.connectors.slack.people import Slack
from taprail.schemas.control import Identity
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, Person, Terms
from taprail.streams.approvals.notices import requested_alert
from taprail.streams.approvals.web import application
from taprail.streams.approvals.web_slack import PATH, SlackDesk
from tests.fakes.approvals import SEALER, TEXT, approval
from tests.fakes.provider import FakeProvider
from tests.fakes.site import Site
from tests.fakes.slack import TOKEN, control_sequences, raw_characters
from tests.fakes.slack_dialogs import SIGNING_SECRET, TEAM, FakeWorkspace, member, sign

CHANNEL, ISSUER = "C0ALERTS", "https://idp.example"
PEOPLE = [
    Identity("ann", "Ann", "person", ("engineers", "data-owners"), email="ann@example.com"),
    Identity("bob", "Bob", "person", ("data-owners",), email="Bob@Example.com"),
    Identity("cat", "Cat", "person", ("data-owners",), email="cat@example.com"),
    Identity("eve", "Eve", "person", (), email="eve@example.com"),
    Identity("bot", "bot", "agent", ("data-owners",), email="bot@example.com"),
    Identity("twin", "Twin", "person", ("data-owners",), email="twins@example.com"),
    Identity("twin2", "Twin", "person", ("data-owners",), email="twins@example.com"),
]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slack() -> Iterator[FakeWorkspace]:
    with FakeWorkspace() as workspace:
        people = {"UBOB": "bob@example.com", "UCAT": "cat@example.com", "UANN": "ann@example.com"}
        people |= {"UEVE": "eve@example.com", "UBOT": "bot@example.com", "UTWIN": "twins@example.com"}
        people |= {"UNEW": "new@example.com"}
        workspace.members = {user: member(user, email) for user, email in people.items()}
        yield workspace


class Channel:
    """A channel with Ann's request in it, and the service that Slack calls."""

    def __init__(self, slack: FakeWorkspace, site: Site, url: str) -> None:
        self.slack, self.site, self.url = slack, site, url

    async def post(self, held: Approval) -> None:
        sink = SlackSink(TOKEN, CHANNEL, self.slack.url, actions=buttons)
        await sink.deliver(requested_alert(held, "https://approvals.example"))

    async def press(self, user: str, action: str = "approve", **options: Any) -> tuple[int, Any]:
        return await self.slack.send(self.url, self.slack.pressed(user, action), **options)

    async def submit(self, user: str, **values: str) -> tuple[int, Any]:
        return await self.slack.send(self.url, self.slack.submitted(user, **values))

    async def updated(self) -> dict[str, Any]:
        for _ in range(200):
            if self.slack.updates:
                return self.slack.updates[-1]
            await asyncio.sleep(0.01)
        raise AssertionError(self.slack.refused)


@pytest_asyncio.fixture
async def channel(slack: FakeWorkspace, provider: FakeProvider) -> AsyncIterator[Channel]:
    bound = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{bound.getsockname()[1]}"
    site = Site(provider, base, provider.url, SEALER, "")
    desk = SlackDesk(Slack(TOKEN, slack.url), SIGNING_SECRET, TEAM, ISSUER, base, lambda: PEOPLE)
    runner = web.AppRunner(application(site.service, desk), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, bound).start()
    made = Channel(slack, site, f"{base}{PATH}")
    await made.post(site.held)
    try:
        yield made
    finally:
        await runner.cleanup()


async def test_a_button_opens_a_dialog_and_the_dialog_is_a_vote(channel: Channel) -> None:
    assert (await channel.press("UBOB"))[0] == 200
    (dialog,) = channel.slack.dialogs
    shown = json.dumps(dialog)
    assert "DELETE FROM carts WHERE owner = $1" in shown and "/approvals/tap-1-7-12" in shown
    assert "ann@example.com" not in shown and TEXT not in shown, "values stay off Slack"
    assert channel.site.published == [], "a press decides nothing"
    assert await channel.submit("UBOB", reason="cleaned up", ticket="OPS-1") == (200, {"response_action": "clear"})
    (vote,) = channel.site.decisions()
    assert (vote.approver.subject, vote.decision, vote.reason, vote.ticket) == ("bob", "approve", "cleaned up", "OPS-1")
    assert vote.approver.issuer == ISSUER
    update = await channel.updated()
    assert "approved" in update["text"] and "Bob: cleaned up" in update["text"]
    assert all(block["type"] != "actions" for block in update["blocks"]), "no button is left"
    assert channel.slack.refused == []


async def test_a_denial(channel: Channel) -> None:
    await channel.press("UCAT", "deny")
    assert channel.slack.dialogs[0]["title"]["text"] == "Deny"
    await channel.submit("UCAT", reason="add a WHERE")
    assert [(v.approver.subject, v.decision) for v in channel.site.decisions()] == [("cat", "deny")]


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("UANN", "nobody decides on what he asked for himself"),
        ("UEVE", "Eve may not decide on this"),
        ("UBOT", "nobody has the address bot@example.com"),
        ("UTWIN", "several have the address"),
        ("UNEW", "nobody has the address new@example.com"),
    ],
)
async def test_whose_press_is_none_is_told_why_and_sees_nothing(channel: Channel, user: str, why: str) -> None:
    assert (await channel.press(user))[0] == 200
    assert channel.slack.dialogs == []
    (whisper,) = channel.slack.whispers
    assert whisper["user"] == user and why in whisper["text"]


@pytest.mark.parametrize("user", ["UANN", "UEVE", "UBOT", "UTWIN", "UNEW", "UNOBODY"])
async def test_nor_may_they_send_somebody_elses_dialog(channel: Channel, user: str) -> None:
    await channel.press("UBOB")
    status, answer = await channel.submit(user, reason="mine now")
    assert (status, answer["response_action"]) == (200, "errors")
    assert channel.site.published == []


@pytest.mark.parametrize(
    "flag",
    [
        {"deleted": True},
        {"is_bot": True},
        {"is_restricted": True},
        {"is_ultra_restricted": True},
        {"is_email_confirmed": False},
        {"profile": {}},
        {"team_id": "T0OTHER"},
        {"id": "UCAT"},
    ],
)
async def test_whom_slack_does_not_vouch_for_decides_nothing(channel: Channel, flag: dict[str, Any]) -> None:
    await channel.press("UBOB")
    channel.slack.members["UBOB"] |= flag
    assert (await channel.submit("UBOB", reason="fine"))[1]["response_action"] == "errors"
    await channel.press("UBOB")
    assert len(channel.slack.dialogs) == 1 and channel.site.published == []


async def test_another_workspace_decides_nothing(channel: Channel) -> None:
    await channel.slack.send(channel.url, channel.slack.pressed("UBOB", "approve", team="T0OTHER"))
    assert channel.slack.dialogs == []
    await channel.press("UBOB")
    foreign = channel.slack.submitted("UBOB", team="T0OTHER", reason="fine")
    assert (await channel.slack.send(channel.url, foreign))[1]["response_action"] == "errors"
    assert channel.site.published == []


@pytest.mark.parametrize(
    "forged",
    [
        {"secret": "another secret"},
        {"late": 301},
        {"late": -400},
        {"X-Slack-Signature": "v0=" + "0" * 64},
        {"X-Slack-Signature": ""},
        {"X-Slack-Request-Timestamp": "now"},
        {"X-Slack-Request-Timestamp": ""},
    ],
)
async def test_what_slack_did_not_sign_just_now_is_nothing(channel: Channel, forged: dict[str, Any]) -> None:
    assert (await channel.press("UBOB", **forged))[0] == 403
    assert channel.slack.dialogs == [] and channel.slack.whispers == []
    await channel.press("UBOB")
    payload = channel.slack.submitted("UBOB", reason="fine")
    assert (await channel.slack.send(channel.url, payload, **forged))[0] == 403
    assert channel.site.published == []


async def test_a_signature_is_for_one_body(channel: Channel) -> None:
    await channel.press("UBOB")
    good = urlencode({"payload": json.dumps(channel.slack.submitted("UBOB", reason="fine"))}).encode()
    other = good.replace(b"UBOB", b"UCAT")
    headers = {"Content-Type": "application/x-www-form-urlencoded", **sign(good, SIGNING_SECRET, time.time())}
    async with aiohttp.ClientSession() as http, http.post(channel.url, data=other, headers=headers) as answer:
        assert answer.status == 403
    assert channel.site.published == []


async def test_sent_twice_counts_once(channel: Channel) -> None:
    await channel.press("UBOB")
    payload = channel.slack.submitted("UBOB", reason="fine")
    assert (await channel.slack.send(channel.url, payload))[1] == {"response_action": "clear"}
    status, answer = await channel.slack.send(channel.url, payload)
    assert (status, "approved already" in str(answer["errors"])) == (200, True)
    assert len(channel.site.decisions()) == 1
    await channel.press("UCAT")
    assert "this is approved already" in channel.slack.whispers[-1]["text"]


@pytest.mark.parametrize(
    "normalized",
    [
        "DO $1",
        "do $1",
        "UPDATE carts SET note = $1;\nDO $2",
        "CALL p($1)",
        "EXECUTE p",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS $1",
        "UPDATE carts SET " + ", ".join(f"column_{n} = ${n}" for n in range(1, 300)),
        "/* tidy up */ DO $1",
        "-- tidy up\nDO LANGUAGE plpgsql $1",
        "UPDATE carts SET note = $1; DO $2",
        "CREATE /* or */ FUNCTION f() RETURNS int LANGUAGE sql AS $1",
        "EXPLAIN ANALYZE EXECUTE p",
        "CREATE TABLE t AS EXECUTE p",
        "FETCH NEXT rows",
        "FETCH NEXT c/* ROWS ONLY */",
    ],
)
async def test_what_slack_cant_show_is_approved_on_the_page(channel: Channel, normalized: str) -> None:
    hidden = approval(approval_id="hidden", normalized=normalized)
    channel.site.pending.take_approval(hidden)
    channel.slack.received.clear()
    await channel.post(hidden)
    await channel.press("UBOB")
    assert channel.slack.dialogs == []
    assert "/approvals/hidden" in channel.slack.whispers[-1]["text"]
    await channel.press("UBOB", "deny")
    assert len(channel.slack.dialogs) == 1, "whoever says no needn't have seen it"


@pytest.mark.parametrize(
    "normalized",
    [
        "INSERT INTO carts (id) VALUES ($1) ON CONFLICT DO NOTHING",
        "INSERT INTO carts (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET note = $2",
        "DELETE FROM carts WHERE id IN (SELECT id FROM carts ORDER BY id FETCH FIRST $1 ROWS ONLY)",
        "DELETE FROM carts WHERE id = (SELECT id FROM carts FETCH NEXT ROW ONLY)",
    ],
)
async def test_what_only_sounds_like_code_is_approved_in_slack(channel: Channel, normalized: str) -> None:
    plain = approval(approval_id="plain", normalized=normalized)
    channel.site.pending.take_approval(plain)
    channel.slack.received.clear()
    await channel.post(plain)
    await channel.press("UBOB")
    assert len(channel.slack.dialogs) == 1


async def test_the_service_keeps_to_the_terms(channel: Channel) -> None:
    two = approval(approval_id="two", terms=Terms(quorum=2, ticket=True, remember_seconds=7 * 86_400), remember="r")
    channel.site.pending.take_approval(two)
    channel.slack.received.clear()
    await channel.post(two)
    await channel.press("UBOB")
    ticket = next(b for b in channel.slack.dialogs[-1]["blocks"] if b.get("block_id") == "ticket")
    assert ticket["optional"] is False
    assert (await channel.submit("UBOB", reason="fine", ticket="OPS-1", remember="yes"))[1] == {
        "response_action": "clear"
    }
    assert channel.site.decisions()[0].remember
    assert channel.site.pending.get("two").state == "requested" and channel.slack.updates == []
    await channel.press("UBOB")
    answer = (await channel.submit("UBOB", reason="again", ticket="OPS-1"))[1]
    assert "approved this already" in str(answer)
    await channel.press("UCAT")
    await channel.submit("UCAT", reason="yes", ticket="OPS-1")
    assert channel.site.pending.get("two").state == "approved"
    assert "approved" in (await channel.updated())["text"]


async def test_what_kafka_does_not_take_stays_open_and_the_dialog_says_so(channel: Channel) -> None:
    await channel.press("UBOB")
    channel.site.publish_raises = RefusedError("the decision could not be published")
    answer = (await channel.submit("UBOB", reason="fine"))[1]
    assert "could not be published" in answer["errors"]["reason"]
    channel.site.publish_raises = None
    assert (await channel.submit("UBOB", reason="fine"))[1] == {"response_action": "clear"}


async def test_whose_access_is_revoked_decides_nothing(channel: Channel) -> None:
    def revoked(person: Person) -> Person:
        raise RefusedError(f"{person.name} may not use taprail any more")

    channel.site.standing = revoked
    await channel.press("UBOB")
    assert channel.slack.dialogs == [] and "any more" in channel.slack.whispers[0]["text"]


async def test_where_slack_does_not_answer_nothing_is_decided(channel: Channel) -> None:
    await channel.press("UBOB")
    payload = channel.slack.submitted("UBOB", reason="fine")
    channel.slack.fail_next(1, 500)
    assert (await channel.slack.send(channel.url, payload))[1]["response_action"] == "errors"
    assert channel.site.published == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload=%7B",
        b"payload=[]",
        b"other=1",
        b"payload=" + b"[" * 100_000,
        urlencode({"payload": json.dumps({"type": "view_submission", "user": {"id": "U"}, "view": {}})}).encode(),
        urlencode(
            {"payload": json.dumps({"type": "view_submission", "user": {"id": "U"}, "view": {
                "callback_id": interactions.CALLBACK, "private_metadata": "?"}})}
        ).encode(),
        b"payload=" + b"x" * 300_000,
        b"\xff\xfe",
    ],
)  # fmt: skip
async def test_what_is_signed_and_makes_no_sense_harms_nothing(channel: Channel, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", **sign(body, SIGNING_SECRET, time.time())}
    async with aiohttp.ClientSession() as http, http.post(channel.url, data=body, headers=headers) as answer:
        assert answer.status in (200, 403)
    assert channel.site.published == []


async def test_only_a_post_is_an_interaction(channel: Channel) -> None:
    async with aiohttp.ClientSession() as http, http.get(channel.url) as answer:
        assert answer.status == 405


async def test_nobody_is_mentioned_by_a_dialog_and_long_ones_fit(channel: Channel) -> None:
    nasty = approval(
        approval_id="nasty", normalized="SELECT '```<!channel>' " + "x" * 9000, reason="<@U1> & <https://e|x>" * 40,
        person=Person("eve", "<!here>", "person"), relations=tuple(f"public.t{n}" for n in range(300)),
    )  # fmt: skip
    channel.site.pending.take_approval(nasty)
    channel.slack.received.clear()
    await channel.post(nasty)
    await channel.press("UBOB", "deny")
    (dialog,) = channel.slack.dialogs
    shown = {"text": "", "blocks": dialog["blocks"]}
    assert control_sequences(shown) == [] and raw_characters(shown) == []
