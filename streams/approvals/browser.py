"""Browsers sign in through the identity provider: authorization code with PKCE (RFC 6749, RFC 7636, OpenID Connect).

Sessions live in memory: a restart asks people to sign in again. The cookie is HttpOnly and SameSite=Lax; a form carries
the session's CSRF token besides, and comes from our own pages: to a browser, every port of a host is the same site.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiohttp import web
from msgspec import Struct

from taprail.connectors.oidc.tokens import TokenVerifier
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person

COOKIE, STATE_COOKIE = "taprail_session", "taprail_sign_in"
SESSION_SECONDS_MAX = 8 * 3600
SIGN_IN_SECONDS_MAX = 600
TIMEOUT = aiohttp.ClientTimeout(total=10)
KEPT_MAX = 10_000  # sessions and sign-ins under way; the oldest go first


class NotSignedInError(RefusedError):
    """Nobody is signed in: what a browser is sent to the provider for."""


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
        self._origin = _origin(url)
        self._redirect = f"{url.rstrip('/')}/signed-in"
        self._secure = url.startswith("https:")
        self._client_id, self._client_secret = client_id, client_secret
        self._sessions: OrderedDict[str, BrowserSession] = OrderedDict()
        self._sign_ins: OrderedDict[str, SignIn] = OrderedDict()

    def known(self, request: web.Request) -> bool:
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        return session is not None and session.expires > time.time()

    def session(self, request: web.Request) -> BrowserSession:
        """Raises NotSignedInError where nobody is."""
        if not self.known(request):
            raise NotSignedInError("nobody is signed in", hint="sign in, or send an access token")
        return self._sessions[request.cookies[COOKIE]]

    def check_form(self, request: web.Request, token: str) -> None:
        """Raises RefusedError where the form wasn't sent from a page that we made for this session."""
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
        if (origin is not None and _origin(origin) != self._origin) or site not in ("same-origin", "none"):
            raise RefusedError("the form was sent from another site", hint="open the page here, and decide there")
        if not hmac.compare_digest(self.session(request).csrf.encode(), token.encode()):
            raise RefusedError("the form doesn't belong to this session", hint="open the page again")

    async def sign_in(self, request: web.Request) -> web.Response:
        """Send the browser to the provider."""
        endpoint = await self._endpoint("authorization_endpoint")
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
        joint = "&" if "?" in endpoint else "?"
        response = web.Response(status=302, headers={"Location": f"{endpoint}{joint}{urlencode(query)}"})
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
        if (error := request.query.get("error")) is not None:
            raise RefusedError(f"the identity provider refused the sign-in: {error}", hint="sign in again")
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
        """The code's access token. Raises RefusedError where the provider gives none, or doesn't answer."""
        endpoint = await self._endpoint("token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "code_verifier": verifier,
        }
        try:
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT) as session,
                session.post(endpoint, data={k: v for k, v in form.items() if v}, allow_redirects=False) as answer,
            ):
                status, body = answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            raise RefusedError(
                f"the identity provider gives no token: {type(error).__name__}", hint="sign in again when it answers"
            ) from error
        fields: dict[str, Any] = body if isinstance(body, dict) else {}
        token = fields.get("access_token")
        if status != 200 or not isinstance(token, str):
            reason = fields.get("error", f"status {status}")
            raise RefusedError(f"the identity provider refused the sign-in: {reason}", hint="sign in again")
        return token

    async def _endpoint(self, name: str) -> str:
        endpoint = (await self._verifier.keys.discover()).get(name)
        if not isinstance(endpoint, str):
            raise RefusedError(f"the identity provider names no {name}", hint="is it an OpenID provider?")
        return endpoint

    def _set(self, response: web.Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="Lax", secure=self._secure)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454); of `null`, and of what is no address, an origin that nothing has."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None


def _keep(kept: OrderedDict[str, Any], key: str, value: object) -> None:
    kept[key] = value
    while len(kept) > KEPT_MAX:
        kept.popitem(last=False)
