"""TLS as PostgreSQL speaks it: ALPN, the name that a client asked for (SNI), and a certificate for each name.

Source: PostgreSQL documentation, chapter 54.2.10 "SSL Session Encryption"; RFC 7301 (ALPN), RFC 6066 (SNI).
Channel binding (SCRAM-SHA-256-PLUS) isn't offered: it proves that nobody stands between client and server, and a tap
does, on purpose. A client gets the same protection from the tap's certificate with `sslmode=verify-full`; one that
insists on channel binding says so and ends.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TypeVar
from weakref import WeakKeyDictionary

from taprail.connectors.postgres.channel import Channel
from taprail.schemas.errors import ProtocolError

Value = TypeVar("Value")
ALPN = "postgresql"  # registered with IANA; without it a server of another protocol could stand in (ALPACA)


class ServerTls:
    """What a listener encrypts with: one context, and others for the names of SNI (`*.example.com` fits one label).

    A context belongs to one ServerTls: this sets its ALPN and its SNI callback.
    """

    def __init__(self, context: ssl.SSLContext, by_name: Mapping[str, ssl.SSLContext] | None = None) -> None:
        self.context = context
        self._by_name = {name.lower(): other for name, other in (by_name or {}).items()}
        self._asked: WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, str] = WeakKeyDictionary()
        for each in (context, *self._by_name.values()):
            each.set_alpn_protocols([ALPN])
            # As PostgreSQL: no client resumes a session, so none is kept for it; renegotiation is an old attack's door.
            each.num_tickets = 0
            each.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.sni_callback = self._take

    def asked(self, channel: Channel) -> str:
        """The host name that the client sent with SNI, in lower case; '' for none."""
        made = channel.transport.get_extra_info("ssl_object")
        return "" if made is None else self._asked.get(made, "")

    def _take(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        self._asked[connection] = name.lower()
        if (other := by_host(self._by_name, name)) is not None:
            connection.context = other


def by_host(table: Mapping[str, Value], host: str) -> Value | None:
    """What stands under a host name, or else under `*.` and its parent: RFC 9525, section 6.3."""
    host = host.lower().rstrip(".")
    exact = table.get(host)
    return exact if exact is not None else table.get(f"*.{host.partition('.')[2]}")


def check_alpn(channel: Channel, *, required: bool) -> None:
    """Raises ProtocolError where TLS was agreed on for another protocol; a direct start must name ours."""
    made = channel.transport.get_extra_info("ssl_object")
    agreed = made.selected_alpn_protocol() if made is not None else None
    if agreed not in ((ALPN,) if required else (ALPN, None)):
        raise ProtocolError(
            f"TLS begins at once, but not for the protocol {ALPN!r} (ALPN)",
            hint="use sslnegotiation=postgres, or a client that sends ALPN",
        )
