"""Alerts to Slack: whatever is in an alert, Slack takes the message, and nobody is mentioned by it."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Iterator

import pytest
from hypothesis import given
from msgspec.structs import replace

from taprail.connectors.retry import DeliveryError, Retry
from taprail.connectors.slack import SlackSink, fit, render
from taprail.schemas.records import Alert, Severity
from tests.fakes.alerts import NASTY, SEVERITIES, alert, alerts
from tests.fakes.slack import TOKEN, FakeSlack, control_sequences, length, raw_characters, refusal

QUICK = Retry(attempts=3, first_s=0.001, most_s=0.01)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK goes through the environment's proxy, even to loopback."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as server:
        yield server


def sink(server: FakeSlack, retry: Retry = QUICK, token: str = TOKEN) -> SlackSink:
    return SlackSink(token, "C0ALERTS", server.url, retry)


@given(alerts())
def test_any_alert_is_accepted(any_alert: Alert) -> None:
    assert refusal(render(any_alert, "C0ALERTS")) == ("", [])


@given(alerts())
def test_no_alert_mentions_links_or_leaves_half_an_entity(any_alert: Alert) -> None:
    message = render(replace(any_alert, link=""), "C0ALERTS")
    assert control_sequences(message) == []
    assert raw_characters(message) == []


@given(alerts())
def test_the_only_link_is_the_alerts_own(any_alert: Alert) -> None:
    found = control_sequences(render(any_alert, "C0ALERTS"))
    assert found in ([], [f"<{html.escape(any_alert.link, quote=False)}|open>"])


def test_the_link_is_told() -> None:
    message = render(alert(link="https://taprail.example/approvals/tap-1-7-42"), "C0ALERTS")
    assert control_sequences(message) == ["<https://taprail.example/approvals/tap-1-7-42|open>"]
    assert refusal(message) == ("", [])


@pytest.mark.parametrize("link", ["!channel", "@U123", "javascript:alert(1)", "https://x|<!channel>", "https://x\ny"])
def test_what_is_no_address_is_no_link(link: str) -> None:
    assert control_sequences(render(alert(link=link), "C0ALERTS")) == []


@given(alerts())
def test_plain_urls_and_names_are_not_made_links_either(any_alert: Alert) -> None:
    blocks = render(any_alert, "C")["blocks"]
    texts = [text for block in blocks for text in [block.get("text"), *block.get("fields", ())]]
    assert all(text["verbatim"] for text in texts if text and text["type"] == "mrkdwn")


@pytest.mark.parametrize("severity", SEVERITIES)
async def test_every_severity_arrives(slack: FakeSlack, severity: Severity) -> None:
    await sink(slack).deliver(alert(severity=severity))
    [message] = slack.received
    assert message["channel"] == "C0ALERTS"
    assert message["blocks"][0]["text"]["text"].endswith("ann read 60000 rows of public.customers")


def test_severities_look_different() -> None:
    assert len({render(alert(severity=severity), "C")["text"] for severity in SEVERITIES}) == len(SEVERITIES)


def test_an_alert_without_texts_still_says_something() -> None:
    empty = alert(title="", summary="", environment="", server="", database="", person="", statement="")
    assert refusal(render(empty, "C0ALERTS")) == ("", [])


async def test_a_summary_of_100_kb_arrives_cut(slack: FakeSlack) -> None:
    await sink(slack).deliver(alert(title="t" * 100_000, summary="🟠&<x>" * 20_000, person="é" * 100_000))
    [message] = slack.received
    header, summary, fields = message["blocks"]
    assert length(header["text"]["text"]) <= 150
    assert summary["text"]["text"].endswith("…")
    assert html.unescape(summary["text"]["text"]).startswith("🟠&<x>🟠&<x>")
    assert all(length(field["text"]) <= 2000 for field in fields["fields"])


@pytest.mark.parametrize("most", range(1, 12))
@pytest.mark.parametrize("text", ["<<<<<", "a&b&c&d", "🟠🟠🟠🟠🟠🟠", "ab<cd", "&amp;&amp;"])
def test_a_cut_text_is_a_beginning_of_the_whole(text: str, most: int) -> None:
    fitted = fit(text, most)
    assert length(fitted) <= most
    if fitted != html.escape(text, quote=False):
        assert fitted.endswith("…")
        assert text.startswith(html.unescape(fitted[:-1]))


def test_hidden_characters_are_shown() -> None:
    message = render(alert(title="a\u202eb", summary="\x1b[2J\x07", person="\u2066eve"), "C")
    texts = str(message)
    assert not set("\u202e\u2066\x1b\x07") & set(texts)
    assert "a\ufffdb" in message["blocks"][0]["text"]["text"]


@pytest.mark.parametrize("nasty", NASTY)
def test_what_an_attacker_is_called_cannot_forge_a_field(nasty: str) -> None:
    """A name with a newline could look like another field: each value stays in its line."""
    name = f"eve\n*Statement*\ntap-9/9/9 {nasty}"
    fields = render(alert(person=name), "C")["blocks"][2]["fields"]
    assert [field["text"].count("\n") for field in fields] == [1, 1, 1]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_what_may_pass_is_tried_again(slack: FakeSlack, status: int) -> None:
    slack.fail_next(2, status, retry_after=0)
    await sink(slack).deliver(alert())
    assert (slack.requests, len(slack.received)) == (3, 1)


@pytest.mark.parametrize("error", ["internal_error", "fatal_error", "ratelimited", "service_unavailable"])
async def test_slacks_own_passing_errors_are_tried_again(slack: FakeSlack, error: str) -> None:
    body = f'{{"ok":false,"error":"{error}"}}'.encode()
    slack.fail_next(2, 200, body=body, content_type="application/json")
    await sink(slack).deliver(alert())
    assert (slack.requests, len(slack.received)) == (3, 1)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"upstream connect error", "text/plain"),
        (b"\xff\xfe not text", "text/html; charset=utf-8"),
        (b"<html>", "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
    ],
)
@pytest.mark.parametrize("status", [200, 503])
async def test_an_answer_that_is_not_slacks_is_tried_again(
    slack: FakeSlack, status: int, body: bytes, content_type: str
) -> None:
    slack.fail_next(1, status, body=body, content_type=content_type)
    await sink(slack).deliver(alert())
    assert (slack.requests, len(slack.received)) == (2, 1)


async def test_retry_after_is_waited_for(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", record)
    slack.fail_next(1, 429, retry_after=30)
    await sink(slack, Retry()).deliver(alert())
    assert waits == [30.0]


async def test_a_closed_connection_is_tried_again_as_often_as_told(slack: FakeSlack) -> None:
    slack.fail_next(9, 0)
    with pytest.raises(DeliveryError, match="to Slack was given up after 3 attempts"):
        await sink(slack).deliver(alert())
    assert slack.requests == 3


async def test_nobody_there_is_given_up_with_a_hint(slack: FakeSlack) -> None:
    slack.stop()
    with pytest.raises(DeliveryError, match="given up after 3 attempts") as caught:
        await sink(slack).deliver(alert())
    assert "address" in caught.value.hint


@pytest.mark.parametrize("error", ["invalid_blocks", "channel_not_found", "is_archived", "token_revoked"])
async def test_a_refusal_is_not_tried_again(slack: FakeSlack, error: str) -> None:
    body = f'{{"ok":false,"error":"{error}"}}'.encode()
    slack.fail_next(9, 200, body=body, content_type="application/json")
    with pytest.raises(DeliveryError, match=error):
        await sink(slack).deliver(alert())
    assert slack.requests == 1


async def test_a_wrong_token_is_refused_and_not_told(slack: FakeSlack) -> None:
    with pytest.raises(DeliveryError, match="invalid_auth") as caught:
        await sink(slack, token="xoxb-secret").deliver(alert())
    assert "xoxb-secret" not in str(caught.value)


async def test_a_repetition_carries_the_same_id(slack: FakeSlack) -> None:
    for _ in range(2):
        await sink(slack).deliver(alert())
    payloads = [message["metadata"]["event_payload"] for message in slack.received]
    assert payloads[0] == payloads[1] == {"alert_id": alert().alert_id, "rule": "large-read"}


async def test_an_address_without_its_last_slash_works(slack: FakeSlack) -> None:
    await SlackSink(TOKEN, "C0ALERTS", slack.url.rstrip("/"), QUICK).deliver(alert())
    assert len(slack.received) == 1
