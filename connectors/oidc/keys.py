"""The provider's signing keys: found by discovery, cached, fetched again when a token names one that isn't known.

Sources: OpenID Connect Discovery 1.0, RFC 7517 (JWK). A provider that is away doesn't lock people out at once: keys
serve for `STALE_SECONDS_MAX` after they were last fetched, and not a second longer.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import jwt
from cryptography.exceptions import UnsupportedAlgorithm

from taprail.schemas.errors import RefusedError

FRESH_SECONDS = 300.0  # a key that the provider withdrew is believed for this long at most
STALE_SECONDS_MAX = 3600.0
REFETCH_SECONDS_MIN = 5.0  # tokens with made-up key ids must not become requests to the provider
TIMEOUT = aiohttp.ClientTimeout(total=10)


class ProviderKeys:
    """Keys by key id. `metadata` is the discovery document, once it was fetched."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer.rstrip("/")
        self.metadata: dict[str, Any] = {}
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def key(self, key_id: str) -> jwt.PyJWK:
        """The key with this id. Raises RefusedError where the provider has none, or can't be asked."""
        now = time.monotonic()
        if key_id not in self._keys or now - self._fetched > FRESH_SECONDS:
            async with self._lock:
                await self._refresh(key_id)
        if time.monotonic() - self._fetched > STALE_SECONDS_MAX:
            raise RefusedError(
                f"the identity provider {self.issuer} doesn't answer, and its keys are too old to be believed",
                hint="try again when it answers",
            )
        try:
            return self._keys[key_id]
        except KeyError:
            raise RefusedError(
                f"the token is signed with a key that {self.issuer} doesn't have", hint="get a new token"
            ) from None

    @property
    def usable(self) -> int:
        """How many keys there are that signatures can be verified with."""
        return len(self._keys)

    async def discover(self) -> dict[str, Any]:
        """The provider's metadata (OpenID Connect Discovery 1.0, section 3)."""
        if not self.metadata:
            async with self._lock:
                await self._refresh("")
        if not self.metadata:
            raise RefusedError(f"the identity provider {self.issuer} doesn't answer", hint="try again when it does")
        return self.metadata

    async def _refresh(self, wanted: str) -> None:
        now = time.monotonic()
        fresh = now - self._fetched <= FRESH_SECONDS
        if (fresh and wanted in self._keys) or now - self._tried < REFETCH_SECONDS_MIN:
            return
        self._tried = now
        try:
            async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
                metadata = await _get(session, f"{self.issuer}/.well-known/openid-configuration")
                if str(metadata.get("issuer", "")).rstrip("/") != self.issuer:
                    return  # another issuer's metadata (mix-up): its keys prove nothing to us
                keys = _parse(await _get(session, _address(metadata, "jwks_uri")))
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            return  # the caller decides what a provider that is away means
        self.metadata, self._keys = metadata, keys
        self._fetched = time.monotonic()


def _parse(key_set: dict[str, Any]) -> dict[str, jwt.PyJWK]:
    """The keys of a set that can verify signatures, by key id; the others are passed over (RFC 7517, section 5)."""
    listed = key_set.get("keys")
    if not isinstance(listed, list):
        raise ValueError("a key set without keys")
    found = {}
    for key in listed:
        if not isinstance(key, dict) or not _usable(key):
            continue
        try:
            found[key["kid"]] = jwt.PyJWK(key)
        except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
            continue
    return found


def _usable(key: dict[str, Any]) -> bool:
    kid = key.get("kid")
    named = isinstance(kid, str) and kid != ""
    return named and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"


def _address(metadata: dict[str, Any], name: str) -> str:
    address = metadata.get(name)
    if not isinstance(address, str):
        raise ValueError(f"the metadata has no {name}")
    return address


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url, allow_redirects=False) as response:
        response.raise_for_status()
        body = await response.json(content_type=None)
        if not isinstance(body, dict):
            raise ValueError(f"{url} answers with no object")
        return body
