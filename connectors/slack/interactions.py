"""Slack's side of deciding in a message: its requests verified and read, and what it is shown in return.

Sources: docs.slack.dev, authentication/verifying-requests-from-slack, reference/interaction-payloads (block_actions,
view_submission), reference/views (modal), surfaces/modals (response_action), Block Kit's limits. Nothing here asks or
answers anybody: what a request says is a value, and so is each answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import parse_qs

from msgspec import MsgspecError, Struct, convert, json
from slack_sdk.signature import SignatureVerifier

from taprail.connectors.slack import SECTION_CHARACTERS_MAX, fit
from taprail.schemas.errors import RefusedError

BODY_BYTES_MAX = 256 << 10
TITLE_CHARACTERS_MAX, STATEMENT_CHARACTERS_MAX = 24, SECTION_CHARACTERS_MAX - 10
REASON_BLOCK, TICKET_BLOCK, REMEMBER_BLOCK = "reason", "ticket", "remember"
CALLBACK = "taprail_decide"
Answer = Literal["approve", "deny"]


class Place(Struct, frozen=True):
    """The message that a button stands in; (channel, ts) name it."""

    channel: str
    ts: str


class Press(Struct, frozen=True):
    """Somebody pressed a button. `trigger_id` opens a dialog, for three seconds."""

    user: str
    team: str
    trigger_id: str
    answer: Answer
    approval_id: str
    place: Place


class Decided(Struct, frozen=True):
    """Somebody sent the dialog."""

    user: str
    team: str
    answer: Answer
    approval_id: str
    place: Place
    reason: str
    ticket: str
    remember: bool


class Remembered(Struct, frozen=True):
    """What a dialog carries of the press that opened it (`private_metadata`)."""

    approval_id: str
    answer: Answer
    place: Place


class _Id(Struct):
    id: str


class _Action(Struct):
    action_id: str
    value: str = ""


class _Container(Struct):
    channel_id: str = ""
    message_ts: str = ""


class _View(Struct):
    callback_id: str = ""
    private_metadata: str = ""
    state: dict[str, Any] = {}


class _Payload(Struct):
    type: str
    user: _Id
    team: _Id | None = None
    trigger_id: str = ""
    actions: list[_Action] = []
    container: _Container | None = None
    view: _View | None = None


def verified(secret: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The body. Raises RefusedError where Slack didn't send it just now."""
    try:
        if SignatureVerifier(secret).is_valid_request(body, dict(headers)):
            return body
    except (ValueError, UnicodeDecodeError):  # a timestamp that is no number
        pass
    raise RefusedError("this doesn't come from Slack, or is too old", hint="check alerts.slack.signing_secret")


def read(body: bytes) -> Press | Decided | None:
    """What a verified request says; None for what isn't about a decision. Raises RefusedError for no such payload."""
    try:
        (text,) = parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)["payload"]
        payload = json.decode(text, type=_Payload)
        team = payload.team.id if payload.team is not None else ""
        if payload.type == "block_actions" and payload.actions and payload.container is not None:
            return _press(payload, payload.actions[0], payload.container, team)
        if payload.type == "view_submission" and payload.view is not None and payload.view.callback_id == CALLBACK:
            return _decided(payload, payload.view, team)
    except (MsgspecError, ValueError, KeyError, RecursionError) as error:
        raise RefusedError(f"Slack's request can't be read: {error}") from error
    return None


def _press(payload: _Payload, action: _Action, container: _Container, team: str) -> Press | None:
    if action.action_id not in ("approve", "deny"):
        return None  # a link's button, say
    place = Place(container.channel_id, container.message_ts)
    answer = convert(action.action_id, Answer)
    return Press(payload.user.id, team, payload.trigger_id, answer, action.value, place)


