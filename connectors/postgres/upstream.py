"""How the tap signs in at the server, as the role that it acts with for a client.

Source: PostgreSQL documentation, chapters 54.2.1 "Start-up", 54.2.10 "SSL", 54.3 "SASL Authentication".
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable

import scramp
from msgspec import Struct, field

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from taprail.connectors.postgres.channel import Channel, connect
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.listener import keep_alive
from taprail.connectors.postgres.scram import SCRAM
from taprail.connectors.postgres.tls import ALPN, check_alpn
from taprail.schemas.errors import ProtocolError, RefusedError
from taprail.schemas.guard import Durability

_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
_ITERATIONS_MAX = 1_000_000  # about a second; PostgreSQL's own are 4096
# What a server that can't look, and a pooler that knows no such parameter, answer.
_CANNOT_LOOK = ("22023", "08P01")
_PASSED_ON = ("22", "3D", "42", "53", "55", "57")  # a setting's value, no such database, too many connections, ...


class Target(Struct, frozen=True):
    """Where a session goes, and as whom. `ssl` None speaks in the clear; otherwise the server must speak TLS.

    environment, server, database   the names that records carry
    upstream_database               the database's name on the server
    ssl_hostname                    what the certificate must name; '' takes `host`
    direct_tls                      begin with TLS, without an SSLRequest before it: servers from PostgreSQL 17 on
    durability                      what a statement's record survives before the statement runs
    grant                           what was given for a time, and the role stands on; '' for nothing
    minor                           newest minor version of protocol 3 that is asked for; older servers negotiate 3.0
    """

    environment: str
    server: str
    database: str
    host: str
    port: int
    upstream_database: str
    role: str
    password: str = field(default="")
    ssl: ssl.SSLContext | None = None
    ssl_hostname: str = ""
    direct_tls: bool = False
    minor: int = startup.NEWEST_MINOR
    durability: Durability = "process"
    grant: str = ""


class Opened(Struct, frozen=True):
    """A connection that is ready for queries: what the server reported, and the key that cancels its statements."""

    channel: Channel
    settings: dict[str, str]
    pid: int
    key: bytes
    notices: tuple[bytes, ...] = ()


class ServerRefused(RefusedError):
    """The server refused the connection; `sqlstate` is its reason."""

    def __init__(self, message: str, sqlstate: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


async def open_channel(target: Target, limits: Limits) -> Channel:
    """A connection to the server, encrypted where the target asks for it. Raises ServerRefused."""
    try:
        if target.direct_tls and target.ssl is not None:
            return await _direct(target, target.ssl, limits)
        channel = await connect(target.host, target.port, limits.high_water_bytes)
    except (ssl.SSLError, ssl.CertificateError) as error:
        raise _no_tls(target, error) from error
    except OSError as error:
        text = f"the tap can't reach server {target.server}: {error.strerror or error}"
        raise ServerRefused(text, "08001", "is the server running, and does the tap's network reach it?") from error
    _keep_alive(channel, limits)
    if target.ssl is None:
        return channel
    try:
        channel.write(startup.SSL_REQUEST_PACKET)
        if await channel.exactly(1) != b"S":
            raise ServerRefused(
                f"server {target.server} doesn't speak TLS", "08001", "set its tls to disable, or enable TLS"
            )
        hostname = target.ssl_hostname or target.host
        await channel.start_tls(target.ssl, server_side=False, hostname=hostname, seconds=limits.startup_seconds)
        check_alpn(channel, required=False)
    except (OSError, ssl.SSLError) as error:
        channel.abort()
        raise _no_tls(target, error) from error
    except BaseException:
        channel.abort()
        raise
    return channel


async def _direct(target: Target, context: ssl.SSLContext, limits: Limits) -> Channel:
    """TLS from the first byte. The server must agree on PostgreSQL's protocol: another one's would be an attack."""
    channel = Channel(limits.high_water_bytes)
    await asyncio.get_running_loop().create_connection(
        lambda: channel,
        target.host,
        target.port,
        ssl=context,
        server_hostname=target.ssl_hostname or target.host,
        ssl_handshake_timeout=limits.startup_seconds,
    )
    _keep_alive(channel, limits)
    try:
        check_alpn(channel, required=True)
    except ProtocolError as error:
        channel.abort()
        raise ServerRefused(f"server {target.server} doesn't speak PostgreSQL over TLS", "08001", error.hint) from error
    return channel


def client_context(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, with PostgreSQL's ALPN: what `Target.ssl` wants."""
    context.set_alpn_protocols([ALPN])
    return context


