"""Browsers sign in through the identity provider: authorization code with PKCE (RFC 6749, RFC 7636, OpenID Connect).

Sessions live in memory: a restart asks people to sign in again. The cookie is HttpOnly and SameSite=Lax, and a form
carries the session's CSRF token besides.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from msgspec import Struct

from taprail.connectors.oidc.tokens import TokenVerifier
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person

COOKIE, STATE_COOKIE = "taprail_session", "taprail_sign_in"
SESSION_SECONDS_MAX = 8 * 3600
SIGN_IN_SECONDS_MAX = 600
KEPT_MAX = 10_000  # sessions and sign-ins under way; the oldest go first


class BrowserSession(Struct, frozen=True):
    person: Person
    csrf: str
    expires: float


class SignIn(Struct, frozen=True):
    """A sign-in under way: what must come back, and the PKCE verifier."""

    verifier: str
    expires: float


class BrowserSessions:
    """`url` is how browsers reach us; the provider must know `url`/signed-in as our redirect address."""

    def __init__(self, verifier: TokenVerifier, url: str, client_id: str, client_secret: str = "") -> None:
        self._verifier = verifier
        self._redirect = f"{url.rstrip('/')}/signed-in"
        self._secure = url.startswith("https:")
        self._client_id, self._client_secret = client_id, client_secret
        self._sessions: OrderedDict[str, BrowserSession] = OrderedDict()
        self._sign_ins: OrderedDict[str, SignIn] = OrderedDict()

    def known(self, request: web.Request) -> bool:
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        return session is not None and session.expires > time.time()

    def session(self, request: web.Request) -> BrowserSession:
        """Raises RefusedError where nobody is signed in."""
        if not self.known(request):
            raise RefusedError("nobody is signed in", hint="sign in, or send an access token")
        return self._sessions[request.cookies[COOKIE]]

    def check_csrf(self, request: web.Request, token: str) -> None:
        if not hmac.compare_digest(self.session(request).csrf.encode(), token.encode()):
            raise RefusedError("the form doesn't belong to this session", hint="open the page again")

    async def sign_in(self, request: web.Request) -> web.Response:
        """Send the browser to the provider."""
        metadata = await self._verifier.keys.discover()
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        _keep(self._sign_ins, state, SignIn(verifier, time.time() + SIGN_IN_SECONDS_MAX))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect,
            "scope": "openid profile email",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        response = web.Response(
            status=302, headers={"Location": f"{metadata['authorization_endpoint']}?{urlencode(query)}"}
        )
        # The state is bound to this browser: nobody can sign somebody else in with his own code.
        self._set(response, STATE_COOKIE, state, SIGN_IN_SECONDS_MAX)
        return response

    async def signed_in(self, request: web.Request) -> web.Response:
        """The provider sends the browser back: its code becomes a token, the token a session."""
        state = request.query.get("state", "")
        sign_in = self._sign_ins.pop(state, None)
        same_browser = hmac.compare_digest(request.cookies.get(STATE_COOKIE, "").encode(), state.encode())
        if sign_in is None or sign_in.expires < time.time() or not same_browser:
            raise RefusedError("this sign-in wasn't begun here, or took too long", hint="sign in again")
        token = await self._exchange(request.query.get("code", ""), sign_in.verifier)
        verified = await self._verifier.verify(token)
        expires = min(time.time() + SESSION_SECONDS_MAX, verified.expires_us / 1_000_000)
        identifier = secrets.token_urlsafe(32)
        _keep(self._sessions, identifier, BrowserSession(verified.person, secrets.token_urlsafe(24), expires))
        response = web.Response(status=302, headers={"Location": "/approvals"})
        self._set(response, COOKIE, identifier, int(expires - time.time()))
        response.del_cookie(STATE_COOKIE)
        return response

    async def _exchange(self, code: str, verifier: str) -> str:
        metadata = await self._verifier.keys.discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "code_verifier": verifier,
        }
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.post(metadata["token_endpoint"], data={k: v for k, v in form.items() if v}) as answer,
        ):
            body: dict[str, Any] = await answer.json(content_type=None)
            if answer.status != 200 or "access_token" not in body:
                raise RefusedError(f"the identity provider refused the sign-in: {body.get('error', answer.status)}")
            return str(body["access_token"])

    def _set(self, response: web.Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="Lax", secure=self._secure)


def _keep(kept: OrderedDict[str, Any], key: str, value: object) -> None:
    kept[key] = value
    while len(kept) > KEPT_MAX:
        kept.popitem(last=False)
