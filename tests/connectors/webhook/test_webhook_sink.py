"""Alerts to a webhook: signed by Standard Webhooks, so that a receiver believes ours and nobody else's."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given

from taprail.connectors.retry import DeliveryError, Retry
from taprail.connectors.webhook import WebhookSink, key_of, message_id, render, sign, verify
from taprail.schemas.errors import SettingsError, SignatureError
from taprail.schemas.records import Alert, Severity
from tests.fakes.alerts import SEVERITIES, alert, alerts
from tests.fakes.webhook import KEY, SECRET, FakeReceiver, problem

QUICK = Retry(attempts=3, first_s=0.001, most_s=0.01)
PLAIN = "a plain secret of 31 characters"
NOW = 1_767_323_045


@pytest.fixture
def receiver() -> Iterator[FakeReceiver]:
    with FakeReceiver() as server:
        yield server


def sink(server: FakeReceiver, secret: str = SECRET) -> WebhookSink:
    return WebhookSink(server.url, secret, QUICK)


def headers_of(made: Alert, key: bytes = KEY, at: int = NOW) -> dict[str, str]:
    identifier = message_id(made.alert_id)
    signature = sign(key, identifier, at, render(made))
    return {"webhook-id": identifier, "webhook-timestamp": str(at), "webhook-signature": signature}


@given(alerts())
def test_any_alert_is_believed_by_an_independent_receiver(any_alert: Alert) -> None:
    headers = headers_of(any_alert)
    assert problem(headers, render(any_alert), KEY, NOW) == ""
    verify(KEY, headers, render(any_alert), NOW)


@given(alerts(), alerts())
def test_two_alerts_never_share_an_id(first: Alert, second: Alert) -> None:
    assert (first.alert_id == second.alert_id) == (message_id(first.alert_id) == message_id(second.alert_id))


@pytest.mark.parametrize("severity", SEVERITIES)
async def test_every_severity_arrives_whole(receiver: FakeReceiver, severity: Severity) -> None:
    made = alert(severity=severity, summary="🟠 <b>" + "x" * 100_000)
    await sink(receiver).deliver(made)
    [payload] = receiver.received
    assert payload["type"] == "taprail.alert"
    assert (payload["data"]["severity"], payload["data"]["summary"]) == (severity, made.summary)


@pytest.mark.parametrize("name", ["with.dots", "with\r\nX-Forged: 1", "ünïcode"])
async def test_an_id_can_neither_hold_a_dot_nor_another_header(receiver: FakeReceiver, name: str) -> None:
    await sink(receiver).deliver(alert(alert_id=name))
    [identifier] = receiver.ids
    assert identifier.isascii()
    assert not set(identifier) & set(".\r\n ")


async def test_an_ordinary_id_is_told_as_it_is(receiver: FakeReceiver) -> None:
    await sink(receiver).deliver(alert())
    assert receiver.ids == [alert().alert_id]


async def test_a_repetition_is_signed_anew_and_keeps_its_id(receiver: FakeReceiver) -> None:
    receiver.fail_next(2, 503)
    await sink(receiver).deliver(alert())
    await sink(receiver).deliver(alert())
    assert (receiver.requests, len(set(receiver.ids))) == (4, 1)


async def test_a_secret_may_be_plain_text(receiver: FakeReceiver) -> None:
    with FakeReceiver(PLAIN) as plain:
        await sink(plain, PLAIN).deliver(alert())
        assert len(plain.received) == 1


async def test_another_secret_is_refused_once(receiver: FakeReceiver) -> None:
    with pytest.raises(DeliveryError, match="no signature in webhook-signature holds"):
        await sink(receiver, PLAIN).deliver(alert())
    assert receiver.requests == 1


@pytest.mark.parametrize(
    "secret", ["", "short", "whsec_", "whsec_!!!", "whsec_" + base64.b64encode(b"x" * 23).decode()]
)
def test_a_weak_or_broken_secret_is_refused_at_the_start(secret: str) -> None:
    with pytest.raises(SettingsError) as caught:
        WebhookSink("http://127.0.0.1:1/hook", secret)
    assert caught.value.hint


def test_a_secret_is_decoded_as_every_library_does() -> None:
    assert key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "other"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v2," + sign(KEY, "m", NOW, b"").partition(",")[2]},
        {"webhook-signature": "ünsigned"},
    ],
)
def test_a_changed_header_is_noticed(change: dict[str, str]) -> None:
    with pytest.raises(SignatureError):
        verify(KEY, headers_of(alert()) | change, render(alert()), NOW)


def test_a_changed_body_is_noticed() -> None:
    with pytest.raises(SignatureError):
        verify(KEY, headers_of(alert()), render(alert(person="bob")), NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_noticed(missing: str) -> None:
    headers = {name: value for name, value in headers_of(alert()).items() if name != missing}
    with pytest.raises(SignatureError, match="isn't signed"):
        verify(KEY, headers, render(alert()), NOW)


@pytest.mark.parametrize("now", [NOW - 301, NOW + 301])
def test_an_old_message_is_refused_so_it_can_not_be_replayed(now: int) -> None:
    with pytest.raises(SignatureError, match="too old"):
        verify(KEY, headers_of(alert()), render(alert()), now)


def test_one_good_signature_of_several_is_enough_while_a_secret_is_changed() -> None:
    headers = headers_of(alert())
    other = sign(PLAIN.encode(), headers["webhook-id"], NOW, render(alert()))
    headers["webhook-signature"] = f"v1a,AAAA {other} {headers['webhook-signature']}"
    verify(KEY, headers, render(alert()), NOW)


@pytest.mark.parametrize("status", [408, 429, 500, 503, 0])
async def test_what_may_pass_is_tried_again(receiver: FakeReceiver, status: int) -> None:
    receiver.fail_next(2, status, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")
    await sink(receiver).deliver(alert())
    assert (receiver.requests, len(receiver.received)) == (3, 1)


@pytest.mark.parametrize("status", [301, 400, 404, 410])
async def test_a_refusal_is_not_tried_again(receiver: FakeReceiver, status: int) -> None:
    receiver.fail_next(9, status)
    with pytest.raises(DeliveryError, match=f"status {status}"):
        await sink(receiver).deliver(alert())
    assert receiver.requests == 1


async def test_each_attempt_has_its_own_time(receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry after minutes is still believed: its time is that of the attempt, not of the alert."""
    clock = iter([time.time() - 3600, time.time()])
    monkeypatch.setattr("taprail.connectors.webhook.time", SimpleNamespace(time=lambda: next(clock)))
    receiver.fail_next(1, 503)
    await sink(receiver).deliver(alert())
    assert len(receiver.received) == 1
