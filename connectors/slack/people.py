"""Who a Slack user is, and the few calls that deciding in Slack takes: users.info, views.open, chat.update, …"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import aiohttp
from msgspec import Struct
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from taprail.connectors.slack import SECTION_CHARACTERS_MAX, fit
from taprail.schemas.errors import RefusedError

SECONDS_MAX = 2  # a button's dialog must be open three seconds after it is pressed


class SlackUser(Struct, frozen=True):
    """A full member of the workspace, whose address Slack has confirmed."""

    id: str
    team: str
    email: str


class Slack:
    """Raises RefusedError wherever Slack says no, or doesn't answer."""

    def __init__(self, token: str, url: str) -> None:
        self._client = AsyncWebClient(
            token=token, base_url=f"{url.rstrip('/')}/", retry_handlers=[], timeout=SECONDS_MAX
        )

    async def user(self, user_id: str) -> SlackUser:
        found = (await _asked("users.info", self._client.users_info(user=user_id))).get("user")
        user: dict[str, Any] = found if isinstance(found, dict) else {}
        profile: dict[str, Any] = user.get("profile") or {}
        outsider = any(user.get(flag) for flag in ("deleted", "is_bot", "is_restricted", "is_ultra_restricted"))
        email = str(profile.get("email") or "")
        # An address that nobody has confirmed is one that somebody has merely typed.
        if user.get("id") != user_id or outsider or not email or user.get("is_email_confirmed") is False:
            raise RefusedError(
                "Slack doesn't vouch for who you are", hint="guests, bots and unconfirmed addresses can't decide"
            )
        return SlackUser(user_id, str(user.get("team_id") or ""), email)

    async def open(self, trigger_id: str, view: dict[str, Any]) -> None:
        await _asked("views.open", self._client.views_open(trigger_id=trigger_id, view=view))

    async def update(self, message: dict[str, Any]) -> None:
        await _asked("chat.update", self._client.chat_update(**message))

    async def whisper(self, channel: str, user: str, text: str) -> None:
        """Where only this user sees it."""
        said = fit(text, SECTION_CHARACTERS_MAX)
        await _asked("chat.postEphemeral", self._client.chat_postEphemeral(channel=channel, user=user, text=said))


async def _asked(method: str, answering: Awaitable[AsyncSlackResponse]) -> dict[str, Any]:
    try:
        answer = await answering
    except SlackApiError as error:
        data: Any = getattr(error.response, "data", None)
        reason = data.get("error", "") if isinstance(data, dict) else ""
        text = f"Slack refused {method}: {reason or 'no reason given'}"
        raise RefusedError(text, hint="check the app's token and its scopes") from error
    except (aiohttp.ClientError, TimeoutError, AttributeError, ValueError) as error:
        raise RefusedError(f"Slack doesn't answer {method}: {type(error).__name__}", hint="try again") from error
    return answer.data if isinstance(answer.data, dict) else {}
