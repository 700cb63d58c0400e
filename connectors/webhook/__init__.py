"""Alerts to a webhook of your own, signed.

Source: Standard Webhooks 1.0: headers `webhook-id`, `webhook-timestamp`, `webhook-signature`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import aiohttp
from msgspec import json

from taprail.connectors.http_sink import post
from taprail.connectors.retry import Retry, with_retry
from taprail.schemas.errors import SignatureError
from taprail.schemas.records import Alert

TOLERANCE_SECONDS = 300


def render(alert: Alert) -> bytes:
    """The alert's fields as JSON; `type` says which kind of message it is."""
    return json.encode({"type": "taprail.alert", "data": alert})


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def verify(secret: bytes, headers: dict[str, str], body: bytes, now: float) -> None:
    """What a receiver does. Raises SignatureError for a message that isn't ours, was changed, or is old."""
    try:
        message_id, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        signature = headers["webhook-signature"]
    except (KeyError, ValueError):
        raise SignatureError(
            "the message isn't signed", hint="webhook-id, -timestamp and -signature are needed"
        ) from None
    if abs(now - timestamp) > TOLERANCE_SECONDS:
        raise SignatureError("the message is too old, or a clock is wrong")
    if not hmac.compare_digest(sign(secret, message_id, timestamp, body).encode(), signature.encode()):
        raise SignatureError("the message's signature doesn't hold", hint="is it the same secret on both sides?")


class WebhookSink:
    name = "webhook"

    def __init__(self, url: str, secret: str, retry: Retry | None = None) -> None:
        self._url, self._secret, self._retry = url, secret.encode(), retry or Retry()

    async def deliver(self, alert: Alert) -> None:
        """At least once; the receiver knows a repetition by `webhook-id`, the alert's id. Raises DeliveryError."""
        body = render(alert)

        async def attempt() -> None:
            timestamp = int(time.time())
            headers = {
                "webhook-id": alert.alert_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign(self._secret, alert.alert_id, timestamp, body),
            }
            async with aiohttp.ClientSession() as session:
                await post(session, self._url, body, headers, f"alert {alert.alert_id} to the webhook")

        await with_retry(attempt, self._retry, f"alert {alert.alert_id} to the webhook")
