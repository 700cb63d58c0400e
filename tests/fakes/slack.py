"""Slack's chat.postMessage, with the rules of Block Kit for the blocks that we send.

Sources: docs.slack.dev, methods/chat.postMessage, block-kit/blocks/{header,section}-block, composition-objects/
text-object, messaging/message-metadata. Refusals are answers with status 200 and `ok` false, as Slack gives them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from tests.fakes.server import FakeService

TOKEN = "xoxb-a-token"
CHANNELS = ("C0ALERTS", "#alerts")
BLOCKS_MAX, FIELDS_MAX = 50, 10
HEADER_MAX, TEXT_MAX, FIELD_MAX = 150, 3000, 2000
ELEMENTS_MAX, BUTTON_MAX, VALUE_MAX = 25, 75, 2000
FALLBACK_MAX = 40_000
MESSAGE_BLOCKS_MAX = 13_000  # of all blocks together: not documented, but seen (msg_blocks_too_long)
_CONTROL = re.compile(r"<[^<>]*>")
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt);)")


def length(text: str) -> int:
    """Slack counts characters and doesn't say of which kind: UTF-16 units are the strictest reading."""
    return len(text.encode("utf-16-le")) // 2


def control_sequences(message: dict[str, Any]) -> list[str]:
    """`<!channel>`, `<@U123>`, links: what Slack would act on, in any text that is read as mrkdwn."""
    return [found for text in _mrkdwn_texts(message) for found in _CONTROL.findall(text)]


def raw_characters(message: dict[str, Any]) -> list[str]:
    """Texts with a bare `<`, `>` or `&`, half an entity included: what Slack asks everybody to escape."""
    return [text for text in _mrkdwn_texts(message) if set("<>") & set(text) or _ENTITY.search(text)]


def _mrkdwn_texts(message: dict[str, Any]) -> Iterator[str]:
    yield message["text"]
    for block in message["blocks"]:
        texts = [block.get("text"), *block.get("fields", [])]
        yield from (text["text"] for text in texts if text and text["type"] == "mrkdwn")


