"""Who is told of alerts, and how: Slack, PagerDuty, a webhook, e-mail."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from taprail.schemas.errors import SettingsError
from taprail.streams.settings_base import Port, SecretRef, Section

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Slack(Section, frozen=True, kw_only=True):
    token: Annotated[SecretRef, Meta(description="Bot token with `chat:write`.")]
    channel: Annotated[str, Meta(description="Channel id.")]
    url: Annotated[str, Meta(description="Another address of the Web API.")] = "https://slack.com/api/"
    signing_secret: Annotated[
        SecretRef | None,
        Meta(
            description="The app's signing secret: messages then have buttons to decide with. Slack's requests go to "
            "`/slack/interactions` of the approvals page; the token needs `users:read` and `users:read.email`, too."
        ),
    ] = None
    team: Annotated[str, Meta(description="Id of the workspace whose members may decide; needed with buttons.")] = ""


class PagerDuty(Section, frozen=True, kw_only=True):
    routing_key: Annotated[SecretRef, Meta(description="Integration key of an Events API v2 service.")]
    url: Annotated[str, Meta(description="Another address of the Events API.")] = (
        "https://events.pagerduty.com/v2/enqueue"
    )


class Webhook(Section, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Where alerts are POSTed, signed.")]
    secret: Annotated[
        SecretRef,
        Meta(description="Key of the HMAC-SHA256 signature, at least 24 bytes; `whsec_` and base64, or as it is."),
    ]


class Mail(Section, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="The mail server.")]
    port: Annotated[Port, Meta(description="Its port for submission.")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(description="How it is encrypted; `none` only on loopback."),
    ] = "starttls"
    user: Annotated[str, Meta(description="Whom to sign in as; empty: nobody.")] = ""
    password: Annotated[SecretRef | None, Meta(description="The password.")] = None
    sender: Annotated[str, Meta(description="The address that messages come from.")]
    recipients: Annotated[tuple[str, ...], Meta(min_length=1, description="Who gets every alert.")]


class Alerts(Section, frozen=True, kw_only=True):
    slack: Annotated[Slack | None, Meta(description="Slack.")] = None
    pagerduty: Annotated[PagerDuty | None, Meta(description="PagerDuty.")] = None
    webhook: Annotated[Webhook | None, Meta(description="A webhook of your own.")] = None
    mail: Annotated[Mail | None, Meta(description="E-mail.")] = None


def check_alerts(alerts: Alerts) -> None:
    """What types can't say. Raises SettingsError."""
    slack, mail = alerts.slack, alerts.mail
    if slack is not None and slack.signing_secret is not None and not slack.team:
        raise SettingsError("alerts.slack.team is needed to decide in Slack", hint="the id of your workspace: T…")
    if mail is not None and mail.security == "none" and mail.host not in LOOPBACK:
        raise SettingsError("alerts.mail.security is none beyond loopback", hint="`starttls` or `tls`")
    if mail is not None and bool(mail.user) != (mail.password is not None):
        raise SettingsError("alerts.mail.user and .password go together", hint="give both, or neither")
