"""The stand-ins refuse what their services refuse: else a test against them would prove nothing."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from taprail.connectors.http import Answer, request
from tests.fakes import pagerduty, slack
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.fakes.webhook import FakeReceiver, problem

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}
MESSAGE: dict[str, Any] = {"channel": "C0ALERTS", "text": "hello", "blocks": [SECTION]}
EVENT: dict[str, Any] = {
    "routing_key": pagerduty.ROUTING_KEY,
    "event_action": "trigger",
    "dedup_key": "a",
    "payload": {"summary": "s", "source": "db", "severity": "info", "timestamp": "2026-01-02T03:04:05.678+00:00"},
}


@pytest.fixture(scope="module")
def slack_server() -> Iterator[FakeSlack]:
    with FakeSlack() as server:
        yield server


@pytest.fixture(scope="module")
def pagerduty_server() -> Iterator[FakePagerDuty]:
    with FakePagerDuty() as server:
        yield server


def post(url: str, body: object, **headers: str) -> Answer:
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return request(url, method="POST", body=json.dumps(body).encode(), headers=named)


def to_slack(server: FakeSlack, message: object, token: str = slack.TOKEN) -> dict[str, Any]:
    answer = post(f"{server.url}chat.postMessage", message, Authorization=f"Bearer {token}")
    found: dict[str, Any] = json.loads(answer.body)
    return found


def header(text: str, kind: str = "plain_text") -> dict[str, Any]:
    return {"type": "header", "text": {"type": kind, "text": text}}


def fields(count: int, characters: int = 1) -> dict[str, Any]:
    return {"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * characters}] * count}


def test_slack_takes_a_good_message(slack_server: FakeSlack) -> None:
    assert to_slack(slack_server, MESSAGE)["ok"] is True
    assert slack_server.received[-1]["text"] == "hello"


@pytest.mark.parametrize(
    "blocks",
    [
        [header("x" * 151)],
        [header("")],
        [header("title", "mrkdwn")],
        [header("🟠" * 76)],
        [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}],
        [{"type": "section"}],
        [{"type": "section", "text": "bare"}],
        [{"type": "section", "text": {"type": "mrkdwn", "text": "x", "emoji": True}}],
        [fields(0)],
        [fields(11)],
        [fields(1, 2001)],
        [{"type": "carousel"}],
        [SECTION] * 51,
    ],
)
def test_slack_refuses_blocks_that_break_its_rules(slack_server: FakeSlack, blocks: list[Any]) -> None:
    assert to_slack(slack_server, {**MESSAGE, "blocks": blocks})["error"] == "invalid_blocks"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"text": " "}, "no_text"),
        ({"channel": "C0OTHER"}, "channel_not_found"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"metadata": {"event_type": "a b", "event_payload": {}}}, "invalid_metadata_format"),
        ({"metadata": {"event_type": "a", "event_payload": {"k": None}}}, "invalid_metadata_format"),
        ({"blocks": [fields(10, 2000)]}, "msg_blocks_too_long"),
    ],
)
def test_slack_refuses_messages_by_name(slack_server: FakeSlack, change: dict[str, Any], error: str) -> None:
    assert to_slack(slack_server, MESSAGE | change) == {"ok": False, "error": error}


def test_slack_wants_its_token(slack_server: FakeSlack) -> None:
    assert to_slack(slack_server, MESSAGE, "xoxb-other")["error"] == "invalid_auth"


def test_pagerduty_takes_a_good_event(pagerduty_server: FakePagerDuty) -> None:
    answer = post(pagerduty_server.url, EVENT)
    assert (answer.status, json.loads(answer.body)["dedup_key"]) == (202, "a")


@pytest.mark.parametrize(
    "change",
    [
        {"routing_key": "short"},
        {"routing_key": "f" * 32},
        {"event_action": "fire"},
        {"dedup_key": "x" * 256},
        {"payload": EVENT["payload"] | {"summary": "x" * 1025}},
        {"payload": EVENT["payload"] | {"source": ""}},
        {"payload": EVENT["payload"] | {"severity": "high"}},
        {"payload": EVENT["payload"] | {"timestamp": "yesterday"}},
        {"payload": EVENT["payload"] | {"custom_details": {"x": "y" * 512 * 1024}}},
    ],
)
def test_pagerduty_refuses_what_breaks_its_rules(pagerduty_server: FakePagerDuty, change: dict[str, Any]) -> None:
    answer = post(pagerduty_server.url, EVENT | change)
    assert (answer.status, json.loads(answer.body)["status"]) == (400, "invalid event")


def test_the_receiver_knows_the_specifications_own_example() -> None:
    """The example of the reference libraries: signed with `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`."""
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert problem(headers, body, key, 1614265330.0) == ""
    assert problem(headers, body + b" ", key, 1614265330.0) == "no signature in webhook-signature holds"
    assert "too far" in problem(headers, body, key, 1614265631.0)


def test_the_receiver_refuses_what_is_not_signed() -> None:
    with FakeReceiver() as receiver:
        answer = post(receiver.url, {"type": "a", "data": {}}, webhook_id="m", webhook_timestamp=str(int(time.time())))
        assert (answer.status, receiver.received) == (400, [])


def test_failures_are_used_up_and_the_port_stays() -> None:
    with FakePagerDuty() as server:
        server.fail_next(2, 429, retry_after=1)
        assert [post(server.url, EVENT).status for _ in range(3)] == [429, 429, 202]
        url = server.url
        server.stop()
        with pytest.raises(OSError):
            post(url, EVENT)
        server.start()
        assert (server.url, post(url, EVENT).status) == (url, 202)
        server.fail_next(1, 0)
        with pytest.raises(OSError):
            post(url, EVENT)
