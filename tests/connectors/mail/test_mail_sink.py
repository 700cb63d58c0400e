"""Alerts by e-mail, to a real SMTP server: whatever is in an alert, it arrives as one message to whom it is for."""

from __future__ import annotations

import asyncio
import email.policy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from hypothesis import given

from taprail.connectors.mail import MailSink, Server, render
from taprail.connectors.retry import DeliveryError, Retry
from taprail.schemas.records import Alert
from tests.fakes.alerts import alert, alerts
from tests.fakes.certificates import certificate

SENDER, OWNERS = "taprail@example.com", ("owners@example.com", "security@example.com")
QUICK = Retry(attempts=3, first_s=0.001, most_s=0.01)


class Mailbox:
    """What arrived; `say` answers the next messages instead."""

    def __init__(self) -> None:
        self.arrived: list[tuple[list[str], EmailMessage]] = []
        self.say: list[str] = []
        self.unknown = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address == self.unknown:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.say:
            return self.say.pop(0)
        message = BytesParser(policy=email.policy.default).parsebytes(envelope.content)
        self.arrived.append((envelope.rcpt_tos, message))
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@asynccontextmanager
async def serving(mailbox: Mailbox, **options: Any) -> AsyncIterator[int]:
    """Its port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest_asyncio.fixture
async def plain(mailbox: Mailbox) -> AsyncIterator[Server]:
    async with serving(mailbox) as port:
        yield Server("127.0.0.1", port, "none")


def sink(server: Server, recipients: tuple[str, ...] = OWNERS) -> MailSink:
    return MailSink(server, SENDER, recipients, QUICK)


async def test_it_says_who_what_where_and_carries_the_link(mailbox: Mailbox, plain: Server) -> None:
    told = alert(link="https://taprail.example/approvals/tap-1-7-42", severity="critical")
    await sink(plain).deliver(told)
    ((recipients, message),) = mailbox.arrived
    assert recipients == list(OWNERS)
    assert message["Subject"] == f"[taprail] critical: {told.title}"
    assert (message["From"], message["To"]) == (SENDER, ", ".join(OWNERS))
    assert message["Message-ID"] == f"<{told.alert_id}@example.com>"
    assert message["Date"].datetime == datetime.fromtimestamp(told.time_us // 1_000_000, UTC)
    text = message.get_content()
    for part in (told.summary, "Where: shop (prod)", "Who: ann", "Statement: tap-1/7/42", told.link):
        assert part in text


@given(alerts())
def test_nothing_in_an_alert_adds_a_header_or_breaks_the_message(any_alert: Alert) -> None:
    message = render(any_alert, SENDER, OWNERS)
    parsed = BytesParser(policy=email.policy.default).parsebytes(message.as_bytes(policy=email.policy.SMTP))
    expected = {"From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted"}
    assert set(parsed.keys()) == expected | {"Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
    assert parsed["To"] == ", ".join(OWNERS)
    assert not parsed.is_multipart()


async def test_what_may_pass_is_tried_again(mailbox: Mailbox, plain: Server) -> None:
    mailbox.say = ["451 4.3.0 try later", "421 4.3.2 shutting down"]
    await sink(plain).deliver(alert())
    assert len(mailbox.arrived) == 1


async def test_what_is_refused_for_good_is_said_at_once(mailbox: Mailbox, plain: Server) -> None:
    mailbox.say = ["554 5.7.1 no", "250 OK"]
    with pytest.raises(DeliveryError, match="554"):
        await sink(plain).deliver(alert())
    assert mailbox.say == ["250 OK"], "it isn't tried again"


async def test_one_address_that_is_none_is_said_and_the_others_have_it(mailbox: Mailbox, plain: Server) -> None:
    mailbox.unknown = OWNERS[0]
    with pytest.raises(DeliveryError, match=f"refused for {OWNERS[0]}"):
        await sink(plain).deliver(alert())
    assert [recipients for recipients, _ in mailbox.arrived] == [[OWNERS[1]]]
    with pytest.raises(DeliveryError, match="550"):
        await sink(plain, OWNERS[:1]).deliver(alert())


async def test_a_server_that_is_not_there_is_said(plain: Server) -> None:
    with pytest.raises(DeliveryError):
        await sink(Server("127.0.0.1", 1, "none")).deliver(alert())


async def test_without_tls_where_it_is_asked_for_nothing_is_sent(mailbox: Mailbox, plain: Server) -> None:
    with pytest.raises(DeliveryError, match="STARTTLS"):
        await sink(Server(plain.host, plain.port, "starttls", "ann", "secret")).deliver(alert())
    assert mailbox.arrived == []


async def test_over_tls_it_signs_in_and_a_certificate_of_nobody_is_refused(mailbox: Mailbox, tmp_path: Path) -> None:
    signed_in: list[LoginPassword] = []

    def authenticator(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        signed_in.append(data)
        return AuthResult(success=data.password == b"secret", handled=False)

    context = certificate(tmp_path, "localhost")
    ours = ssl.create_default_context(cafile=str(tmp_path / "localhost.pem"))
    options = {"tls_context": context, "require_starttls": True, "auth_required": True}
    async with serving(mailbox, authenticator=authenticator, **options) as port:
        await sink(Server("localhost", port, "starttls", "taprail", "secret", ours)).deliver(alert())
        assert len(mailbox.arrived) == 1 and signed_in[-1].login == b"taprail"
        with pytest.raises(DeliveryError, match="535"):
            await sink(Server("localhost", port, "starttls", "taprail", "wrong", ours)).deliver(alert())
        with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
            await sink(Server("localhost", port, "starttls", "taprail", "secret")).deliver(alert())
        assert len(mailbox.arrived) == 1
