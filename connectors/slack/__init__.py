"""Alerts to a Slack channel, by the official SDK. Source: chat.postMessage, Block Kit's limits."""

from __future__ import annotations

from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from taprail.connectors.retry import Busy, DeliveryError, Retry, with_retry
from taprail.schemas.records import Alert

HEADER_CHARACTERS_MAX = 150
SECTION_CHARACTERS_MAX = 3000
FIELD_CHARACTERS_MAX = 2000
MARKS = {"informational": "⚪", "low": "🔵", "medium": "🟡", "high": "🟠", "critical": "🔴"}
_PASSING = {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}


def render(alert: Alert, channel: str) -> dict[str, Any]:
    """What chat.postMessage is given. Text is escaped as Slack asks, so a name can't mention or link anybody."""
    title = f"{MARKS[alert.severity]} {alert.title}"
    fields = {"Where": f"{alert.database} ({alert.environment})", "Who": alert.person, "Statement": alert.statement}
    return {
        "channel": channel,
        "text": escape(title)[:SECTION_CHARACTERS_MAX],
        "unfurl_links": False,
        "unfurl_media": False,
        "metadata": {"event_type": "taprail_alert", "event_payload": {"alert_id": alert.alert_id, "rule": alert.rule}},
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title[:HEADER_CHARACTERS_MAX], "emoji": True}},
            {"type": "section", "text": _mrkdwn(escape(alert.summary)[:SECTION_CHARACTERS_MAX] or "—")},
            {
                "type": "section",
                "fields": [
                    _mrkdwn(f"*{name}*\n{escape(value)}"[:FIELD_CHARACTERS_MAX])
                    for name, value in fields.items()
                    if value
                ],
            },
        ],
    }


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


class SlackSink:
    name = "slack"

    def __init__(self, token: str, channel: str, url: str, retry: Retry | None = None) -> None:
        self._client = AsyncWebClient(token=token, base_url=url)
        self._channel, self._retry = channel, retry or Retry()

    async def deliver(self, alert: Alert) -> None:
        """Raises DeliveryError where Slack refuses the message, or doesn't answer for long."""
        message = render(alert, self._channel)

        async def attempt() -> None:
            try:
                await self._client.chat_postMessage(**message)
            except SlackApiError as error:
                _judge(error, alert)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Busy(f"{type(error).__name__}: {error}") from error

        await with_retry(attempt, self._retry, f"alert {alert.alert_id} to Slack")


def _judge(error: SlackApiError, alert: Alert) -> None:
    """Busy for what may pass, DeliveryError for what won't."""
    response: Any = error.response
    reason = str(response.get("error", response.status_code))
    if response.status_code == 429 or response.status_code >= 500 or reason in _PASSING:
        after = str(response.headers.get("Retry-After", ""))
        raise Busy(reason, float(after) if after.isdecimal() else None) from error
    raise DeliveryError(
        f"alert {alert.alert_id} was refused by Slack: {reason}", hint="check token and channel"
    ) from error