def _no_tls(target: Target, error: Exception) -> ServerRefused:
    return ServerRefused(f"no TLS with server {target.server}: {error}", "08001", "check its certificate")


def _keep_alive(channel: Channel, limits: Limits) -> None:
    made = channel.transport.get_extra_info("socket")
    if made is not None and made.family != socket.AF_UNIX:
        keep_alive(made, limits)


async def sign_in(
    target: Target, settings: dict[str, str], limits: Limits, told: Callable[[int], dict[str, str]] | None = None
) -> Opened:
    """Connect and sign in. Raises ServerRefused, ProtocolError. `settings` go along as start-up parameters.

    `told` makes more of them from the connection's own TCP port (0 over a Unix socket), which the server sees, too.
    As start-up parameters they are also what RESET and DISCARD ALL go back to.

    The server is asked to look whether the tap is still there while a statement runs: one that refuses to be cancelled
    would run on, and commit, after its session has ended. Not every system can, and not every pooler lets it.
    """
    try:
        return await _sign_in(target, {**startup.LOOKS_FOR_CLIENT, **settings}, limits, told)
    except ServerRefused as error:
        if error.sqlstate not in _CANNOT_LOOK:
            raise
    return await _sign_in(target, settings, limits, told)


async def _sign_in(
    target: Target, settings: dict[str, str], limits: Limits, told: Callable[[int], dict[str, str]] | None
) -> Opened:
    channel = await open_channel(target, limits)
    try:
        own = channel.transport.get_extra_info("sockname")
        more = told(int(own[1]) if isinstance(own, tuple) else 0) if told is not None else {}
        who = {"user": target.role, "database": target.upstream_database}
        parameters = {**who, **settings, **more, **startup.PINNED_SETTINGS}
        channel.write(startup.startup_packet(parameters, target.minor))
        await _authenticate(channel, target, limits)
        return await _until_ready(channel, target, limits)
    except ConnectionError as error:
        channel.abort()
        raise ServerRefused(f"server {target.server} closed the connection during sign-in", "08004") from error
    except BaseException:
        channel.abort()
        raise


async def _authenticate(channel: Channel, target: Target, limits: Limits) -> None:
    while True:
        kind, body = await channel.message(limits.answer_bytes)
        if kind == wire.ERROR:
            raise _refused(target, body)
        if kind == wire.NOTICE:
            continue
        if kind == wire.NEGOTIATE:
            _negotiated(target, body)
            continue
        if kind != wire.AUTHENTICATION:
            raise ProtocolError(f"the server sent message {chr(kind)!r} during sign-in")
        reader = wire.Reader(body, "Authentication")
        code, rest = reader.int32(), reader.rest()
        if code == _OK:
            return
        if code == _CLEARTEXT:
            if target.ssl is None:
                raise ServerRefused(
                    f"server {target.server} asks for a password in the clear", "08004", "use scram-sha-256"
                )
            _password(channel, target.password.encode() + b"\0")
        elif code == _MD5:
            _password(channel, md5_response(target, rest) + b"\0")
        elif code == _SASL:
            await _scram(channel, target, rest, limits)
        else:
            raise ServerRefused(
                f"server {target.server} asks for authentication {code}, which isn't known here", "08004"
            )


def _negotiated(target: Target, body: bytes) -> None:
    """The server speaks an older minor version. Raises ProtocolError where it wants anything else (libpq does, too)."""
    reader = wire.Reader(body, "NegotiateProtocolVersion")
    version, unknown = reader.int32(), reader.int32()
    if not startup.VERSION_3 <= version <= startup.VERSION_3 | target.minor or unknown:
        raise ProtocolError(f"server {target.server} negotiates protocol {version >> 16}.{version & 0xFFFF}")


