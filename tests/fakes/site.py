"""The approvals service on a real server, and the people who talk to it: browsers, programs, and one who shouldn't."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from msgspec import json

from taprail.connectors.oidc.tokens import TokenRules, TokenVerifier
from taprail.schemas.control import Decision, Grant, SignedRecord
from taprail.schemas.envelope import Sealer
from taprail.schemas.records import Approval, ApprovalState, Person
from taprail.streams.approvals.browser import BrowserSessions
from taprail.streams.approvals.decide import open_decision
from taprail.streams.approvals.granting import Granting
from taprail.streams.approvals.grants import open_grant
from taprail.streams.approvals.pending import PendingApprovals
from taprail.streams.approvals.serving import Service
from taprail.streams.approvals.web import application
from taprail.streams.settings_access import AccessRule
from tests.fakes.approvals import KEY, PUBLIC_KEYS, SEALER, approval
from tests.fakes.provider import AUDIENCE, FakeProvider

PATH = "/approvals/tap-1-7-12"
ACCESS = (
    AccessRule(environments=("prod",), groups=("engineers",), roles=("writer",), approvers=("data-owners",)),
    AccessRule(
        environments=("prod",), groups=("on-call",), roles=("owner",), approvers=("data-owners",), emergency=True
    ),
)


class Page(NamedTuple):
    """An answer, read."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.decode(self.text)

    @property
    def csrf(self) -> str:
        return self.text.partition('name="csrf" value="')[2].partition('"')[0]


class Site:
    """One held statement of Ann's; Bob and Cat may decide. `published` is what went into the topic."""

    def __init__(self, provider: FakeProvider, url: str, issuer: str, sealer: Sealer, secret: str) -> None:
        self.provider, self.url = provider, url
        self.pending = PendingApprovals()
        self.published: list[SignedRecord] = []
        self.publish_waits_for: asyncio.Event | None = None
        self.publish_raises: Exception | None = None
        verifier = TokenVerifier(TokenRules(issuer=issuer, audience=AUDIENCE))
        self.browsers = BrowserSessions(verifier, url, "taprail", secret)
        self.standing: Callable[[Person], Person] = lambda person: person
        self.owner_of: Callable[[Person], str] = lambda person: ""
        self.states: list[ApprovalState] = []
        self.asked: list[Approval] = []
        self.granting = Granting(KEY, PUBLIC_KEYS, self._publish)
        self.service = Service(
            pending=self.pending,
            granting=self.granting,
            verifier=verifier,
            browser=self.browsers,
            sealer=sealer,
            key=KEY,
            publish=self._publish,
            publish_approval=self._keep(self.asked),
            publish_state=self._keep(self.states),
            access=ACCESS,
            standing=lambda person: self.standing(person),
            owner_of=lambda person: self.owner_of(person),
        )
        self.held = self.hold()

    def hold(self, **changes: Any) -> Approval:
        made = approval(**changes)
        self.pending.take_approval(made)
        return made

    def decisions(self) -> list[Decision]:
        return [open_decision(record, PUBLIC_KEYS) for record in self.published if record.kind == "decision"]

    def grants(self) -> list[Grant]:
        return [open_grant(record, PUBLIC_KEYS) for record in self.published if record.kind == "grant"]

    def _keep(self, kept: list[Any]) -> Callable[[Any], Awaitable[None]]:
        async def publish(record: Any) -> None:
            if self.publish_raises is not None:
                raise self.publish_raises
            kept.append(record)

        return publish

    async def _publish(self, record: SignedRecord) -> None:
        if self.publish_waits_for is not None:
            await self.publish_waits_for.wait()
        if self.publish_raises is not None:
            raise self.publish_raises
        self.published.append(record)

    def token(self, person: Person) -> str:
        act = {"sub": person.subject} if person.on_behalf_of else None
        return self.provider.token(
            sub=person.on_behalf_of or person.subject,
            name=person.name,
            groups=list(person.groups),
            actor_type=person.kind,
            act=act,
        )

    def bearer(self, person: Person) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(person)}", "Accept": "application/json"}


class Browser:
    """Keeps cookies, as a browser does, and follows no redirect by itself."""

    def __init__(self, site: Site, http: aiohttp.ClientSession) -> None:
        self.site, self._http = site, http

    async def ask(self, method: str, path: str, **options: Any) -> Page:
        url = path if path.startswith("http") else f"{self.site.url}{path}"
        async with self._http.request(method, url, allow_redirects=False, **options) as answer:
            return Page(answer.status, answer.headers, await answer.text())

    async def get(self, path: str, **options: Any) -> Page:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Page:
        return await self.ask("POST", path, **options)

    async def sign_in(self, person: Person) -> Page:
        """Through the provider and back."""
        sent = await self.get("/sign-in")
        claims = {"sub": person.subject, "name": person.name, "groups": list(person.groups)}
        return await self.get(self.site.provider.grant(sent.headers["Location"], **claims))

    async def form(self, answer: str = "approve", path: str = PATH, **changes: str) -> dict[str, str]:
        """What the page's form would send."""
        page = await self.get(path)
        assert page.status == 200, page.text
        return {"csrf": page.csrf, "reason": "because", "ticket": "", "decision": answer} | changes


@asynccontextmanager
async def a_site(
    provider: FakeProvider, issuer: str = "", sealer: Sealer = SEALER, secret: str = ""
) -> AsyncIterator[Site]:
    """Served on a port of its own, in the test's loop."""
    bound = socket.create_server(("127.0.0.1", 0))
    site = Site(provider, f"http://127.0.0.1:{bound.getsockname()[1]}", issuer or provider.url, sealer, secret)
    runner = web.AppRunner(application(site.service), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, bound).start()
    try:
        yield site
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_browser(site: Site) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:  # cookies of an IP address
        yield Browser(site, http)
