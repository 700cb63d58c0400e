"""Browsers sign in through the provider (authorization code, PKCE), and nobody signs in as somebody else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from taprail.connectors.http import post_form
from taprail.connectors.local.identity import Identity
from taprail.connectors.local.ports import choose_ports
from taprail.streams.approvals import browser as browsers
from taprail.streams.approvals.browser import COOKIE, STATE_COOKIE, BrowserSessions
from tests.fakes.approvals import BOB
from tests.fakes.provider import FakeProvider
from tests.fakes.site import PATH, Browser, Page, a_browser, a_site


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identity]:
    """The local stack's provider, a real one."""
    home = tmp_path_factory.mktemp("identity")
    (home / "logs").mkdir()
    identity = Identity(home / "identity", choose_ports(["identity"], home / "ports.json")["identity"])
    identity.start()
    yield identity
    identity.child.stop()


def cookies(page: Page) -> SimpleCookie:
    found: SimpleCookie = SimpleCookie()
    for header in page.headers.getall("Set-Cookie", []):
        found.load(header)
    return found


def turn_clock(monkeypatch: pytest.MonkeyPatch, by_seconds: float) -> None:
    """The sessions' clock, and no other."""
    later = time.time() + by_seconds
    monkeypatch.setattr(browsers, "time", SimpleNamespace(time=lambda: later))


async def begin(browser: Browser) -> str:
    """Where the browser is sent to."""
    return str((await browser.get("/sign-in")).headers["Location"])


async def signed_in(browser: Browser) -> bool:
    return (await browser.get("/approvals")).status == 200


async def test_through_the_real_provider(mock: Identity, provider: FakeProvider) -> None:
    async with a_site(provider, issuer=mock.url, secret="any") as site, a_browser(site) as browser:
        location = await begin(browser)
        assert location.startswith(f"{mock.url}/oauth2/authorize?")
        back = post_form(location, {"sub": "bob"}).location
        assert back.startswith(f"{site.url}/signed-in?")
        page = await browser.get(back)
        assert page.status == 302, page.text
        assert "signed in as bob@example.com" in (await browser.get("/approvals")).text
        decided = await browser.post(f"{PATH}/decision", data=await browser.form())
        assert decided.status == 200
        [made] = site.decisions()
        assert (made.approver.subject, made.approver.groups) == ("bob", ("data-owners", "approvers"))


async def test_the_request_is_what_the_provider_and_pkce_want(browser: Browser) -> None:
    """`grant` checks the rest of it."""
    location = await begin(browser)
    browser.site.provider.grant(location)
    query = parse_qs(urlsplit(location).query)
    assert query["redirect_uri"] == [f"{browser.site.url}/signed-in"]
    assert query["client_id"] == ["taprail"]
    other = parse_qs(urlsplit(await begin(browser)).query)
    assert not {*query["state"], *query["code_challenge"]} & {*other["state"], *other["code_challenge"]}


async def test_cookies_are_kept_from_scripts_and_other_sites(browser: Browser) -> None:
    sent = await browser.get("/sign-in")
    back = await browser.get(browser.site.provider.grant(sent.headers["Location"], groups=["data-owners"]))
    for page, name in ((sent, STATE_COOKIE), (back, COOKIE)):
        cookie = cookies(page)[name]
        assert cookie["httponly"] and cookie["samesite"] == "Lax" and not cookie["domain"] and not cookie["secure"]
        assert len(cookie.value) >= 32
        assert 0 < int(cookie["max-age"]) <= browsers.SESSION_SECONDS_MAX
    assert cookies(back)[STATE_COOKIE].value == ""


async def test_over_https_the_cookie_is_for_https_only(provider: FakeProvider) -> None:
    async with a_site(provider) as site, a_browser(site) as browser:
        site.browsers._secure = BrowserSessions(site.service.verifier, "https://approvals.example", "taprail")._secure
        assert cookies(await browser.get("/sign-in"))[STATE_COOKIE]["secure"]


async def test_nobody_is_signed_in_with_somebody_elses_code(browser: Browser) -> None:
    """Login CSRF: the attacker sends the victim a link with his own code and state."""
    async with a_browser(browser.site) as attacker:
        link = browser.site.provider.grant(await begin(attacker), sub="mallory")
    await begin(browser)
    assert (await browser.get(link)).status == 403
    assert not await signed_in(browser)


async def test_a_stolen_code_is_worth_nothing_without_its_verifier(browser: Browser) -> None:
    """The attacker saw the victim's code, and brings it back under a sign-in of his own."""
    provider = browser.site.provider
    stolen = parse_qs(urlsplit(provider.grant(await begin(browser))).query)["code"][0]
    async with a_browser(browser.site) as attacker:
        state = parse_qs(urlsplit(await begin(attacker)).query)["state"][0]
        page = await attacker.get(f"/signed-in?code={stolen}&state={state}")
        assert (page.status, "invalid_grant" in page.text) == (403, True)
        assert not await signed_in(attacker)


