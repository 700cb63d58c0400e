"""The approvals service on a real server, attacked: a look never decides, and only who may decide does."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, Person
from taprail.streams.approvals import web
from tests.fakes.approvals import AGENT, ANN, BINDING, BOB, CAT, EVE, TEXT, approval, decision
from tests.fakes.provider import FakeProvider
from tests.fakes.site import PATH, Browser, Site, a_browser, a_site

DECIDE = f"{PATH}/decision"
APPROVE = {"decision": "approve", "reason": "because"}
XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def state(site: Site) -> str:
    return site.pending.get("tap-1-7-12").state


async def by_token(browser: Browser, person: Person, fields: object = APPROVE, path: str = DECIDE) -> Any:
    return await browser.post(path, headers=browser.site.bearer(person), data=json.encode(fields))


# Nobody


async def test_a_browser_that_nobody_signed_in_with_is_sent_to_sign_in(browser: Browser) -> None:
    for path in ("/approvals", PATH):
        page = await browser.get(path)
        assert (page.status, page.headers["Location"]) == (302, "/sign-in")


@pytest.mark.parametrize("path", ["/approvals", PATH])
async def test_a_program_without_a_token_is_told_so(browser: Browser, path: str) -> None:
    page = await browser.get(path, headers={"Accept": "application/json"})
    assert (page.status, page.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert page.json["hint"]


@pytest.mark.parametrize("headers", [{}, {"Accept": "application/json"}, {"Cookie": "taprail_session=guess"}])
async def test_nobody_decides_without_signing_in(browser: Browser, headers: dict[str, str]) -> None:
    for body in ({"data": APPROVE}, {"json": APPROVE}):
        assert (await browser.post(DECIDE, headers=headers, **body)).status == 401
    assert browser.site.published == []


@pytest.mark.parametrize("header", ["Bearer ", "Bearer x", "Basic Ym9iOng=", "bearer", "Bearer a.b.c", "Negotiate AA"])
async def test_a_header_that_proves_nothing_lets_nobody_in(browser: Browser, header: str) -> None:
    headers = {"Authorization": header, "Accept": "application/json"}
    assert (await browser.get("/approvals", headers=headers)).status in (401, 403)
    assert (await browser.post(DECIDE, headers=headers, json=APPROVE)).status in (401, 403)
    assert browser.site.published == []


async def test_a_token_that_does_not_hold_is_refused_and_not_repeated(browser: Browser) -> None:
    token = browser.site.provider.token(aud="other", groups=["data-owners"])
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    page = await browser.post(DECIDE, headers=headers, json=APPROVE)
    assert (page.status, "aud" in page.json["error"]) == (403, True)
    assert token.rpartition(".")[2] not in page.text


# Looking


@pytest.mark.parametrize("path", ["/", "/approvals", PATH, DECIDE, f"{PATH}?decision=approve&reason=x", "/health"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
async def test_only_a_post_decides(browser: Browser, path: str, method: str) -> None:
    headers = {**browser.site.bearer(BOB), "X-HTTP-Method-Override": "POST"}
    await browser.ask(method, path, headers=headers, data=json.encode(APPROVE))
    assert (browser.site.published, state(browser.site)) == ([], "requested")


async def test_a_post_to_the_page_itself_does_not_decide(browser: Browser) -> None:
    assert (await by_token(browser, BOB, path=PATH)).status == 405


async def test_an_approver_sees_what_would_run(browser: Browser) -> None:
    site = browser.site
    site.hold(approval_id="binds", parameters=(b"ann", None, b"\xff"), text="DELETE FROM carts WHERE owner = $1")
    page = await browser.get("/approvals/binds", headers=site.bearer(BOB))
    assert page.json["text"] == "DELETE FROM carts WHERE owner = $1\n-- $1 = 'ann'\n-- $2 = None\n-- $3 = '\\\\xff'"
    assert "values" not in page.json
    assert (await browser.get(PATH, headers=site.bearer(BOB))).json["text"] == TEXT


async def test_the_requester_sees_its_state_and_not_more(browser: Browser) -> None:
    page = await browser.get(PATH, headers=browser.site.bearer(ANN))
    assert (page.json["state"], page.json["text"]) == ("requested", "DELETE FROM carts WHERE owner = $1")
    assert "ann@example.com" not in page.text


@pytest.mark.parametrize("person", [EVE, replace(AGENT, on_behalf_of="eve"), replace(BOB, kind="service")])
async def test_others_see_nothing_of_it(browser: Browser, person: Person) -> None:
    headers = browser.site.bearer(person)
    page = await browser.get(PATH, headers=headers)
    assert page.status == 403
    assert "DELETE" not in page.text and "carts" not in page.text
    assert (await browser.get("/approvals", headers=headers)).json == {"approvals": []}


async def test_the_list_is_what_one_may_decide_on(browser: Browser) -> None:
    browser.site.hold(approval_id="of-bob", person=BOB)
    answers = [await browser.get("/approvals", headers=browser.site.bearer(person)) for person in (ANN, BOB, CAT)]
    listed = [[found["approval_id"] for found in answer.json["approvals"]] for answer in answers]
    assert listed == [[], ["tap-1-7-12"], ["of-bob", "tap-1-7-12"]]


async def test_a_text_that_was_moved_from_another_statement_is_not_shown(browser: Browser) -> None:
    """Who can write approvals could show a harmless text for a harmful binding."""
    harmless = approval(text="SELECT 1", sequence=13).values
    browser.site.hold(approval_id="moved", values=harmless)
    page = await browser.get("/approvals/moved", headers=browser.site.bearer(BOB))
    assert page.status == 403
    assert "SELECT 1" not in page.text


async def test_a_text_that_was_changed_is_not_shown(browser: Browser) -> None:
    values = approval().values
    assert values is not None
    flipped = bytes([values.ciphertext[0] ^ 1]) + values.ciphertext[1:]
    browser.site.hold(approval_id="changed", values=replace(values, ciphertext=flipped))
    assert (await browser.get("/approvals/changed", headers=browser.site.bearer(BOB))).status == 403


# Deciding


@pytest.mark.parametrize(("answer", "then"), [("approve", "approved"), ("deny", "refused")])
async def test_an_approver_decides(browser: Browser, answer: str, then: str) -> None:
    page = await by_token(browser, BOB, {"decision": answer, "reason": "because", "ticket": "OPS-1"})
    assert (page.status, state(browser.site)) == (200, then)
    [made] = browser.site.decisions()
    assert (made.approval_id, made.binding, made.decision) == ("tap-1-7-12", BINDING, answer)
    assert (made.approver.subject, made.reason, made.ticket) == ("bob", "because", "OPS-1")


@pytest.mark.parametrize(
    "person",
    [ANN, replace(ANN, groups=("data-owners",)), AGENT, EVE, replace(BOB, kind="agent"), replace(BOB, groups=("x",))],
)
async def test_who_may_not_decide_does_not(browser: Browser, person: Person) -> None:
    for answer in ("approve", "deny"):
        assert (await by_token(browser, person, APPROVE | {"decision": answer})).status == 403
    assert (browser.site.published, state(browser.site)) == ([], "requested")


async def test_nobody_decides_twice(browser: Browser) -> None:
    assert (await by_token(browser, BOB)).status == 200
    again = await by_token(browser, CAT, APPROVE | {"decision": "deny"})
    assert (again.status, len(browser.site.published)) == (403, 1)
    assert "approved already" in again.json["error"]


async def test_of_two_who_decide_at_once_one_does(browser: Browser) -> None:
    browser.site.publish_waits_for = asyncio.Event()
    tasks = [asyncio.create_task(by_token(browser, person)) for person in (BOB, CAT, BOB)]
    refused = [await task for task in itertools.islice(asyncio.as_completed(tasks), 2)]
    browser.site.publish_waits_for.set()
    pages = await asyncio.gather(*tasks)
    assert [page.status for page in refused] == [403, 403]
    assert sorted(page.status for page in pages) == [200, 403, 403]
    assert len(browser.site.published) == 1


async def test_a_decision_that_kafka_does_not_take_can_be_taken_again(browser: Browser) -> None:
    browser.site.publish_raises = RefusedError("the decision could not be published", hint="decide again")
    page = await by_token(browser, BOB)
    assert (page.status, page.json["hint"], state(browser.site)) == (403, "decide again", "requested")
    browser.site.publish_raises = None
    assert (await by_token(browser, CAT, APPROVE | {"decision": "deny"})).status == 200
    assert [made.decision for made in browser.site.decisions()] == ["deny"]


async def test_an_unforeseen_failure_tells_nothing_of_the_inside(browser: Browser) -> None:
    browser.site.publish_raises = RuntimeError("password=hunter2")
    page = await by_token(browser, BOB)
    assert (page.status, state(browser.site)) == (500, "requested")
    assert "hunter2" not in page.text
    assert page.headers["Cache-Control"] == "no-store"


async def test_an_expired_one_is_not_decided(browser: Browser) -> None:
    browser.site.hold(approval_id="late", expires_us=1)
    page = await by_token(browser, BOB, path="/approvals/late/decision")
    assert (page.status, browser.site.published) == (403, [])
    assert "expired" in page.json["error"]


async def test_what_the_topic_has_decided_is_not_decided_again(browser: Browser) -> None:
    browser.site.pending.take_decision(decision(browser.site.held, "deny"))
    assert (await by_token(browser, CAT)).status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"decision":"approve"}',
        b'{"decision":"approve","reason":" "}',
        b'{"decision":"approve","reason":null}',
        b'{"decision":"approve","reason":7}',
        b'{"decision":["approve"],"reason":"x"}',
        b'{"decision":"APPROVE","reason":"x"}',
        b'{"decision":"approve ","reason":"x"}',
        b'{"decision":"expire","reason":"x"}',
        b'{"decision":"approve","reason":"' + b"x" * 501 + b'"}',
        b'{"decision":"approve","reason":"x","ticket":"' + b"x" * 101 + b'"}',
        b'{"a":' * 3000,
        b"decision=approve&reason=x",
    ],
)
async def test_a_body_that_is_not_right_decides_nothing(browser: Browser, body: bytes) -> None:
    page = await browser.post(DECIDE, headers=browser.site.bearer(BOB), data=body)
    assert (page.status, browser.site.published, state(browser.site)) == (403, [], "requested")
    assert page.json["error"]


@pytest.mark.parametrize("kind", ["json", "form"])
async def test_a_huge_body_is_not_read(browser: Browser, kind: str) -> None:
    if kind == "json":
        page = await browser.post(DECIDE, headers=browser.site.bearer(BOB), data=b"x" * (web.FORM_BYTES_MAX + 1))
    else:
        await browser.sign_in(BOB)
        page = await browser.post(DECIDE, data=await browser.form(reason="x" * web.FORM_BYTES_MAX))
    assert (page.status, browser.site.published) == (413, [])


@pytest.mark.parametrize("name", ["tap-9-9-9", "..", "%2e%2e%2fhealth", XSS.replace("/", "%2F"), "a" * 5000, "ünïcode"])
async def test_one_that_is_not_there_is_refused(browser: Browser, name: str) -> None:
    page = await by_token(browser, BOB, path=f"/approvals/{name}/decision")
    assert page.status in (403, 404)
    assert browser.site.published == []


# Forms


async def test_a_form_decides(browser: Browser) -> None:
    await browser.sign_in(BOB)
    form = await browser.form("deny", ticket="OPS-2")
    page = await browser.post(DECIDE, data=form, headers={"Origin": browser.site.url, "Sec-Fetch-Site": "same-origin"})
    assert (page.status, state(browser.site)) == (200, "refused")
    assert [made.ticket for made in browser.site.decisions()] == ["OPS-2"]


@pytest.mark.parametrize("token", [None, "", "x", "ünïcode", "a" * 1000])
async def test_a_form_without_its_token_decides_nothing(browser: Browser, token: str | None) -> None:
    await browser.sign_in(BOB)
    form = await browser.form()
    changed = {name: value for name, value in form.items() if name != "csrf"} | ({"csrf": token} if token else {})
    assert (await browser.post(DECIDE, data=changed)).status == 403
    assert (browser.site.published, state(browser.site)) == ([], "requested")


async def test_another_sessions_token_does_not_fit(browser: Browser) -> None:
    await browser.sign_in(BOB)
    async with a_browser(browser.site) as cats:
        await cats.sign_in(CAT)
        theirs = await cats.form()
    assert (await browser.post(DECIDE, data=theirs)).status == 403
    assert browser.site.published == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://[::1"},
        {"Origin": "http://127.0.0.1:notaport"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_form_from_elsewhere_decides_nothing_even_with_its_token(
    browser: Browser, headers: dict[str, str]
) -> None:
    """Another port of the same host is the same site to a cookie, and another origin to us."""
    await browser.sign_in(BOB)
    page = await browser.post(DECIDE, data=await browser.form(), headers=headers)
    assert (page.status, browser.site.published) == (403, [])
    assert "another site" in page.text


@pytest.mark.parametrize("header", ["Basic Ym9iOng=", "Bearer", "Bearer ", "Digest x", "x"])
async def test_a_header_beside_the_cookie_does_not_spare_the_token(browser: Browser, header: str) -> None:
    """`http://x:y@host/` in a form's address makes a browser send a header: the cookie is still what signs in."""
    await browser.sign_in(BOB)
    for body in ({"data": APPROVE}, {"json": APPROVE}):
        page = await browser.post(DECIDE, headers={"Authorization": header}, **body)
        assert page.status == 403
    assert (browser.site.published, state(browser.site)) == ([], "requested")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
