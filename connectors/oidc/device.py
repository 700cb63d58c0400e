"""Signing a person in at a terminal: the Device Authorization Grant, and the refresh and the end of what it gave.

Sources: RFC 8628 (device grant), RFC 6749 (errors, refresh), RFC 7009 (revocation), RFC 8414 (metadata). The person
signs in with a browser on any device; this program polls the token endpoint meanwhile. No secret is needed for it: a
program on people's machines is a public client (RFC 6749, section 2.1).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
from msgspec import Struct, field

from taprail.connectors.oidc.keys import TIMEOUT, ProviderKeys
from taprail.schemas.errors import RefusedError

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL_SECONDS, SLOWER_SECONDS = 5.0, 5.0  # RFC 8628, sections 3.2 and 3.5
INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_MAX = 1.0, 60.0
LIFETIME_SECONDS_MAX = 1800.0  # nobody waits longer for somebody to sign in, whatever the provider says
BODY_BYTES_MAX, CHUNK_BYTES = 1 << 20, 1 << 16
SCOPE = "openid profile email offline_access"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
Sleep = Callable[[float], Awaitable[None]]


class Client(Struct, frozen=True):
    """Who asks the provider. `audience` goes along where it isn't empty: some providers want it named."""

    issuer: str
    client_id: str
    scope: str = SCOPE
    audience: str = ""


class Prompt(Struct, frozen=True):
    """What the person must do: open the address, and type the code unless `complete` (which holds it) was opened."""

    address: str
    code: str
    complete: str = ""


class Granted(Struct, frozen=True):
    """Tokens. `expires` is seconds since 1970 UTC; `refresh_token` '' where the provider gave none."""

    access_token: str = field(default="")
    expires: float = 0.0
    refresh_token: str = field(default="")

    def __repr__(self) -> str:
        return f"Granted(expires={self.expires!r})"