def _decided(payload: _Payload, view: _View, team: str) -> Decided:
    carried = json.decode(view.private_metadata, type=Remembered)
    values: dict[str, dict[str, dict[str, Any]]] = view.state.get("values", {})

    def text(block: str) -> str:
        return str(values.get(block, {}).get(block, {}).get("value") or "")

    ticked = values.get(REMEMBER_BLOCK, {}).get(REMEMBER_BLOCK, {}).get("selected_options") or []
    return Decided(
        user=payload.user.id,
        team=team,
        answer=carried.answer,
        approval_id=carried.approval_id,
        place=carried.place,
        reason=text(REASON_BLOCK),
        ticket=text(TICKET_BLOCK),
        remember=bool(ticked),
    )


def buttons(approval_id: str) -> dict[str, Any]:
    """The block that a message ends with which asks for a decision."""
    return {
        "type": "actions",
        "block_id": "decide",
        "elements": [
            {"type": "button", "action_id": name, "style": style, "value": approval_id, "text": _plain(label)}
            for name, style, label in (("approve", "primary", "Approve …"), ("deny", "danger", "Deny …"))
        ],
    }


def dialog(
    press: Press, statement: str, facts: Mapping[str, str], *, needs_ticket: bool, remembers: str
) -> dict[str, Any]:
    """What whoever presses a button is shown, and asked. `statement` holds no values: those stay off Slack."""
    carried = json.encode(Remembered(press.approval_id, press.answer, press.place)).decode()
    lines = "\n".join(f"*{fit(name, 60)}*: {fit(' '.join(said.split()), 280)}" for name, said in facts.items())
    blocks: list[dict[str, Any]] = []
    if statement:
        shown = fit(statement.replace("`", "'"), STATEMENT_CHARACTERS_MAX)
        blocks.append({"type": "section", "text": _mrkdwn(f"```{shown}```")})
    blocks.append({"type": "section", "text": _mrkdwn(lines)})
    blocks.append(_input(REASON_BLOCK, "Why, in a sentence", 500, optional=False, multiline=True))
    blocks.append(_input(TICKET_BLOCK, "Ticket", 100, optional=not (needs_ticket and press.answer == "approve")))
    if remembers and press.answer == "approve":
        option = {"text": _plain(fit(f"Remember: {remembers}", 75, {})), "value": "yes"}
        box = {"type": "checkboxes", "action_id": REMEMBER_BLOCK, "options": [option]}
        blocks.append(
            {
                "type": "input",
                "block_id": REMEMBER_BLOCK,
                "optional": True,
                "label": _plain("Equal statements"),
                "element": box,
            }
        )
    title = {"approve": "Approve", "deny": "Deny"}[press.answer]
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "private_metadata": carried,
        "title": _plain(title),
        "submit": _plain(title),
        "close": _plain("Back"),
        "blocks": blocks,
    }


def fits(statement: str) -> bool:
    """Whether a dialog shows all of it."""
    shown = statement.replace("`", "'")
    return fit(shown, STATEMENT_CHARACTERS_MAX) == fit(shown, 10 * len(shown) + 1)


def refused(reason: str) -> dict[str, Any]:
    """The answer to a dialog that leaves it open, with the error at its first field."""
    return {"response_action": "errors", "errors": {REASON_BLOCK: fit(reason, 1000, {})}}


def closed() -> dict[str, Any]:
    """The answer to a dialog that closes it."""
    return {"response_action": "clear"}


def outcome(place: Place, text: str) -> dict[str, Any]:
    """What replaces the message once it is decided (chat.update): no buttons are left to press."""
    said = fit(text, SECTION_CHARACTERS_MAX)
    return {
        "channel": place.channel,
        "ts": place.ts,
        "text": said,
        "blocks": [{"type": "section", "text": _mrkdwn(said)}],
    }


def _input(name: str, label: str, most: int, *, optional: bool, multiline: bool = False) -> dict[str, Any]:
    element = {"type": "plain_text_input", "action_id": name, "max_length": most, "multiline": multiline}
    return {"type": "input", "block_id": name, "optional": optional, "label": _plain(label), "element": element}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}
