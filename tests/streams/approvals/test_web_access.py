"""Access for a time, over HTTP: who may ask, who gives, who takes back, and that no emergency goes unreviewed."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from msgspec import json

from taprail.schemas.control import Grant
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person
from taprail.streams.approvals import web_access
from tests.fakes.approvals import AGENT, ANN, BOB, CAT, EVE, decision
from tests.fakes.site import Browser, Page

ON_CALL = Person("oli", "Oli", "person", ("on-call",), "https://idp.example")
WANTED = {"environment": "prod", "reason": "a customer waits", "seconds": "600"}


async def ask(browser: Browser, person: Person, path: str = "/access", **fields: str) -> Page:
    return await browser.post(path, headers=browser.site.bearer(person), data=json.encode(WANTED | fields))


async def granted(browser: Browser, **fields: str) -> Grant:
    """Ann asks, Bob approves, and the topic says so."""
    asked = (await ask(browser, ANN, **fields)).json["message"].partition(":")[0]
    path = f"/approvals/{asked}/decision"
    page = await browser.post(
        path, headers=browser.site.bearer(BOB), data=json.encode({"decision": "approve", "reason": "fine"})
    )
    assert page.status == 200, page.text
    site = browser.site
    vote = site.decisions()[-1]
    site.pending.take_decision(vote)
    await site.granting.settle(site.pending.get(asked))
    return site.grants()[-1]


async def test_what_is_asked_for_is_shown_to_approvers_and_given_when_they_say_so(browser: Browser) -> None:
    before_us = time.time_ns() // 1000
    grant = await granted(browser, role="writer", ticket="OPS-1")
    site = browser.site
    assert [(a.kind, a.person.subject, a.approvers, a.ticket) for a in site.asked] == [
        ("access", "ann", ("data-owners",), "OPS-1")
    ]
    assert (grant.kind, grant.person.subject, grant.role, grant.rule) == ("access", "ann", "writer", "access")
    other = await granted(browser, relations="public.carts, public.orders")
    assert (other.role, other.relations) == ("", ("public.carts", "public.orders"))
    assert [giver.subject for giver in grant.granted_by] == ["bob"]
    assert 600_000_000 <= grant.until_us - before_us < 660_000_000
    await site.granting.settle(site.pending.get(grant.grant_id))
    assert len(site.grants()) == 2, "the topic read again gives nothing twice"


async def test_until_the_topic_says_that_it_is_approved_nothing_is_given(browser: Browser) -> None:
    asked = (await ask(browser, ANN)).json["message"].partition(":")[0]
    entry = browser.site.pending.get(asked)
    browser.site.pending.take_decision(decision(entry.approval), confirmed=False)
    assert entry.state == "approved"
    await browser.site.granting.settle(entry)
    assert browser.site.grants() == []


@pytest.mark.parametrize(
    ("person", "fields", "why"),
    [
        (EVE, {}, "with these groups"),
        (AGENT, {}, "an? agent can't ask"),
        (ANN, {"environment": "staging"}, "may not ask for access to 'staging'"),
        (ANN, {"role": "superuser"}, "to role 'superuser'"),
        (ANN, {"role": "writer", "relations": "public.carts"}, "has all of it"),
        (ANN, {"role": "owner"}, "to role 'owner'"),
        (ANN, {"emergency": "yes"}, "may not take emergency access"),
        (ANN, {"seconds": "3601"}, "3601 s is not a time"),
        (ANN, {"seconds": "0"}, "0 s is not a time"),
        (ANN, {"seconds": "-1"}, "is no number of seconds"),
        (ANN, {"seconds": "٣"}, "is no number of seconds"),
        (ANN, {"reason": " "}, "needs a reason"),
        (ANN, {"relations": "customers"}, "as schema.name"),
    ],
)
async def test_what_may_not_be_asked_for(browser: Browser, person: Person, fields: dict[str, str], why: str) -> None:
    page = await ask(browser, person, **fields)
    assert page.status == 403
    assert page.json["hint"]
    assert re.search(why, page.json["error"]), page.text
    assert browser.site.published == [] and browser.site.asked == []


async def test_an_emergency_is_given_at_once_and_stays_open_until_another_looks_at_it(browser: Browser) -> None:
    page = await ask(browser, ON_CALL, emergency="yes", role="owner")
    assert page.status == 200 and "role owner for prod" in page.json["message"]
    (grant,) = browser.site.grants()
    assert (grant.kind, grant.review, grant.granted_by) == ("break_glass", "open", ())
    path = f"/access/{grant.grant_id}/review"
    for person, why in ((ON_CALL, "his own emergency"), (EVE, "may not review"), (ANN, "may not review")):
        refused = await ask(browser, person, path, reason="looks fine")
        assert refused.status == 403 and why in refused.json["error"]
    closed = await ask(browser, BOB, path, reason="he restarted the queue")
    assert closed.status == 200
    last = browser.site.grants()[-1]
    assert (last.review, last.findings) == ("closed", "he restarted the queue")
    assert last.reviewed_by is not None and last.reviewed_by.subject == "bob"
    assert (await ask(browser, CAT, path, reason="again")).json["error"].startswith("no review of")


@pytest.mark.parametrize(("person", "may"), [(ANN, True), (BOB, True), (EVE, False), (ON_CALL, False)])
async def test_who_takes_it_back(browser: Browser, person: Person, may: bool) -> None:
    grant = await granted(browser)
    page = await ask(browser, person, f"/access/{grant.grant_id}/revocation", reason="done")
    assert (page.status == 200) is may, page.text
    assert (browser.site.grants()[-1].revoked == "done") is may
    if may:
        again = await ask(browser, person, f"/access/{grant.grant_id}/revocation", reason="done")
        assert "over already" in again.json["error"]


async def test_each_sees_what_he_holds_and_what_he_answers_for(browser: Browser) -> None:
    grant = await granted(browser)
    for person, expected in ((ANN, [grant.grant_id]), (CAT, [grant.grant_id]), (EVE, []), (ON_CALL, [])):
        page = await browser.get("/access", headers=browser.site.bearer(person))
        assert [each["grant_id"] for each in page.json["grants"]] == expected
        assert all("binding" not in each for each in page.json["grants"])


async def test_nobody_buries_what_others_wait_for(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_access, "OPEN_MAX", 3)
    for person, fields in ((ANN, {}), (ON_CALL, {"emergency": "yes"})):
        answers = [await ask(browser, person, **fields) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 403]
        assert "open already" in answers[-1].json["error"]


@pytest.mark.parametrize("path", ["/access", "/access/g-1/revocation", "/access/g-1/review"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_only_a_post_changes_anything(browser: Browser, path: str, method: str) -> None:
    await browser.ask(method, path, headers=browser.site.bearer(ANN), data=json.encode(WANTED))
    assert browser.site.published == [] and browser.site.asked == []


async def test_a_browser_needs_a_form_of_ours(browser: Browser) -> None:
    await browser.sign_in(ON_CALL)
    page = await browser.get("/access")
    assert page.status == 200 and "This is an emergency" in page.text
    fields = WANTED | {"emergency": "yes"}
    for csrf in ("", "guess"):
        assert (await browser.post("/access", data={**fields, "csrf": csrf})).status == 403
    other: Any = {"Origin": "https://evil.example"}
    assert (await browser.post("/access", data={**fields, "csrf": page.csrf}, headers=other)).status == 403
    assert browser.site.grants() == []
    assert (await browser.post("/access", data={**fields, "csrf": page.csrf})).status == 200
    assert len(browser.site.grants()) == 1
    shown = await browser.get("/access")
    assert "a customer waits" in shown.text and "Take back" in shown.text and "Close the review" not in shown.text


async def test_what_cannot_be_published_is_not_given(browser: Browser) -> None:
    browser.site.publish_raises = RefusedError("Kafka doesn't take it")
    assert (await ask(browser, ON_CALL, emergency="yes")).status == 403
    assert (await ask(browser, ANN)).status == 403
    assert (await browser.get("/access", headers=browser.site.bearer(ON_CALL))).json == {"grants": []}
    assert browser.site.pending.requested(0) == [browser.site.held]


async def test_who_asked_may_withdraw_what_nobody_waits_for(browser: Browser) -> None:
    asked = (await ask(browser, ANN)).json["message"].partition(":")[0]
    path = f"/approvals/{asked}/withdrawal"
    assert (await ask(browser, BOB, path)).status == 403
    assert (await ask(browser, ANN, path)).status == 200
    assert [(s.approval_id, s.status) for s in browser.site.states] == [(asked, "cancelled")]
    late = await browser.post(
        f"/approvals/{asked}/decision",
        headers=browser.site.bearer(BOB),
        data=json.encode({"decision": "approve", "reason": "fine"}),
    )
    assert "cancelled already" in late.json["error"]
    waited_for = await ask(browser, ANN, "/approvals/tap-1-7-12/withdrawal")
    assert "a statement waits for it" in waited_for.json["error"]
