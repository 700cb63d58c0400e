"""Alerts to people: an agent for each sink, so that a slow one holds up no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any, Protocol

from taprail.connectors.mail import MailSink, Server
from taprail.connectors.pagerduty import PagerDutySink
from taprail.connectors.retry import DeliveryError
from taprail.connectors.slack import SlackSink
from taprail.connectors.slack.interactions import buttons
from taprail.connectors.webhook import WebhookSink
from taprail.schemas.records import Alert, Detection
from taprail.streams.agents.app import Outbox, consume, table
from taprail.streams.detections.incident import incident
from taprail.streams.settings import Loaded

AGE_MAX_US = KEPT_US = 24 * 3600 * 1_000_000
SWEEP_SECONDS = 600.0
_log = logging.getLogger("taprail.alerts")


class Sink(Protocol):
    name: str

    async def deliver(self, alert: Alert) -> None:
        """Raises DeliveryError where the alert isn't delivered, and won't be."""
        ...


def sinks(loaded: Loaded) -> Iterator[Sink]:
    """Those that the settings name."""
    alerts = loaded.settings.alerts
    if (slack := alerts.slack) is not None:
        token, decides = loaded.secret(slack.token, "alerts.slack.token"), slack.signing_secret is not None
        yield SlackSink(token, slack.channel, slack.url, actions=buttons if decides else None)
    if (pagerduty := alerts.pagerduty) is not None:
        key = loaded.secret(pagerduty.routing_key, "alerts.pagerduty.routing_key")
        yield PagerDutySink(pagerduty.url, key)
    if (mail := alerts.mail) is not None:
        password = loaded.secret(mail.password, "alerts.mail.password") if mail.password is not None else ""
        server = Server(mail.host, mail.port, mail.security, mail.user, password)
        yield MailSink(server, mail.sender, mail.recipients)
    if (webhook := alerts.webhook) is not None:
        yield WebhookSink(webhook.url, loaded.secret(webhook.secret, "alerts.webhook.secret"))


def deliver(app: Any, outbox: Outbox, each: list[Sink]) -> None:
    """Each alert once to each sink. After a crash the last one may come twice: its id is the same."""
    delivered = table(app, "delivered")
    for sink in each:
        _deliver_to(app, outbox, sink, delivered)

    @app.timer(SWEEP_SECONDS)  # type: ignore[untyped-decorator]
    async def forget() -> None:
        oldest = time.time_ns() // 1000 - KEPT_US
        for key in [key for key, delivered_us in delivered.items() if delivered_us < oldest]:
            del delivered[key]


def _deliver_to(app: Any, outbox: Outbox, sink: Sink, delivered: Any) -> None:
    async def handle(alert: Alert, _: Any) -> None:
        key, now_us = f"{sink.name}:{alert.alert_id}", time.time_ns() // 1000
        if key in delivered or now_us - alert.time_us > AGE_MAX_US or alert.rule == _rule(sink.name):
            return  # that this very sink fails wouldn't get through either
        try:
            await sink.deliver(alert)
        except DeliveryError as error:
            _log.error("%s", error)
            await outbox.detected(undelivered(alert, sink.name, now_us), alert=True)
        delivered[key] = now_us

    consume(app, "taprail.alerts", f"deliver-{sink.name}", Alert, handle, outbox.dead_letter)


def undelivered(alert: Alert, sink: str, now_us: int) -> Detection:
    """Told by the other sinks, and kept: nobody may believe that an alert was seen that wasn't."""
    return incident(
        _rule(sink),
        alert.alert_id,
        time_us=now_us,
        severity="high",
        title=f"an alert could not be delivered to {sink}",
        summary=f"{alert.alert_id}: {alert.title}. The agents' log says why.",
        record=sink,
        environment=alert.environment,
        server=alert.server,
        database=alert.database,
    )


def _rule(sink: str) -> str:
    return f"alert-undelivered-{sink}"
