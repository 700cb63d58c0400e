"""A receiver of webhooks that believes what is signed, by Standard Webhooks 1.0, and nothing else.

It has its own idea of the signature, from the specification: it shares no code with the sender.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from aiohttp import web

from tests.fakes.server import FakeService

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
TOLERANCE_SECONDS = 300


class FakeReceiver(FakeService):
    """`received` holds payloads; `ids` the message ids, in the same order; `secret` as a person is shown it."""

    def __init__(self, secret: str = SECRET) -> None:
        super().__init__()
        self.ids: list[str] = []
        self._key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()

    @property
    def url(self) -> str:
        return f"{super().url}/hook"

    def _routes(self, app: web.Application) -> None:
        app.router.add_post("/hook", self._hook)

    async def _hook(self, request: web.Request) -> web.Response:
        body = await request.read()
        wrong = problem(request.headers, body, self._key, time.time()) or _wrong_payload(request.content_type, body)
        if wrong:
            self.refused.append(wrong)
            return web.json_response({"error": wrong}, status=400)
        self.ids.append(request.headers["webhook-id"])
        self.received.append(json.loads(body))
        return web.Response(status=204)


def problem(headers: Mapping[str, str], body: bytes, key: bytes, now: float) -> str:
    """Why the message isn't believed; nothing where it is."""
    message_id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or "." in message_id or not message_id.isprintable():
        return f"webhook-id {message_id!r} is missing, or holds what it must not"
    if not sent.isdecimal() or abs(now - int(sent)) > TOLERANCE_SECONDS:
        return f"webhook-timestamp {sent!r} is missing, or too far from now"
    expected = base64.b64encode(hmac.new(key, f"{message_id}.{sent}.".encode() + body, hashlib.sha256).digest())
    for versioned in headers.get("webhook-signature", "").split(" "):
        version, _, signature = versioned.partition(",")
        if version == "v1" and hmac.compare_digest(signature.encode(), expected):
            return ""
    return "no signature in webhook-signature holds"


def _wrong_payload(content_type: str, body: bytes) -> str:
    if content_type != "application/json":
        return f"content type {content_type}"
    try:
        payload = json.loads(body)
    except ValueError:
        return "the payload is not JSON"
    if not isinstance(payload, dict) or not isinstance(payload.get("type"), str) or "data" not in payload:
        return "the payload has no type, or no data"
    return ""
