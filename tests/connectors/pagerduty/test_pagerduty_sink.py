"""Alerts to PagerDuty: whatever is in an alert, the event is accepted; a repetition is the same incident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given

from taprail.connectors.pagerduty import PagerDutySink, render
from taprail.connectors.retry import DeliveryError, Retry
from taprail.schemas.records import Alert, Severity
from tests.fakes.alerts import SEVERITIES, alert, alerts
from tests.fakes.pagerduty import BODY_MAX, ROUTING_KEY, FakePagerDuty, errors

QUICK = Retry(attempts=3, first_s=0.001, most_s=0.01)


@pytest.fixture
def pagerduty() -> Iterator[FakePagerDuty]:
    with FakePagerDuty() as server:
        yield server


def sink(server: FakePagerDuty, routing_key: str = ROUTING_KEY) -> PagerDutySink:
    return PagerDutySink(server.url, routing_key, QUICK)


@given(alerts())
@example(alert(title=" " * 2000, server=" " * 10_000))
def test_any_alert_is_accepted(any_alert: Alert) -> None:
    assert errors(json.dumps(render(any_alert, ROUTING_KEY)).encode()) == []


@pytest.mark.parametrize("severity", SEVERITIES)
async def test_every_severity_is_one_of_pagerdutys(pagerduty: FakePagerDuty, severity: Severity) -> None:
    await sink(pagerduty).deliver(alert(severity=severity))
    [event] = pagerduty.received
    expected = {"informational": "info", "low": "info", "medium": "warning", "high": "error", "critical": "critical"}
    assert event["payload"]["severity"] == expected[severity]


async def test_the_link_is_told(pagerduty: FakePagerDuty) -> None:
    await sink(pagerduty).deliver(alert(link="https://taprail.example/approvals/tap-1-7-42"))
    assert pagerduty.received[0]["links"] == [
        {"href": "https://taprail.example/approvals/tap-1-7-42", "text": "act on it"}
    ]


async def test_the_event_says_who_where_and_when(pagerduty: FakePagerDuty) -> None:
    await sink(pagerduty).deliver(alert())
    payload = pagerduty.received[0]["payload"]
    assert (payload["source"], payload["component"], payload["group"]) == ("main/shop", "shop", "prod")
    assert payload["custom_details"]["person"] == "ann"
    epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    moment = datetime.fromisoformat(payload["timestamp"])
    assert (moment - epoch) // timedelta(microseconds=1) == alert().time_us


@pytest.mark.parametrize("piece", ["x", "🟠", "\x01", '"', "\\"])
async def test_100_000_characters_everywhere_fit(pagerduty: FakePagerDuty, piece: str) -> None:
    """A control character takes six bytes of JSON: what counts is the body's size, not the text's."""
    long = piece * 100_000
    names = (
        "summary",
        "title",
        "environment",
        "server",
        "database",
        "person",
        "statement",
        "rule",
        "detection_id",
        "link",
    )
    await sink(pagerduty).deliver(alert(**dict.fromkeys(names, long)))
    [event] = pagerduty.received
    assert len(json.dumps(event)) < BODY_MAX * 2
    assert event["payload"]["custom_details"]["summary"].startswith(piece * 1000)


async def test_an_alert_without_texts_is_accepted(pagerduty: FakePagerDuty) -> None:
    await sink(pagerduty).deliver(
        alert(title="", summary="", environment="", server="", database="", person="", statement="", detection_id="")
    )
    assert len(pagerduty.received) == 1


async def test_a_repetition_is_the_same_incident(pagerduty: FakePagerDuty) -> None:
    for summary in ("first", "again"):
        await sink(pagerduty).deliver(alert(summary=summary))
    assert (len(pagerduty.received), len(pagerduty.incidents)) == (2, 1)


def test_long_ids_that_differ_at_the_end_are_two_incidents() -> None:
    keys = {render(alert(alert_id="x" * 300 + end), ROUTING_KEY)["dedup_key"] for end in ("a", "b")}
    assert len(keys) == 2
    assert all(len(key) <= 255 for key in keys)


@pytest.mark.parametrize("status", [429, 500, 503, 0])
async def test_what_may_pass_is_tried_again(pagerduty: FakePagerDuty, status: int) -> None:
    pagerduty.fail_next(2, status, retry_after=0)
    await sink(pagerduty).deliver(alert())
    assert (pagerduty.requests, len(pagerduty.received)) == (3, 1)


async def test_an_error_page_in_no_known_encoding_is_tried_again(pagerduty: FakePagerDuty) -> None:
    pagerduty.fail_next(1, 502, body=b"\xff\xfe\x80" * 1000, content_type="text/html; charset=utf-8")
    await sink(pagerduty).deliver(alert())
    assert pagerduty.requests == 2


async def test_nobody_there_is_given_up(pagerduty: FakePagerDuty) -> None:
    pagerduty.stop()
    with pytest.raises(DeliveryError, match="to PagerDuty was given up after 3 attempts"):
        await sink(pagerduty).deliver(alert())


@pytest.mark.parametrize("key", ["short", "f" * 32])
async def test_a_wrong_routing_key_is_refused_once(pagerduty: FakePagerDuty, key: str) -> None:
    with pytest.raises(DeliveryError, match="status 400"):
        await sink(pagerduty, key).deliver(alert())
    assert pagerduty.requests == 1


async def test_a_refusals_text_is_bounded_and_cannot_forge_a_log_line(pagerduty: FakePagerDuty) -> None:
    pagerduty.fail_next(1, 400, body=b"no\nERROR forged line\x1b[2J" + b"x" * 1_000_000, content_type="text/plain")
    with pytest.raises(DeliveryError) as caught:
        await sink(pagerduty).deliver(alert())
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


async def test_redirects_are_not_followed(pagerduty: FakePagerDuty) -> None:
    """The body holds the routing key: it goes where the settings say, and nowhere else."""
    pagerduty.fail_next(1, 307)
    with pytest.raises(DeliveryError, match="status 307"):
        await sink(pagerduty).deliver(alert())
    assert pagerduty.requests == 1
