"""Alerts by e-mail, in plain text. Sources: RFC 5322, RFC 6409 (submission), RFC 8314 (TLS)."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Literal

from msgspec import Struct

from taprail.connectors.retry import Busy, DeliveryError, Retry, with_retry
from taprail.schemas.records import Alert

SUBJECT_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 20_000
SECONDS_MAX = 15.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROL = dict.fromkeys((*range(32), 127, 133, 8232, 8233), " ")


class Server(Struct, frozen=True):
    """`user` '' signs in as nobody. `context` None takes the system's certificates."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""
    context: ssl.SSLContext | None = None


def render(alert: Alert, sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """The message. Its id is the alert's, so that a repetition is recognised; nothing in it can add a header."""
    message = EmailMessage()
    message["From"], message["To"] = sender, ", ".join(recipients)
    message["Subject"] = _line(f"[taprail] {alert.severity}: {alert.title}")[:SUBJECT_CHARACTERS_MAX]
    domain = sender.rpartition("@")[2] or "taprail.invalid"
    identifier = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else f"={ord(c):x}" for c in alert.alert_id)
    message["Message-ID"] = f"<{identifier[:200]}@{domain}>" if identifier else make_msgid(domain=domain)
    message["Date"] = _moment(alert.time_us)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    where = f"{alert.database} ({alert.environment})"
    facts = {"Where": where, "Who": alert.person, "Statement": alert.statement, "Rule": alert.rule}
    lines = [alert.summary.strip() or "—", "", *(f"{name}: {_line(said)}" for name, said in facts.items() if said)]
    if alert.link.startswith(("https://", "http://")):
        lines += ["", f"Act on it: {_line(alert.link)}"]
    message.set_content("\n".join(lines)[:TEXT_CHARACTERS_MAX] + "\n")
    return message


def _moment(time_us: int) -> str:
    """In the form of RFC 5322; now, for a time that no calendar has."""
    try:
        return format_datetime(EPOCH + timedelta(microseconds=time_us))
    except OverflowError:
        return format_datetime(datetime.now(UTC))


def _line(text: str) -> str:
    return " ".join(text.translate(_CONTROL).split())


class MailSink:
    name = "mail"

    def __init__(self, server: Server, sender: str, recipients: tuple[str, ...], retry: Retry | None = None) -> None:
        self._server, self._sender, self._recipients = server, sender, recipients
        self._retry = retry or Retry()

    async def deliver(self, alert: Alert) -> None:
        """Raises DeliveryError where the server refuses it for good, or doesn't answer for long."""
        message = render(alert, self._sender, self._recipients)

        async def attempt() -> None:
            await asyncio.to_thread(_send, self._server, message, alert.alert_id)

        await with_retry(attempt, self._retry, f"alert {alert.alert_id} by mail")


def _send(server: Server, message: EmailMessage, alert_id: str) -> None:
    context = server.context or ssl.create_default_context()
    try:
        with _connected(server, context) as smtp:
            if server.security == "starttls":
                smtp.starttls(context=context)
            if server.user:
                smtp.login(server.user, server.password)
            refused = smtp.send_message(message)
    except smtplib.SMTPResponseException as error:
        raise _judged(error.smtp_code, error.smtp_error, alert_id) from error
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise _judged(code, said, alert_id) from error
    except smtplib.SMTPNotSupportedError as error:
        raise DeliveryError(
            f"alert {alert_id}: {error}", hint="does the server speak TLS, and let you sign in?"
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        raise Busy(f"{type(error).__name__}: {error}") from error
    if refused:
        who = ", ".join(sorted(refused))
        raise DeliveryError(f"alert {alert_id} was refused for {who}", hint="correct alerts.mail.recipients")


def _connected(server: Server, context: ssl.SSLContext) -> smtplib.SMTP:
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=SECONDS_MAX, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=SECONDS_MAX)


def _judged(code: int, said: bytes | str, alert_id: str) -> Exception:
    """4yz may pass, 5yz won't (RFC 5321, 4.2.1)."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    if code < 500:
        return Busy(f"status {code}: {text[:200]}")
    return DeliveryError(
        f"alert {alert_id} was refused by the mail server: {code} {text[:200]!r}", hint="check alerts.mail"
    )
