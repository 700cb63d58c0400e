"""Alerts to a Slack channel, by the official SDK. Sources: chat.postMessage, Block Kit's limits, Slack's escaping.

Slack counts characters without saying of which kind; here a character is a UTF-16 unit, the strictest reading.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from taprail.connectors.retry import Busy, DeliveryError, Retry, with_retry
from taprail.schemas.records import Alert

HEADER_CHARACTERS_MAX = 150
SECTION_CHARACTERS_MAX = 3000
FIELD_CHARACTERS_MAX = 500  # Slack takes 2000 of each, but about 13 000 of all blocks' JSON together
MARKS = {"informational": "⚪", "low": "🔵", "medium": "🟡", "high": "🟠", "critical": "🔴"}
CUT = "…"
# Control characters and those that turn the direction of text would show something else than what is there.
_HIDDEN = {
    chr(code): "\ufffd" for code in (*range(9), *range(11, 32), 127, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_ESCAPES = {**_HIDDEN, "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_PASSING = {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}


def render(alert: Alert, channel: str, actions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What chat.postMessage is given. Text is escaped as Slack asks, so a name can't mention or link anybody.

    `actions` are blocks that the message ends with.
    """
    title = f"{MARKS[alert.severity]} {alert.title}"
    fields = {"Where": f"{alert.database} ({alert.environment})", "Who": alert.person, "Statement": alert.statement}
    lines = {name: " ".join(value.split()) for name, value in fields.items()}  # a line can't look like another field
    header = fit(title, HEADER_CHARACTERS_MAX, escapes=_HIDDEN)  # plain text isn't parsed
    return {
        "channel": channel,
        "text": fit(title, SECTION_CHARACTERS_MAX),
        "unfurl_links": False,
        "unfurl_media": False,
        "metadata": {"event_type": "taprail_alert", "event_payload": {"alert_id": alert.alert_id, "rule": alert.rule}},
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": header, "emoji": True}},
            {"type": "section", "text": _mrkdwn(fit(alert.summary.strip(), SECTION_CHARACTERS_MAX) or "—")},
            {
                "type": "section",
                "fields": [
                    *(
                        _mrkdwn(f"*{name}*\n" + fit(line, FIELD_CHARACTERS_MAX - len(name) - 3))
                        for name, line in lines.items()
                        if line
                    ),
                    *_link(alert.link),
                ],
            },
            *(actions or []),
        ],
    }


def fit(text: str, most: int, escapes: Mapping[str, str] = _ESCAPES) -> str:
    """Escaped, and cut to `most` UTF-16 units: between characters, never within an entity, with an ellipsis."""
    pieces = [escapes.get(character, character) for character in text[: most + 1]]
    used = list(accumulate(len(piece) + (piece > "\uffff") for piece in pieces))
    if not used or used[-1] <= most:
        return "".join(pieces)
    return "".join(pieces[: bisect_right(used, most - len(CUT))]) + CUT


def _link(link: str) -> list[dict[str, Any]]:
    """Where to act on it, as the only link of the message; none where it isn't an address, or can't be told whole."""
    address = fit(link, FIELD_CHARACTERS_MAX - 20)
    if not link.startswith(("https://", "http://")) or not link.isprintable() or set(" |") & set(link):
        return []
    return [] if address.endswith(CUT) else [_mrkdwn(f"*Act on it*\n<{address}|open>")]


def _mrkdwn(text: str) -> dict[str, Any]:
    # `verbatim`: Slack makes no links of its own out of URLs and names that stand in the text.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


class SlackSink:
    name = "slack"

    def __init__(
        self,
        token: str,
        channel: str,
        url: str,
        retry: Retry | None = None,
        actions: Callable[[str], dict[str, Any]] | None = None,
    ) -> None:
        """`actions` makes the block with which an approval, given its id, is decided in Slack."""
        self._actions = actions
        # The SDK would try again by itself; how often is said in one place.
        self._client = AsyncWebClient(token=token, base_url=f"{url.rstrip('/')}/", retry_handlers=[])
        self._channel, self._retry = channel, retry or Retry()

    async def deliver(self, alert: Alert) -> None:
        """Raises DeliveryError where Slack refuses the message, or doesn't answer for long."""
        asks = [self._actions(alert.approval_id)] if self._actions is not None and alert.approval_id else None
        message = render(alert, self._channel, asks)

        async def attempt() -> None:
            try:
                await self._client.chat_postMessage(**message)
            except SlackApiError as error:
                _judge(error, alert)
            except (aiohttp.ClientError, TimeoutError, AttributeError) as error:
                # AttributeError: the SDK trips over an answer that isn't an object, so isn't Slack's.
                raise Busy(f"{type(error).__name__}: {error}") from error

        await with_retry(attempt, self._retry, f"alert {alert.alert_id} to Slack")


def _judge(error: SlackApiError, alert: Alert) -> None:
    """Busy for what may pass, DeliveryError for what won't. Where Slack gives no reason, it wasn't Slack that answered.

    Where the body isn't what its type says, `response` is aiohttp's and not the SDK's.
    """
    response: Any = error.response
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    data = getattr(response, "data", None)
    reason = str(data["error"]) if isinstance(data, dict) and "error" in data else ""
    if status == 429 or status >= 500 or reason in _PASSING or (status < 300 and not reason):
        after = str(response.headers.get("Retry-After", ""))
        raise Busy(reason or f"status {status}", float(after) if after.isdecimal() else None) from error
    raise DeliveryError(
        f"alert {alert.alert_id} was refused by Slack: {reason or f'status {status}'}", hint="check token and channel"
    ) from error
