"""The demo's receiver of alerts believes what is signed, and nothing else."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from taprail.connectors.webhook import WebhookSink
from taprail.streams.demo.receiver import Receiver
from tests.fakes.alerts import alert

SECRET = "a secret of twenty-four bytes, or more"


async def test_a_signed_alert_is_taken_and_waited_for() -> None:
    told = alert()
    with Receiver() as receiver:
        receiver.secret = SECRET
        await WebhookSink(receiver.url, SECRET).deliver(told)
        assert receiver.wait_for(told.alert_id, 5.0) == told
        assert receiver.wait_for("another", 0.01) is None


def test_what_is_not_signed_is_refused() -> None:
    with Receiver() as receiver:
        receiver.secret = SECRET
        request = urllib.request.Request(receiver.url, b'{"type":"taprail.alert","data":{}}', method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=5)
        assert refused.value.code == 400
