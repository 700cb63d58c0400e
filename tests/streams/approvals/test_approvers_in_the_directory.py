"""Who is revoked decides on nothing, whatever token or browser; and approvers' groups are those that count."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json

from taprail.schemas.control import Identity, sign
from taprail.schemas.records import Person
from taprail.streams.identity.enrich import Directory
from taprail.streams.identity.groups import Standing
from taprail.streams.settings_signin import GroupsFrom
from tests.fakes.approvals import BOB
from tests.fakes.site import PATH, Browser, Site

KEY = Ed25519PrivateKey.generate()


def told(site: Site, source: GroupsFrom, identity: Identity, at: int = 1) -> None:
    directory = Directory({"control-1": KEY.public_key()})
    directory.take(sign("identity", identity.subject, identity, private_key=KEY, key_id="control-1", now_us=at))
    standing = Standing(directory, source, lambda: True)
    site.standing, site.owner_of = standing.proven, standing.owner_of


async def test_the_revoked_decide_on_nothing_though_they_are_signed_in(browser: Browser) -> None:
    site = browser.site
    await browser.sign_in(BOB)
    form = await browser.form()
    told(site, "token", Identity("bob", "Bob", "person", ("data-owners",), active=False))
    by_browser = await browser.post(f"{PATH}/decision", data=form, headers={"Origin": site.url})
    fields = json.encode({"decision": "approve", "reason": "because"})
    by_token = await browser.post(f"{PATH}/decision", headers=site.bearer(BOB), data=fields)
    for page in (by_browser, by_token, await browser.get(PATH), await browser.get("/approvals")):
        assert page.status == 403 and "revoked" in page.text
    assert site.published == []


async def test_a_group_that_only_the_token_has_does_not_count(browser: Browser) -> None:
    told(browser.site, "identities", Identity("bob", "Bob", "person", ("engineers",)))
    page = await browser.get(PATH, headers=browser.site.bearer(BOB))
    assert page.status == 403 and "may not decide" in page.text
    told(browser.site, "identities", Identity("bob", "Bob", "person", ("data-owners",)))
    assert (await browser.get(PATH, headers=browser.site.bearer(BOB))).status == 200


async def test_nobody_approves_what_an_agent_asks_that_he_answers_for(browser: Browser) -> None:
    """It has a token of its own, which doesn't say in whose name it asks; the directory does."""
    site, bot = browser.site, Person("bot", "bot", "agent")
    for held, owner in (("bots", "bob"), ("others", "cat")):
        site.hold(approval_id=held, person=bot)
        told(site, "token", Identity("bot", "bot", "agent", (), owner=owner))
        page = await browser.post(
            f"/approvals/{held}/decision",
            headers=site.bearer(BOB),
            data=json.encode({"decision": "approve", "reason": "because"}),
        )
        assert (page.status == 200) == (owner == "cat"), page.text
    assert [decision.approval_id for decision in site.decisions()] == ["others"]