def _password(channel: Channel, body: bytes) -> None:
    channel.write(wire.message(wire.PASSWORD, body))


def md5_response(target: Target, salt: bytes) -> bytes:
    """`md5` and the hex of md5(hex of md5(password, user), salt): chapter 54.2.1."""
    inner = hashlib.md5(target.password.encode() + target.role.encode(), usedforsecurity=False).hexdigest()
    return b"md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest().encode()


async def _scram(channel: Channel, target: Target, mechanisms: bytes, limits: Limits) -> None:
    if SCRAM.encode() not in mechanisms.split(b"\0"):
        raise ServerRefused(f"server {target.server} doesn't offer {SCRAM}", "08004")
    client = scramp.ScramClient([SCRAM], "-", target.password)  # PostgreSQL ignores the name inside SCRAM
    first = client.get_client_first().encode()
    _password(channel, SCRAM.encode() + b"\0" + len(first).to_bytes(4, "big") + first)
    try:
        client.set_server_first((await _sasl(channel, target, _SASL_CONTINUE, limits)).decode())
        if int(client.iterations) > _ITERATIONS_MAX:
            raise ServerRefused(f"server {target.server} asks for {client.iterations} iterations of SCRAM", "08004")
        final = await asyncio.to_thread(client.get_client_final)  # milliseconds of hashing, which others don't wait for
        _password(channel, final.encode())
        client.set_server_final((await _sasl(channel, target, _SASL_FINAL, limits)).decode())
    except (scramp.ScramException, UnicodeDecodeError) as error:
        raise ServerRefused(f"server {target.server} doesn't know the role's password: {error}", "08004") from error


async def _sasl(channel: Channel, target: Target, expected: int, limits: Limits) -> bytes:
    kind, body = await channel.message(limits.answer_bytes)
    if kind == wire.ERROR:
        raise _refused(target, body)
    reader = wire.Reader(body, "AuthenticationSASL")
    if kind != wire.AUTHENTICATION or reader.int32() != expected:
        raise ProtocolError("the server left the SASL exchange")
    return reader.rest()


async def _until_ready(channel: Channel, target: Target, limits: Limits) -> Opened:
    settings: dict[str, str] = {}
    notices: list[bytes] = []
    pid, key = 0, b""
    while True:
        kind, body = await channel.message(limits.answer_bytes)
        if kind == wire.PARAMETER_STATUS:
            name, value = wire.parse_parameter_status(body)
            settings[name] = value
        elif kind == wire.BACKEND_KEY:
            pid, key = int.from_bytes(body[:4], "big"), body[4:]
        elif kind == wire.NOTICE:
            notices.append(wire.message(kind, body))
        elif kind == wire.ERROR:
            raise _refused(target, body)
        elif kind == wire.READY:
            break
        else:
            raise ProtocolError(f"the server sent message {chr(kind)!r} before it was ready")
    for name, value in startup.PINNED_SETTINGS.items():
        if not startup.same_as_pinned(name, settings.get(name, "")):
            raise ServerRefused(f"server {target.server} has {name} {settings.get(name)!r}, not {value!r}", "0A000")
    return Opened(channel, settings, pid, key, tuple(notices))


def _refused(target: Target, body: bytes) -> ServerRefused:
    """What a client may know: the server's own words where they speak of the database, not of the role's password."""
    fields = wire.parse_fields(body)
    sqlstate = fields.get("C", "08004")
    if sqlstate[:2] in _PASSED_ON or sqlstate in _CANNOT_LOOK:
        return ServerRefused(fields.get("M", "the server refused the connection"), sqlstate, fields.get("H", ""))
    text = f"server {target.server} refused the tap's role {target.role} (SQLSTATE {sqlstate})"
    return ServerRefused(text, "08004", "check the role and its password in the tap's settings")


async def send_cancel(target: Target, pid: int, key: bytes, limits: Limits) -> None:
    """Ask the server to cancel what runs under this key. The server never answers; it closes."""
    channel = await open_channel(target, limits)
    channel.write(startup.cancel_packet(pid, key))
    try:
        await channel.exactly(1)
    except ConnectionError:
        pass
    finally:
        channel.close()
