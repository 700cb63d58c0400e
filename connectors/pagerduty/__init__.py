"""Alerts to PagerDuty. Source: Events API v2; `dedup_key` is the alert's id, so a repetition is the same incident."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import aiohttp
from msgspec import json

from taprail.connectors.http_sink import post
from taprail.connectors.retry import Retry, with_retry
from taprail.schemas.records import Alert

SUMMARY_CHARACTERS_MAX = 1024
DEDUP_KEY_CHARACTERS_MAX = 255
SEVERITIES = {"informational": "info", "low": "info", "medium": "warning", "high": "error", "critical": "critical"}


def render(alert: Alert, routing_key: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(alert.time_us / 1_000_000, UTC).isoformat()
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": alert.alert_id[:DEDUP_KEY_CHARACTERS_MAX],
        "payload": {
            "summary": f"{alert.title} ({alert.environment})"[:SUMMARY_CHARACTERS_MAX],
            "source": f"{alert.server}/{alert.database}" if alert.server else "taprail",
            "severity": SEVERITIES[alert.severity],
            "timestamp": moment,
            "component": alert.database or "taprail",
            "group": alert.environment or "taprail",
            "class": alert.rule,
            "custom_details": {
                "summary": alert.summary,
                "person": alert.person,
                "statement": alert.statement,
                "detection": alert.detection_id,
            },
        },
    }


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
