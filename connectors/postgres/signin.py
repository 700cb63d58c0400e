"""How a client signs in at the tap: with an access token as its password, or with SCRAM-SHA-256.

Source: PostgreSQL documentation, chapters 54.2.1 "Start-up" and 54.3 "SASL Authentication"; RFC 5802, RFC 7677.
Who may sign in is decided by an `Authenticator`, which the composition root passes in.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import ssl
from typing import Literal, Protocol

import scramp
from msgspec import Struct

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from taprail.connectors.postgres.channel import Channel
from taprail.connectors.postgres.limits import Limits
from taprail.schemas.errors import ProtocolError, RefusedError
from taprail.schemas.records import Person

SCRAM = "SCRAM-SHA-256"
_OK, _CLEARTEXT, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 10, 11, 12
_FAKE_KEY = os.urandom(32)  # an unknown user gets a challenge like any other, the same one every time


class Login(Struct, frozen=True):
    """Who asks to come in. Nothing of it is proven yet.

    listener      name of the address that the connection came in on
    server_name   the host name that the client asked for with SNI, in lower case; '' for none
    unix          the connection is a Unix socket's: nobody else can listen, so a token may come in the clear
    """

    user: str
    database: str
    application: str
    client_address: str
    encrypted: bool
    listener: str = ""
    server_name: str = ""
    unix: bool = False


class Identity(Struct, frozen=True):
    """Who it is. `purpose` is what the access is for, where the token or the grant says so."""

    person: Person
    method: Literal["oidc", "scram", "none"]
    purpose: str = ""


class ScramSecret(Struct, frozen=True):
    """What a verifier of SCRAM-SHA-256 keeps of a password (RFC 5802, section 3)."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


class Authenticator(Protocol):
    """Decides who may sign in; every method may raise RefusedError, whose message the client sees."""

    def method(self, login: Login) -> Literal["token", "scram", "none"]:
        """How this user proves who it is."""
        ...

    async def token(self, login: Login, token: str) -> Identity:
        """Verify an access token that came as the password."""
        ...

    def secret(self, login: Login) -> ScramSecret | None:
        """The verifier of a user who signs in with SCRAM, None for a user that doesn't exist."""
        ...

    def identity(self, login: Login) -> Identity:
        """Who the user is, after SCRAM has proven it, or where no proof is asked for."""
        ...


async def first_packet(
    channel: Channel, limits: Limits, tls: ssl.SSLContext | None
) -> startup.CancelRequest | startup.StartupMessage:
    """Answer requests for encryption, each at most once, until the client says what it wants. Raises ProtocolError."""
    asked: set[type] = set()
    while True:
        length = startup.packet_length(await channel.exactly(4), limits.startup_bytes)
        packet = startup.parse_packet(await channel.exactly(length - 4))
        if isinstance(packet, startup.CancelRequest | startup.StartupMessage):
            return packet
        if type(packet) in asked or channel.encrypted:
            raise ProtocolError("the client asks for encryption again")
        asked.add(type(packet))
        if channel.early:
            raise ProtocolError("bytes in the clear came before TLS", hint="somebody may be injecting them")
        if isinstance(packet, startup.SslRequest) and tls is not None:
            channel.write(b"S")
            await channel.start_tls(tls, server_side=True, hostname=None, seconds=limits.startup_seconds)
        else:
            channel.write(b"N")


async def authenticate(
    channel: Channel, login: Login, authenticator: Authenticator, limits: Limits, *, plaintext_tokens: bool
) -> Identity:
    """Ask for the proof and check it. Raises RefusedError or ProtocolError; AuthenticationOk isn't sent here."""
    method = authenticator.method(login)
    if method == "none":
        return authenticator.identity(login)
    if method == "scram":
        await _scram(channel, authenticator.secret(login), login, limits)
        return authenticator.identity(login)
    if not (channel.encrypted or login.unix or plaintext_tokens):
        raise RefusedError("an access token needs TLS", hint="connect with sslmode=require or stricter")
    channel.write(wire.authentication(_CLEARTEXT))
    body = await _password_message(channel, limits)
    if not body.endswith(b"\0") or b"\0" in body[:-1]:
        raise ProtocolError("the password message is malformed")
    try:
        token = body[:-1].decode("ascii")
    except UnicodeDecodeError as error:
        raise RefusedError(
            "the password isn't an access token", hint="sign in and pass the token as password"
        ) from error
    return await authenticator.token(login, token)


async def _scram(channel: Channel, secret: ScramSecret | None, login: Login, limits: Limits) -> None:
    """The server's side of SCRAM-SHA-256. Like PostgreSQL it ignores the name inside: libpq leaves it empty."""
    channel.write(wire.authentication(_SASL, SCRAM.encode() + b"\0\0"))
    reader = wire.Reader(await _password_message(channel, limits), "SASLInitialResponse")
    mechanism, response = reader.string(), reader.take(reader.int32())
    reader.end()
    failed = RefusedError(f'password authentication failed for user "{login.user}"')
    if mechanism.decode("latin-1") != SCRAM:
        raise ProtocolError("the client chose a SASL mechanism that wasn't offered")
    known = secret or _fake_secret(login.user)
    values = (known.salt, known.stored_key, known.server_key, known.iterations)
    server = scramp.ScramMechanism(SCRAM).make_server(lambda _: values)
    try:
        header, bare = _client_first(response)
        server.set_client_first(f"{header}n=-,{bare.partition(',')[2]}")
        server.client_first_bare = bare
        channel.write(wire.authentication(_SASL_CONTINUE, server.get_server_first().encode()))
        server.set_client_final((await _password_message(channel, limits)).decode())
        final = server.get_server_final().encode()
    except (scramp.ScramException, UnicodeDecodeError) as error:
        raise failed from error
    if secret is None:
        raise failed
    channel.write(wire.authentication(_SASL_FINAL, final))


def _client_first(response: bytes) -> tuple[str, str]:
    """(GS2 header, the rest) of client-first-message. Raises ProtocolError."""
    parts = response.decode().split(",", 2)
    if len(parts) != 3 or not parts[2].startswith("n="):
        raise ProtocolError("the client's first SCRAM message is malformed")
    return f"{parts[0]},{parts[1]},", parts[2]


def _fake_secret(user: str) -> ScramSecret:
    def derived(what: str) -> bytes:
        return hmac.new(_FAKE_KEY, f"{what} {user}".encode(), hashlib.sha256).digest()

    return ScramSecret(derived("salt")[:16], derived("stored"), derived("server"), 4096)


def scram_secret(password: str, iterations: int = 4096) -> ScramSecret:
    """Derive what to keep of a password, with a random salt."""
    salt, stored_key, server_key, count = scramp.ScramMechanism(SCRAM).make_auth_info(password, iterations)
    return ScramSecret(salt, stored_key, server_key, count)


async def _password_message(channel: Channel, limits: Limits) -> bytes:
    kind, body = await channel.message(limits.password_bytes)
    if kind != wire.PASSWORD:
        raise ProtocolError(f"the client sent message {chr(kind)!r} where its password was asked for")
    return body
