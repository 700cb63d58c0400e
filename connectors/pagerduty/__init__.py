"""Alerts to PagerDuty. Source: Events API v2; `dedup_key` is the alert's id, so a repetition is the same incident."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from msgspec import json

from taprail.connectors.http_sink import post
from taprail.connectors.retry import Retry, with_retry
from taprail.schemas.records import Alert

SUMMARY_CHARACTERS_MAX = 1024
DEDUP_KEY_CHARACTERS_MAX = 255
# An event has at most 512 KB. In JSON a character takes six bytes at most, and eleven texts are cut to this.
TEXT_CHARACTERS_MAX = 6000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SEVERITIES = {"informational": "info", "low": "info", "medium": "warning", "high": "error", "critical": "critical"}


def render(alert: Alert, routing_key: str) -> dict[str, Any]:
    """What is posted. Texts are cut to what PagerDuty takes; the log has them whole."""
    payload: dict[str, Any] = {
        "summary": f"{alert.title.strip()} ({alert.environment})".strip()[:SUMMARY_CHARACTERS_MAX],
        "source": _cut(f"{alert.server.strip()}/{alert.database}") if alert.server else "taprail",
        "severity": SEVERITIES[alert.severity],
        "component": _cut(alert.database) or "taprail",
        "group": _cut(alert.environment) or "taprail",
        "class": _cut(alert.rule),
        "custom_details": {
            "summary": _cut(alert.summary),
            "person": _cut(alert.person),
            "statement": _cut(alert.statement),
            "detection": _cut(alert.detection_id),
        },
    }
    if moment := _moment(alert.time_us):
        payload["timestamp"] = moment
    links = [{"href": _cut(alert.link), "text": "act on it"}] if alert.link.startswith("http") else []
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": _dedup_key(alert.alert_id),
        "payload": payload,
        "links": links,
    }


def _dedup_key(alert_id: str) -> str:
    """Two alerts never share a key: an id that is too long for one is hashed, not cut."""
    if len(alert_id) <= DEDUP_KEY_CHARACTERS_MAX and alert_id.strip():
        return alert_id
    return hashlib.sha256(alert_id.encode()).hexdigest()


def _moment(time_us: int) -> str:
    """ISO 8601; nothing for a time that no calendar has, and PagerDuty then takes its own."""
    try:
        return (EPOCH + timedelta(microseconds=time_us)).isoformat()
    except OverflowError:
        return ""


def _cut(text: str) -> str:
    return text[:TEXT_CHARACTERS_MAX]


class PagerDutySink:
    name = "pagerduty"

    def __init__(self, url: str, routing_key: str, retry: Retry | None = None) -> None:
        self._url, self._routing_key, self._retry = url, routing_key, retry or Retry()

    async def deliver(self, alert: Alert) -> None:
        """Raises DeliveryError where PagerDuty refuses the event, or doesn't answer for long."""
        body = json.encode(render(alert, self._routing_key))

        async def attempt() -> None:
            async with aiohttp.ClientSession() as session:
                await post(session, self._url, body, {}, f"alert {alert.alert_id} to PagerDuty")

        await with_retry(attempt, self._retry, f"alert {alert.alert_id} to PagerDuty")
