"""PagerDuty's Events API v2: /v2/enqueue.

Source: developer.pagerduty.com, events-API-v2 (Overview: codes, limits, PD-CEF; Send an Alert Event: parameters).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from aiohttp import web

from tests.fakes.server import FakeService

ROUTING_KEY = "0123456789abcdef0123456789ABCDEF"
BODY_MAX = 512 * 1024
SUMMARY_MAX, DEDUP_KEY_MAX = 1024, 255
SEVERITIES = ("critical", "error", "warning", "info")
ACTIONS = ("trigger", "acknowledge", "resolve")


class FakePagerDuty(FakeService):
    """`url` is the address that events are posted to; `incidents` holds the newest event of each dedup_key."""

    @property
    def url(self) -> str:
        return f"{super().url}/v2/enqueue"

    @property
    def incidents(self) -> dict[str, dict[str, Any]]:
        return {event["dedup_key"]: event for event in self.received}

    def _routes(self, app: web.Application) -> None:
        app.router.add_post("/v2/enqueue", self._enqueue)

    async def _enqueue(self, request: web.Request) -> web.Response:
        body = await request.read()
        found = errors(body)
        if found:
            self.refused.extend(found)
            invalid = {"status": "invalid event", "message": "Event object is invalid", "errors": found}
            return web.json_response(invalid, status=400)
        event = json.loads(body)
        event.setdefault("dedup_key", f"made-{len(self.received)}")
        self.received.append(event)
        accepted = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return web.json_response(accepted, status=202)


def errors(body: bytes) -> list[str]:
    """What PagerDuty says against this event; nothing where it is accepted."""
    return list(_errors(body)) if len(body) <= BODY_MAX else [f"the event has {len(body)} bytes, over 512 KB"]


def _errors(body: bytes) -> Iterator[str]:
    try:
        event = json.loads(body)
    except ValueError:
        yield "the body is not JSON"
        return
    if not isinstance(event, dict):
        yield "the event is not an object"
        return
    key = event.get("routing_key")
    if not isinstance(key, str) or len(key) != len(ROUTING_KEY):
        yield "Length of 'routing_key' is incorrect (should be 32 characters)"
    elif key != ROUTING_KEY:
        yield "Invalid routing key"
    if event.get("event_action") not in ACTIONS:
        yield f"'event_action' is not one of {', '.join(ACTIONS)}"
    if "dedup_key" in event and not _is_text(event["dedup_key"], DEDUP_KEY_MAX):
        yield f"'dedup_key' has 1 to {DEDUP_KEY_MAX} characters"
    links = event.get("links", [])
    if not isinstance(links, list) or not all(isinstance(k, dict) and _is_text(k.get("href"), BODY_MAX) for k in links):
        yield "'links' is not a list of objects with a 'href'"
    if event.get("event_action") == "trigger":
        payload = event.get("payload")
        yield from _payload_errors(payload) if isinstance(payload, dict) else ["'payload' is missing or blank"]


def _payload_errors(payload: dict[str, Any]) -> Iterator[str]:
    if not _is_text(payload.get("summary"), SUMMARY_MAX):
        yield f"'payload.summary' is missing, blank, or has more than {SUMMARY_MAX} characters"
    if not _is_text(payload.get("source"), BODY_MAX):
        yield "'payload.source' is missing or blank"
    if payload.get("severity") not in SEVERITIES:
        yield f"'payload.severity' is not one of {', '.join(SEVERITIES)}"
    if "timestamp" in payload and not _is_moment(payload["timestamp"]):
        yield "'payload.timestamp' is not ISO 8601"
    for name in ("component", "group", "class"):
        if name in payload and not isinstance(payload[name], str):
            yield f"'payload.{name}' is not a string"
    if "custom_details" in payload and not isinstance(payload["custom_details"], dict):
        yield "'payload.custom_details' is not an object"


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= most


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
