"""An identity provider whose every answer a test decides: keys, discovery document, and tokens of any shape.

The provider of the local stack is a real one and well-behaved; this one is for what a provider, or somebody who
pretends to be one, could also send.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.fakes.server import FakeService

AUDIENCE = "taprail"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
_RSA_OTHER = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def rsa_key() -> rsa.RSAPrivateKey:
    """The provider's key; made once, because it takes long."""
    return _RSA


def other_rsa_key() -> rsa.RSAPrivateKey:
    """A key that the provider doesn't have, until a test gives it."""
    return _RSA_OTHER


class Device:
    """A device that somebody signs in on. `errors` are answered first; `claims` are the person's, once signed in."""

    def __init__(self, client_id: str, asked: float) -> None:
        self.client_id, self.asked = client_id, asked
        self.interval, self.polls = 5.0, 0
        self.errors: list[str] = []
        self.claims: dict[str, Any] | None = None


class FakeProvider(FakeService):
    """`url` is the issuer. `keys` are published by key id; `jwks` and `metadata`, where set, are answered instead."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, PrivateKey] = {"key-1": rsa_key()}
        self.jwks: bytes | None = None
        self.metadata: bytes | None = None
        self.wait_s = 0.0
        self.granted: dict[str, dict[str, str]] = {}
        self.token_answer: tuple[int, bytes] | None = None
        self.devices: dict[str, Device] = {}
        self.device_answer: dict[str, Any] = {}
        self.clock: Callable[[], float] = time.monotonic
        self.refresh_tokens: dict[str, dict[str, Any]] = {}
        self.revoked: list[str] = []

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "revocation_endpoint": f"{self.url}/revoke",
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """A good token's claims with these changes; None takes a claim away."""
        now = int(time.time())
        good = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ann",
            "client_id": "psql",
            "iat": now,
            "exp": now + 600,
            "jti": str(uuid.uuid4()),
            "groups": ["engineers"],
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(
        self,
        key: PrivateKey | None = None,
        *,
        algorithm: str = "RS256",
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Signed with the provider's key, or another; `header` is merged into the JOSE header."""
        headers = {"kid": "key-1", "typ": "at+jwt"} | (header or {})
        payload = json.dumps(self.claims(**changes)).encode()  # `jwt.encode` would refuse what attackers send
        return jwt.PyJWS().encode(payload, key or rsa_key(), algorithm=algorithm, headers=headers)

    def grant(self, location: str, **changes: Any) -> str:
        """What a browser brings back that was sent to `location`: the person has signed in, with these claims.

        Asks what RFC 6749, section 4.1.1, and RFC 7636, section 4.3, want of the request.
        """
        parts = urlsplit(location)
        query = dict(parse_qsl(parts.query, strict_parsing=True))
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/authorize"
        assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
        assert len(base64.urlsafe_b64decode(query["code_challenge"] + "=")) == 32
        assert len(query["state"]) >= 22, "128 bits or nobody believes in them"
        code = f"code-{len(self.granted)}"
        self.granted[code] = query | {"token": self.token(**changes)}
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def _routes(self, app: web.Application) -> None:
        app.router.add_get("/.well-known/openid-configuration", self._discover)
        app.router.add_get("/jwks", self._keys)
        app.router.add_post("/token", self._token)
        app.router.add_post("/device", self._device)
        app.router.add_post("/revoke", self._revoke)
        app.router.add_route("*", "/{rest:.*}", self._elsewhere)

    async def _discover(self, _: web.Request) -> web.Response:
        await self._pause()
        return _json(self.metadata or json.dumps(self.discovery()).encode())

    async def _keys(self, _: web.Request) -> web.Response:
        await self._pause()
        return _json(self.jwks or json.dumps({"keys": self.published()}).encode())

    def published(self) -> list[dict[str, Any]]:
        return [{**public_jwk(key), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]

    async def _token(self, request: web.Request) -> web.Response:
        """A code's token, once, for whom it was given to and who has its verifier (RFC 7636, section 4.6)."""
        form = await request.post()
        if self.token_answer is not None:
            status, body = self.token_answer
            return web.Response(status=status, body=body, content_type="application/json")
        if form.get("grant_type") == DEVICE_GRANT:
            return self._device_token(dict(form))
        if form.get("grant_type") == "refresh_token":
            return self._refreshed(dict(form))
        granted = self.granted.pop(str(form.get("code")), None)
        verifier = str(form.get("code_verifier", ""))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        same = granted is not None and all(granted[name] == form.get(name) for name in ("client_id", "redirect_uri"))
        if granted is None or not same or challenge != granted["code_challenge"] or not 43 <= len(verifier) <= 128:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": granted["token"], "token_type": "Bearer", "expires_in": 600})

    async def _device(self, request: web.Request) -> web.Response:
        """RFC 8628, section 3.1 and 3.2."""
        form = await request.post()
        assert request.content_type == "application/x-www-form-urlencoded"
        if not form.get("client_id") or "device_code" in form:
            return web.json_response({"error": "invalid_request"}, status=400)
        code = f"device-{uuid.uuid4()}"
        self.devices[code] = Device(str(form["client_id"]), self.clock())
        answer = {
            "device_code": code,
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{self.url}/activate",
            "verification_uri_complete": f"{self.url}/activate?user_code=WDJB-MJHT",
            "expires_in": 600,
            "interval": 5,
        } | self.device_answer
        return web.json_response({name: value for name, value in answer.items() if value is not None})

    def _device_token(self, form: dict[str, Any]) -> web.Response:
        """RFC 8628, section 3.4 and 3.5: who polls too fast must poll more slowly from then on."""
        device = self.devices.get(str(form.get("device_code")))
        if device is None or form.get("client_id") != device.client_id:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now, device.polls = self.clock(), device.polls + 1
        early, device.asked = now - device.asked < device.interval, now
        if early:
            device.interval += 5
            return web.json_response({"error": "slow_down"}, status=400)
        if device.errors:
            error = device.errors.pop(0)
            if error == "slow_down":
                device.interval += 5
            return web.json_response({"error": error}, status=503 if error == "unavailable" else 400)
        if device.claims is None:
            return web.json_response({"error": "authorization_pending"}, status=400)
        del self.devices[str(form["device_code"])]
        return self._tokens(device.claims)

    def _refreshed(self, form: dict[str, Any]) -> web.Response:
        """A refresh token is good for one use (RFC 9700, section 4.14.2)."""
        claims = self.refresh_tokens.pop(str(form.get("refresh_token")), None)
        if claims is None or not form.get("client_id"):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return self._tokens(claims)

    def _tokens(self, claims: dict[str, Any]) -> web.Response:
        again = f"refresh-{uuid.uuid4()}"
        self.refresh_tokens[again] = claims
        token = self.token(**claims)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": 600, "refresh_token": again}
        return web.json_response(answer)

    async def _revoke(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.revoked.append(str(form["token"]))
        return web.Response()

    async def _elsewhere(self, request: web.Request) -> web.Response:
        """Nobody should have come here: a token's header may name any address."""
        self.refused.append(request.path)
        return web.Response(status=404)

    async def _pause(self) -> None:
        if self.wait_s:
            await asyncio.sleep(self.wait_s)


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    """The public part as a JWK (RFC 7517, RFC 8037)."""
    if isinstance(key, rsa.RSAPrivateKey):
        return jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