async def sign_in(
    client: Client,
    show: Callable[[Prompt], None],
    *,
    sleep: Sleep = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Granted:
    """Begin, show the person what to do, and wait until it is done. Raises RefusedError where it won't be."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        metadata = await _discover(client.issuer)
        begin = _endpoint(metadata, "device_authorization_endpoint", "the device flow (RFC 8628)")
        poll = _endpoint(metadata, "token_endpoint", "tokens")
        asked = {"client_id": client.client_id, "scope": client.scope, "audience": client.audience}
        status, answer = await _post(session, begin, asked)
        if status != 200:
            raise _refused("the identity provider doesn't begin a sign-in", status, answer)
        device_code = _text(answer, "device_code")
        interval = min(max(_seconds(answer, "interval", INTERVAL_SECONDS), INTERVAL_SECONDS_MIN), INTERVAL_SECONDS_MAX)
        end = clock() + min(_seconds(answer, "expires_in", LIFETIME_SECONDS_MAX), LIFETIME_SECONDS_MAX)
        show(_prompt(answer))
        form = {"grant_type": DEVICE_GRANT, "device_code": device_code, "client_id": client.client_id}
        while clock() + interval < end:
            await sleep(interval)
            try:
                status, answer = await _post(session, poll, form)
            except _Unreachable:  # section 3.5: poll less often, twice as seldom each time
                interval = min(interval * 2, INTERVAL_SECONDS_MAX)
                continue
            if status == 200:
                return _granted(answer)
            error = answer.get("error")
            if error == "slow_down":
                interval += SLOWER_SECONDS
            elif error != "authorization_pending":
                raise _ended(status, answer)
    raise RefusedError("nobody signed in in time", hint="run `taprail login` again")


async def refresh(client: Client, refresh_token: str) -> Granted:
    """New tokens for an old refresh token (RFC 6749, section 6). Raises RefusedError where the provider gives none."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client.client_id}
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        endpoint = _endpoint(await _discover(client.issuer), "token_endpoint", "tokens")
        status, answer = await _post(session, endpoint, form)
    if status != 200:
        raise _refused("the sign-in has ended", status, answer, hint="run `taprail login`")
    granted = _granted(answer)
    return granted if granted.refresh_token else Granted(granted.access_token, granted.expires, refresh_token)


async def revoke(client: Client, token: str) -> bool:
    """Tell the provider that a token isn't needed any more (RFC 7009); whether it has such an address and took it."""
    metadata = await _discover(client.issuer)
    if not isinstance(metadata.get("revocation_endpoint"), str):
        return False
    endpoint = _endpoint(metadata, "revocation_endpoint", "revocation")
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        status, _ = await _post(session, endpoint, {"token": token, "client_id": client.client_id})
    return status == 200


def claims_unverified(token: str) -> dict[str, Any]:
    """What a token says of itself, for the person's own eyes and for a user name: nothing may be decided by it."""
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return {}


class _Unreachable(RefusedError):
    """No answer, or one that isn't the protocol's."""


async def _discover(issuer: str) -> dict[str, Any]:
    _safe(issuer, "the issuer")
    return await ProviderKeys(issuer).discover()


async def _post(session: aiohttp.ClientSession, url: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """(status, the JSON object of the answer). Raises _Unreachable, which never repeats what was sent."""
    sent = {name: value for name, value in form.items() if value}
    accept = {"Accept": "application/json"}
    try:
        async with session.post(url, data=sent, headers=accept, allow_redirects=False) as response:
            raw = b""
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                raw += chunk
                if len(raw) > BODY_BYTES_MAX:
                    raise ValueError("the answer is too large")
        body = json.loads(raw) if raw else {}
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
        raise _Unreachable(f"no answer from {url}: {type(error).__name__}", hint="try again when it answers") from error
    if not isinstance(body, dict) or response.status >= 500:
        raise _Unreachable(f"{url} answers with status {response.status}", hint="try again when it answers")
    return response.status, body


def _endpoint(metadata: dict[str, Any], name: str, what: str) -> str:
    address = metadata.get(name)
    if not isinstance(address, str):
        raise RefusedError(
            f"the identity provider has no address for {what}: its metadata lacks {name}",
            hint="switch it on for this client there, or use a token that you got otherwise",
        )
    return _safe(address, name)


def _safe(address: str, what: str) -> str:
    """The address, if nobody can read along. Raises RefusedError."""
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise RefusedError(f"{what} isn't an https address: {printable(address)}", hint="tokens go over TLS only")
    return address


def _prompt(answer: dict[str, Any]) -> Prompt:
    address = _safe(_text(answer, "verification_uri"), "verification_uri")
    complete = answer.get("verification_uri_complete")
    whole = _safe(complete, "verification_uri_complete") if isinstance(complete, str) else ""
    return Prompt(printable(address), printable(_text(answer, "user_code")), printable(whole))


def printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(character for character in text if character.isprintable())


def _granted(answer: dict[str, Any]) -> Granted:
    token = _text(answer, "access_token")
    if str(answer.get("token_type", "")).lower() != "bearer":
        raise RefusedError("the identity provider gives tokens that aren't bearer tokens", hint="set up its client so")
    said = claims_unverified(token).get("exp")
    ends = [time.time() + _seconds(answer, "expires_in", 0.0)] if "expires_in" in answer else []
    ends += [float(said)] if isinstance(said, int | float) else []
    refresh_token = answer.get("refresh_token")
    return Granted(token, min(ends, default=0.0), refresh_token if isinstance(refresh_token, str) else "")


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(f"the identity provider's answer lacks {name!r}", hint="is it an OAuth 2.0 provider?")
    return value


def _seconds(answer: dict[str, Any], name: str, default: float) -> float:
    value = answer.get(name, default)
    if isinstance(value, str) and value.isdecimal():  # some providers quote the number
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise RefusedError(f"the identity provider's {name!r} isn't a number of seconds")
    return float(value)


def _ended(status: int, answer: dict[str, Any]) -> RefusedError:
    again = "run `taprail login` again"
    match answer.get("error"):
        case "access_denied":
            return RefusedError("the sign-in was refused in the browser", hint=again)
        case "expired_token":
            return RefusedError("nobody signed in in time", hint=again)
    return _refused("the identity provider refused the sign-in", status, answer)


def _refused(what: str, status: int, answer: dict[str, Any], hint: str = "") -> RefusedError:
    said = answer.get("error_description") or answer.get("error") or f"status {status}"
    text = printable(str(said))[:200]
    return RefusedError(f"{what}: {text}", hint=hint or "whoever runs the identity provider can say why")