class FakeSlack(FakeService):
    """`url` is the Web API's base. `received` holds messages, with the `ts` that they were given."""

    @property
    def url(self) -> str:
        return f"{super().url}/api/"

    def _routes(self, app: web.Application) -> None:
        app.router.add_post("/api/chat.postMessage", self._post)

    def _failure(self, status: int) -> tuple[bytes, str]:
        if status == 429:
            return b'{"ok":false,"error":"ratelimited"}', "application/json; charset=utf-8"
        return super()._failure(status)

    async def _post(self, request: web.Request) -> web.Response:
        error, messages = await self._judge(request)
        if error:
            self.refused.append(": ".join([error, *messages]))
            answer: dict[str, Any] = {"ok": False, "error": error}
            return web.json_response({**answer, "response_metadata": {"messages": messages}} if messages else answer)
        message = json.loads(await request.read())
        timestamp = f"1700000000.{len(self.received):06}"
        self.received.append({**message, "ts": timestamp})
        return web.json_response({"ok": True, "channel": message["channel"], "ts": timestamp, "message": {}})

    async def _judge(self, request: web.Request) -> tuple[str, list[str]]:
        """Slack's error, or nothing, and what it says about the blocks."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return "not_authed", []
        if token != TOKEN:
            return "invalid_auth", []
        if request.content_type != "application/json":
            return "invalid_post_type", []
        try:
            message = json.loads(await request.read())
        except ValueError:
            return "invalid_json", []
        return refusal(message) if isinstance(message, dict) else ("json_not_object", [])


def refusal(message: dict[str, Any]) -> tuple[str, list[str]]:
    """The error that Slack gives to this message, and what it says of the blocks; nothing where it is posted."""
    if message.get("channel") not in CHANNELS:
        return "channel_not_found", []
    text = message.get("text")
    if not isinstance(text, str) or not text.strip():
        return "no_text", []
    if length(text) > FALLBACK_MAX:
        return "msg_too_long", []
    if "metadata" in message and not _is_metadata(message["metadata"]):
        return "invalid_metadata_format", []
    wrong = list(_wrong_blocks(message.get("blocks", [])))
    if wrong:
        return "invalid_blocks", wrong
    total = sum(length(json.dumps(block, ensure_ascii=False)) for block in message.get("blocks", []))
    return ("msg_blocks_too_long", []) if total > MESSAGE_BLOCKS_MAX else ("", [])


def _is_metadata(metadata: Any) -> bool:
    """`event_type` is a name, `event_payload` an object of plain values."""
    if not isinstance(metadata, dict) or set(metadata) != {"event_type", "event_payload"}:
        return False
    name, payload = metadata["event_type"], metadata["event_payload"]
    return (
        isinstance(name, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
        and isinstance(payload, dict)
        and all(re.fullmatch(r"[a-z][a-z0-9_]*", key) for key in payload)
        and all(isinstance(value, str | int | float | bool) for value in payload.values())
    )


def _wrong_blocks(blocks: Any) -> Iterator[str]:
    if not isinstance(blocks, list) or len(blocks) > BLOCKS_MAX:
        yield f"[ERROR] no more than {BLOCKS_MAX} items allowed [json-pointer:/blocks]"
        return
    for number, block in enumerate(blocks):
        at = f"/blocks/{number}"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "header":
            yield from _wrong_keys(block, {"type", "block_id", "text"}, at)
            yield from _wrong_text(block.get("text"), ("plain_text",), HEADER_MAX, f"{at}/text")
        elif kind == "section":
            yield from _wrong_section(block, at)
        elif kind == "actions":
            yield from _wrong_actions(block, at)
        else:
            yield f"[ERROR] unsupported type: {kind} [json-pointer:{at}/type]"


def _wrong_section(block: dict[str, Any], at: str) -> Iterator[str]:
    yield from _wrong_keys(block, {"type", "block_id", "text", "fields", "accessory", "expand"}, at)
    if "text" not in block and "fields" not in block:
        yield f"[ERROR] missing required field: text [json-pointer:{at}]"
    if "text" in block:
        yield from _wrong_text(block["text"], ("plain_text", "mrkdwn"), TEXT_MAX, f"{at}/text")
    if "fields" in block:
        fields = block["fields"]
        if not isinstance(fields, list) or not 1 <= len(fields) <= FIELDS_MAX:
            yield f"[ERROR] must have 1 to {FIELDS_MAX} items [json-pointer:{at}/fields]"
            return
        for number, field in enumerate(fields):
            yield from _wrong_text(field, ("plain_text", "mrkdwn"), FIELD_MAX, f"{at}/fields/{number}")


def _wrong_actions(block: dict[str, Any], at: str) -> Iterator[str]:
    yield from _wrong_keys(block, {"type", "block_id", "elements"}, at)
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= ELEMENTS_MAX:
        yield f"[ERROR] must have 1 to {ELEMENTS_MAX} items [json-pointer:{at}/elements]"
        return
    names = [element.get("action_id") for element in elements]
    if len(set(names)) != len(names):
        yield f"[ERROR] action_id must be unique [json-pointer:{at}/elements]"
    for number, element in enumerate(elements):
        place = f"{at}/elements/{number}"
        yield from _wrong_keys(element, {"type", "action_id", "text", "value", "style", "url"}, place)
        yield from _wrong_text(element.get("text"), ("plain_text",), BUTTON_MAX, f"{place}/text")
        if element.get("type") != "button" or element.get("style") not in (None, "primary", "danger"):
            yield f"[ERROR] must be a button [json-pointer:{place}]"
        if length(element.get("value", "")) > VALUE_MAX:
            yield f"[ERROR] must be less than {VALUE_MAX + 1} characters [json-pointer:{place}/value]"


def _wrong_text(text: Any, kinds: tuple[str, ...], most: int, at: str) -> Iterator[str]:
    if not isinstance(text, dict) or text.get("type") not in kinds or not isinstance(text.get("text"), str):
        yield f"[ERROR] must be a text object of {' or '.join(kinds)} [json-pointer:{at}]"
        return
    own = {"emoji"} if text["type"] == "plain_text" else {"verbatim"}
    yield from _wrong_keys(text, {"type", "text"} | own, at)
    if not text["text"].strip():
        yield f"[ERROR] must be more than 0 characters [json-pointer:{at}/text]"
    if length(text["text"]) > most:
        yield f"[ERROR] must be less than {most + 1} characters [json-pointer:{at}/text]"


def _wrong_keys(given: dict[str, Any], known: set[str], at: str) -> Iterator[str]:
    yield from (f"[ERROR] additional properties: {key} [json-pointer:{at}]" for key in given.keys() - known)
