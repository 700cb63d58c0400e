"""One TCP connection: read step by step during sign-in, then pushed to a sink as bytes arrive.

What arrives before somebody reads is kept, and reading pauses above a bound: uvloop doesn't hold data back when
`pause_reading` is called from `connection_made`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from taprail.connectors.postgres.limits import KIB
from taprail.schemas.errors import ProtocolError

_EARLY_BYTES = 256 * KIB


class Channel(asyncio.Protocol):
    """`relay` ends the step-by-step phase. `sink` gets bytes, `lost` is called once, `flow` on back-pressure."""

    def __init__(self, high_water_bytes: int) -> None:
        self._high_water = high_water_bytes
        self._early = bytearray()
        self._wake: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._lost: Callable[[], None] | None = None
        self._flow: Callable[[bool], None] | None = None
        self._reading = True
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.connected = asyncio.get_running_loop().create_future()
        self.closed = False
        self.full = False  # the peer doesn't take what is written

    # asyncio.Protocol -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._use(cast(asyncio.Transport, transport))
        if not self.connected.done():
            self.connected.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink(data)
            return
        self._early += data
        if len(self._early) > _EARLY_BYTES:
            self.read(False)
        self._notify()

    def eof_received(self) -> bool:
        return False  # close: PostgreSQL clients say goodbye with Terminate

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._notify()
        if self._lost is not None:
            self._lost()

    def pause_writing(self) -> None:
        self.full = True
        if self._flow is not None:
            self._flow(True)

    def resume_writing(self) -> None:
        self.full = False
        self._notify()
        if self._flow is not None:
            self._flow(False)

    # Step by step ---------------------------------------------------------------------------------------------------

    @property
    def early(self) -> int:
        """Bytes that arrived and weren't read."""
        return len(self._early)

    @property
    def encrypted(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    async def exactly(self, count: int) -> bytes:
        """The next bytes. Raises ConnectionResetError where the peer closes before."""
        while len(self._early) < count:
            if self.closed:
                raise ConnectionResetError("the peer closed the connection during sign-in")
            self.read(True)
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        found = bytes(self._early[:count])
        del self._early[:count]
        return found

    async def message(self, largest: int) -> tuple[int, bytes]:
        """The next message, (type, body). Raises ProtocolError above `largest` bytes."""
        head = await self.exactly(5)
        length = int.from_bytes(head[1:], "big")
        if not 4 <= length <= largest:
            raise ProtocolError(
                f"message {chr(head[0])!r} says its length is {length}, at most {largest} is possible here"
            )
        return head[0], await self.exactly(length - 4)

    def write(self, data: bytes) -> None:
        if data and not self.closed:
            self.transport.write(data)

    async def start_tls(
        self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None, seconds: float
    ) -> None:
        """Encrypt from here on. Raises ProtocolError where the peer has already sent something in the clear."""
        if self._early:
            raise ProtocolError("bytes in the clear came before TLS", hint="somebody may be injecting them")
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(
            self.transport,
            self,
            context,
            server_side=server_side,
            server_hostname=hostname,
            ssl_handshake_timeout=seconds,
        )
        if transport is None:
            raise ConnectionResetError("the peer closed the connection during the TLS handshake")
        self._use(transport)

    # Relay ----------------------------------------------------------------------------------------------------------

    def relay(self, sink: Callable[[bytes], None], lost: Callable[[], None], flow: Callable[[bool], None]) -> None:
        """From now on bytes go to `sink`; what waits goes there first."""
        self._sink, self._lost, self._flow = sink, lost, flow
        early = bytes(self._early)
        self._early.clear()
        if self.closed:
            lost()
        elif early:
            sink(early)

    def read(self, wanted: bool) -> None:
        """Take bytes from the peer, or leave them in its hands."""
        if wanted != self._reading and not self.closed and not self.transport.is_closing():
            self._reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def close(self) -> None:
        """Send what is written, then close."""
        if not self.closed:
            self.transport.close()

    def abort(self) -> None:
        if not self.closed:
            self.transport.abort()

    def _use(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=self._high_water)

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


async def connect(host: str, port: int, high_water_bytes: int) -> Channel:
    """A connection to a server, over TCP; a `host` that begins with a slash is the directory of its Unix socket."""
    loop = asyncio.get_running_loop()

    def made() -> Channel:
        return Channel(high_water_bytes)

    if host.startswith("/"):
        _, channel = await loop.create_unix_connection(made, f"{host}/.s.PGSQL.{port}")
    else:
        _, channel = await loop.create_connection(made, host, port)
    return channel