async def test_a_form_of_another_type_decides_nothing(browser: Browser, kind: str) -> None:
    await browser.sign_in(BOB)
    form = await browser.form()
    body = "&".join(f"{name}={value}" for name, value in form.items()).encode()
    page = await browser.post(DECIDE, data=body, headers={"Content-Type": kind})
    assert (page.status, browser.site.published) == (403, [])


@pytest.mark.parametrize("charset", ["no-such-charset", "utf-16", "idna", "utf-8"])
async def test_a_form_in_any_encoding_is_read_or_refused(browser: Browser, charset: str) -> None:
    await browser.sign_in(BOB)
    kind = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
    page = await browser.post(DECIDE, data=b"csrf=\xff&decision=%ff\xd8", headers=kind)
    assert (page.status, browser.site.published) == (403, [])


# What is shown


def nasty(**changes: Any) -> Approval:
    person = replace(ANN, name=XSS, subject="mallory")
    names = ("purpose", "role", "rule", "reason", "tag", "normalized", "environment", "server", "database")
    fields: dict[str, Any] = dict.fromkeys(names, XSS) | {"relations": (XSS,), "approvers": ("data-owners", XSS)}
    return approval(text=f"SELECT '{XSS}</pre>'", person=person, approval_id=f"x{XSS}", **fields | changes)