async def test_a_way_back_is_gone_once(browser: Browser) -> None:
    link = browser.site.provider.grant(await begin(browser))
    assert (await browser.get(link)).status == 302
    assert (await browser.get(link)).status == 403


@pytest.mark.parametrize("query", ["", "?code=x", "?state=", "?code=x&state=made-up", "?state=%00", "?code=x&state=ü"])
async def test_a_way_back_that_was_not_begun_here_is_refused(browser: Browser, query: str) -> None:
    await begin(browser)
    page = await browser.get(f"/signed-in{query}")
    assert page.status == 403
    assert not await signed_in(browser)


async def test_a_sign_in_that_took_too_long_is_refused(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    link = browser.site.provider.grant(await begin(browser))
    turn_clock(monkeypatch, browsers.SIGN_IN_SECONDS_MAX + 1)
    assert (await browser.get(link)).status == 403


async def test_a_session_ends_with_its_token(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    await browser.sign_in(BOB)
    form = await browser.form()
    turn_clock(monkeypatch, 601)
    assert not await signed_in(browser)
    assert (await browser.post(f"{PATH}/decision", data=form)).status == 401
    assert browser.site.published == []


async def test_a_cookie_that_was_guessed_or_given_is_nobodys(browser: Browser) -> None:
    for value in ("guess", "", "a" * 5000):
        page = await browser.get("/approvals", headers={"Cookie": f"{COOKIE}={value}"})
        assert (page.status, page.headers["Location"]) == (302, "/sign-in")


async def test_signing_in_gives_a_new_session(browser: Browser) -> None:
    """Session fixation: what the browser had before isn't what it has afterwards."""
    values = []
    for _ in range(2):
        location = await begin(browser)
        values.append(cookies(await browser.get(browser.site.provider.grant(location)))[COOKIE].value)
    assert values[0] != values[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"aud": "other"}, "aud"), ({"iss": "https://evil.example"}, "iss"), ({"exp": 1}, "expired")],
)
async def test_a_token_that_does_not_hold_signs_nobody_in(
    browser: Browser, changes: dict[str, object], says: str
) -> None:
    """And is told, where a way back to the provider would go round for ever."""
    page = await browser.get(browser.site.provider.grant(await begin(browser), **changes))
    assert (page.status, says in page.text) == (403, True)
    assert COOKIE not in cookies(page)


@pytest.mark.parametrize(
    "answer",
    [
        (400, b'{"error":"invalid_grant"}'),
        (500, b"<html>"),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"{}"),
        (200, b'{"access_token":7}'),
        (200, b'{"access_token":null}'),
        (302, b"{}"),
        (200, b"[" * 5000),
    ],
)
async def test_a_provider_that_gives_no_token_signs_nobody_in(browser: Browser, answer: tuple[int, bytes]) -> None:
    link = browser.site.provider.grant(await begin(browser))
    browser.site.provider.token_answer = answer
    page = await browser.get(link)
    assert (page.status, "identity provider" in page.text) == (403, True)
    assert not await signed_in(browser)


async def test_a_providers_refusal_is_told_and_is_no_markup(browser: Browser) -> None:
    state = parse_qs(urlsplit(await begin(browser)).query)["state"][0]
    page = await browser.get(f"/signed-in?error={quote('<script>alert(1)</script>')}&state={state}")
    assert (page.status, "&lt;script&gt;" in page.text, "<script" in page.text) == (403, True, False)


async def test_without_the_provider_the_page_says_so() -> None:
    with FakeProvider() as gone:
        async with a_site(gone) as site, a_browser(site) as browser:
            link = gone.grant(await begin(browser))
            gone.stop()
            page = await browser.get(link)
            assert (page.status, "gives no token" in page.text) == (403, True)
        async with a_site(gone) as site, a_browser(site) as browser:
            page = await browser.get("/sign-in")
            assert (page.status, "doesn&#x27;t answer" in page.text) == (403, True)


@pytest.mark.parametrize("missing", ["authorization_endpoint", "token_endpoint"])
async def test_a_provider_that_names_no_endpoint_is_told(missing: str) -> None:
    with FakeProvider() as odd:
        odd.metadata = json.dumps({k: v for k, v in odd.discovery().items() if k != missing}).encode()
        async with a_site(odd) as site, a_browser(site) as browser:
            page = await browser.get("/sign-in")
            if missing == "token_endpoint":
                page = await browser.get(odd.grant(page.headers["Location"]))
            assert (page.status, missing in page.text) == (403, True)


async def test_sessions_and_sign_ins_take_bounded_memory(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "KEPT_MAX", 3)
    for _ in range(5):
        await begin(browser)
    for _ in range(5):
        await browser.sign_in(BOB)
    assert len(browser.site.browsers._sign_ins) <= 3
    assert len(browser.site.browsers._sessions) == 3
    assert await signed_in(browser)
