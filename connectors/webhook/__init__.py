"""Alerts to a webhook of your own, signed.

Source: Standard Webhooks 1.0: headers `webhook-id`, `webhook-timestamp`, `webhook-signature`. A secret that begins with
`whsec_` is base64 behind it, as every library of that standard reads it; any other is taken as it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Mapping

import aiohttp
from msgspec import json

from taprail.connectors.http_sink import post
from taprail.connectors.retry import Retry, with_retry
from taprail.schemas.errors import SettingsError, SignatureError
from taprail.schemas.records import Alert

TOLERANCE_SECONDS = 300
KEY_BYTES_MIN = 24  # the specification's least
SECRET_PREFIX = "whsec_"
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")


def render(alert: Alert) -> bytes:
    """The alert's fields as JSON; `type` says which kind of message it is."""
    return json.encode({"type": "taprail.alert", "data": alert})


def key_of(secret: str) -> bytes:
    """The HMAC key that a secret stands for. Raises SettingsError where it is too short to keep anything secret."""
    try:
        encoded = secret.removeprefix(SECRET_PREFIX)
        key = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
    except binascii.Error:
        raise SettingsError(
            f"the webhook's secret is not base64 behind {SECRET_PREFIX}", hint="copy it again"
        ) from None
    if len(key) < KEY_BYTES_MIN:
        raise SettingsError(
            f"the webhook's secret has {len(key)} bytes; at least {KEY_BYTES_MIN} are needed",
            hint="make one: echo whsec_$(openssl rand -base64 32)",
        )
    return key


def message_id(alert_id: str) -> str:
    """The alert's id as a header can carry it. No dot: dots separate what is signed."""
    return _NOT_IN_IDS.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), alert_id)


def sign(key: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """What a receiver does. Raises SignatureError for a message that isn't ours, was changed, or is old.

    One good signature of several is enough: while a secret is changed, a sender signs with both.
    """
    try:
        identifier, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        signatures = headers["webhook-signature"].split(" ")
    except (KeyError, ValueError):
        raise SignatureError(
            "the message isn't signed", hint="webhook-id, -timestamp and -signature are needed"
        ) from None
    if abs(now - timestamp) > TOLERANCE_SECONDS:
        raise SignatureError("the message is too old, or a clock is wrong")
    expected = sign(key, identifier, timestamp, body).encode()
    if not any(hmac.compare_digest(expected, signature.encode()) for signature in signatures):
        raise SignatureError("the message's signature doesn't hold", hint="is it the same secret on both sides?")


class WebhookSink:
    name = "webhook"

    def __init__(self, url: str, secret: str, retry: Retry | None = None) -> None:
        self._url, self._key, self._retry = url, key_of(secret), retry or Retry()

    async def deliver(self, alert: Alert) -> None:
        """At least once; the receiver knows a repetition by `webhook-id`, the alert's id. Raises DeliveryError."""
        body, identifier = render(alert), message_id(alert.alert_id)

        async def attempt() -> None:
            timestamp = int(time.time())
            headers = {
                "webhook-id": identifier,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign(self._key, identifier, timestamp, body),
            }
            async with aiohttp.ClientSession() as session:
                await post(session, self._url, body, headers, f"alert {alert.alert_id} to the webhook")

        await with_retry(attempt, self._retry, f"alert {alert.alert_id} to the webhook")