async def test_nothing_of_a_statement_becomes_markup(browser: Browser) -> None:
    site = browser.site
    held = nasty()
    site.pending.take_approval(held)
    await browser.sign_in(replace(BOB, name=XSS))
    path = "/approvals/" + "".join(f"%{byte:02X}" for byte in held.approval_id.encode())
    pages = [await browser.get("/approvals"), await browser.get(path)]
    form = {"csrf": pages[1].csrf, "decision": "deny", "reason": XSS}
    pages.append(await browser.post(f"{path}/decision", data=form))
    pages.append(await browser.get(path))
    pages.append(await browser.get("/approvals/" + XSS.replace("/", "%2F")))
    assert [page.status for page in pages] == [200, 200, 200, 200, 403]
    for page in pages:
        assert "<script" not in page.text and "<img" not in page.text
        assert page.text.count("</pre>") <= 1
        assert "&lt;script&gt;" in page.text
        assert page.headers["Content-Type"].startswith("text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [("\u202e", "\\u202e"), ("\u200b", "\\u200b"), ("\u2066", "\\u2066"), ("\x1b[2K", "\\u001b[2K"), ("\r", "\\u000d")],
)
async def test_a_text_that_would_look_like_another_shows_why(browser: Browser, hidden: str, shown: str) -> None:
    await browser.sign_in(BOB)
    browser.site.hold(approval_id="hidden", text=f"DELETE FROM carts /* {hidden} */ -- WHERE owner = 1")
    page = await browser.get("/approvals/hidden")
    assert hidden not in page.text
    assert f"/* {shown} */" in page.text


async def test_a_look_at_the_text_is_logged(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "taprail.approvals"):
        await browser.get(PATH, headers=browser.site.bearer(ANN))
        assert "reads the text" not in caplog.text
        await browser.get(PATH, headers=browser.site.bearer(BOB))
    assert "bob reads the text of tap-1-7-12" in caplog.text
    assert "ann@example.com" not in caplog.text


async def test_the_form_is_only_for_who_may_use_it(browser: Browser) -> None:
    await browser.sign_in(ANN)
    assert "<form" not in (await browser.get(PATH)).text
    await browser.sign_in(BOB)
    page = await browser.get(PATH)
    assert "<form" in page.text and page.csrf
    await browser.post(DECIDE, data=await browser.form())
    assert "<form" not in (await browser.get(PATH)).text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 302),
        ("GET", "/approvals", 302),
        ("GET", "/style.css", 200),
        ("GET", "/health", 200),
        ("GET", "/sign-in", 302),
        ("GET", "/signed-in", 403),
        ("GET", "/nowhere", 404),
        ("PUT", "/approvals", 405),
        ("POST", DECIDE, 401),
    ],
)
async def test_every_answer_carries_the_security_headers(browser: Browser, method: str, path: str, status: int) -> None:
    page = await browser.ask(method, path)
    assert page.status == status
    policy = page.headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
    assert "unsafe" not in policy and "script-src" not in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert not [name for name in page.headers if name.startswith("Access-Control")]


async def test_a_page_needs_nothing_that_its_policy_forbids(browser: Browser) -> None:
    await browser.sign_in(BOB)
    page = await browser.get(PATH)
    assert not re.search(r"<script|<style|<img|<iframe|\bstyle=|\bon\w+=|javascript:|https?:", page.text)
    assert (await browser.get("/style.css")).headers["Content-Type"].startswith("text/css")


async def test_a_service_with_another_data_key_shows_no_text(provider: FakeProvider) -> None:
    async with a_site(provider, sealer=Sealer("data-2", b"x" * 32)) as site, a_browser(site) as browser:
        page = await browser.get(PATH, headers=site.bearer(BOB))
        assert (page.status, "data-1" in page.json["error"]) == (403, True)
