"""A Slack workspace whose members press buttons and fill in dialogs: it asks and signs as Slack does.

Sources: docs.slack.dev, authentication/verifying-requests-from-slack, reference/interaction-payloads, reference/views,
methods users.info, views.open, chat.update, chat.postEphemeral. A trigger opens one dialog, within three seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.fakes.slack import TEXT_MAX, TOKEN, FakeSlack, length, refusal

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TEAM = "T0TEAM"
TRIGGER_SECONDS = 3.0
TITLE_MAX, METADATA_MAX, LABEL_MAX, OPTION_MAX, INPUT_MAX = 24, 3000, 2000, 75, 3000


def member(user_id: str, email: str, **changes: Any) -> dict[str, Any]:
    """What users.info says of a full member with a confirmed address."""
    flags = {"deleted": False, "is_bot": False, "is_restricted": False, "is_ultra_restricted": False}
    user = {"id": user_id, "team_id": TEAM, "is_email_confirmed": True, "profile": {"email": email}, **flags}
    return user | changes


class FakeWorkspace(FakeSlack):
    """`members` by id; `dialogs` that were opened, `whispers` to one user, `updates` of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, dict[str, Any]] = {}
        self.dialogs: list[dict[str, Any]] = []
        self.whispers: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []
        self._triggers: dict[str, float] = {}

    def _routes(self, app: web.Application) -> None:
        super()._routes(app)
        app.router.add_get("/api/users.info", self._method(self._users_info))  # it takes no JSON
        app.router.add_post("/api/views.open", self._method(self._views_open))
        app.router.add_post("/api/chat.update", self._method(self._chat_update))
        app.router.add_post("/api/chat.postEphemeral", self._method(self._post_ephemeral))

    def _method(self, answer: Any) -> Any:
        async def handle(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return web.json_response({"ok": False, "error": "invalid_auth"})
            error, fields = answer(dict(request.query) if request.method == "GET" else await request.json())
            if error:
                self.refused.append(f"{request.path}: {error}")
            return web.json_response({"ok": not error, **({"error": error} if error else fields)})

        return handle

    def _users_info(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        user = self.members.get(body.get("user", ""))
        return ("", {"user": user}) if user is not None else ("user_not_found", {})

    def _views_open(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        issued = self._triggers.pop(body.get("trigger_id", ""), None)
        if issued is None:
            return "exchanged_trigger_id", {}
        if time.monotonic() - issued > TRIGGER_SECONDS:
            return "expired_trigger_id", {}
        if wrong := list(wrong_dialog(body.get("view"))):
            return f"invalid_arguments: {wrong}", {}
        self.dialogs.append({**body["view"], "id": f"V{len(self.dialogs)}"})
        return "", {"view": self.dialogs[-1]}

    def _chat_update(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if not any(body.get("ts") == message["ts"] for message in self.received):
            return "message_not_found", {}
        error, wrong = refusal({name: value for name, value in body.items() if name != "ts"})
        if not error:
            self.updates.append(body)
        return (f"{error} {wrong}" if error else ""), {"ts": body["ts"]}

    def _post_ephemeral(self, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if body.get("user") not in self.members:
            return "user_not_in_channel", {}
        self.whispers.append(body)
        return "", {}

    # What people do -----------------------------------------------------------------------------------------------

    def pressed(self, user: str, action: str, message: int = 0, team: str = TEAM) -> dict[str, Any]:
        """The payload of a press on a message's button."""
        posted = self.received[message]
        buttons = next(block["elements"] for block in posted["blocks"] if block["type"] == "actions")
        button = next(each for each in buttons if each["action_id"] == action)
        trigger = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self._triggers[trigger] = time.monotonic()
        return {
            "type": "block_actions",
            "user": {"id": user, "username": user.lower(), "team_id": team},
            "team": {"id": team, "domain": "example"},
            "api_app_id": "A0APP",
            "token": "deprecated",
            "container": {"type": "message", "message_ts": posted["ts"], "channel_id": posted["channel"]},
            "trigger_id": trigger,
            "channel": {"id": posted["channel"], "name": "alerts"},
            "message": posted,
            "response_url": "https://hooks.slack.com/actions/T0TEAM/1/x",
            "actions": [{**button, "block_id": "decide", "action_ts": posted["ts"]}],
        }

    def submitted(self, user: str, team: str = TEAM, dialog: int = -1, **values: str) -> dict[str, Any]:
        """The payload of a dialog that somebody has filled in; `remember` ticks its box."""
        view = self.dialogs[dialog]
        state: dict[str, Any] = {}
        for block in view["blocks"]:
            if block["type"] != "input":
                continue
            name, given = block["block_id"], values.get(block["block_id"])
            if block["element"]["type"] == "checkboxes":
                chosen = block["element"]["options"] if given else []
                state[name] = {name: {"type": "checkboxes", "selected_options": chosen}}
            else:
                assert given or block["optional"], f"Slack doesn't send a dialog without its {name}"
                state[name] = {name: {"type": "plain_text_input", "value": given}}
        return {
            "type": "view_submission",
            "team": {"id": team, "domain": "example"},
            "user": {"id": user, "team_id": team},
            "api_app_id": "A0APP",
            "view": {**view, "state": {"values": state}},
            "response_urls": [],
        }

    async def send(
        self, url: str, payload: dict[str, Any], secret: str = SIGNING_SECRET, late: float = 0, **headers: str
    ) -> tuple[int, Any]:
        """As Slack does, `late` seconds after signing; the status, and the answer's JSON, {} where it is empty."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        signed = sign(body, secret, time.time() - late) | headers
        content = {"Content-Type": "application/x-www-form-urlencoded"}
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers={**content, **signed}) as answer:
            said = await answer.text()
            return answer.status, json.loads(said) if said.startswith("{") else {}


def sign(body: bytes, secret: str, at: float) -> dict[str, str]:
    timestamp = str(int(at))
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={digest}"}


def wrong_dialog(view: Any) -> Iterator[str]:
    """What Slack finds wrong with a modal."""
    if not isinstance(view, dict) or view.get("type") != "modal":
        yield "no modal"
        return
    for name in ("title", "submit", "close"):
        if length(view[name]["text"]) > TITLE_MAX or view[name]["type"] != "plain_text":
            yield f"{name} is too long"
    if length(view.get("private_metadata", "")) > METADATA_MAX:
        yield "private_metadata is too long"
    for number, block in enumerate(view["blocks"]):
        if block["type"] == "section":
            if not 1 <= length(block["text"]["text"]) <= TEXT_MAX:
                yield f"blocks/{number}: text"
        elif block["type"] == "input":
            yield from (f"blocks/{number}: {wrong}" for wrong in _wrong_input(block))
        else:
            yield f"blocks/{number}: {block['type']}"
    if not any(block["type"] == "input" for block in view["blocks"]):
        yield "a modal with submit has no input"


def _wrong_input(block: dict[str, Any]) -> Iterator[str]:
    if length(block["label"]["text"]) > LABEL_MAX or block["label"]["type"] != "plain_text":
        yield "label"
    element = block["element"]
    if element["type"] == "plain_text_input":
        if not 1 <= element.get("max_length", INPUT_MAX) <= INPUT_MAX:
            yield "max_length"
    elif element["type"] == "checkboxes":
        if not element["options"] or any(length(option["text"]["text"]) > OPTION_MAX for option in element["options"]):
            yield "options"
    else:
        yield element["type"]
