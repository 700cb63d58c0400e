"""How a client signs in at the tap: an access token (as the password, or by OAUTHBEARER), SCRAM, or a certificate.

Source: PostgreSQL documentation, chapters 54.2.1 "Start-up" and 54.3 "SASL Authentication".
Who may sign in is decided by an `Authenticator`, which the composition root passes in.
"""

from __future__ import annotations

import ssl
from typing import Literal, Protocol

from msgspec import Struct

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import oauth, scram, startup
from taprail.connectors.postgres.channel import Channel
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.scram import SCRAM, ScramSecret
from taprail.schemas.errors import ProtocolError, RefusedError
from taprail.schemas.records import Person

Method = Literal["token", "oauth", "scram", "certificate", "none"]
_CLEARTEXT, _SASL, _SASL_CONTINUE, _SASL_FINAL = 3, 10, 11, 12


class Login(Struct, frozen=True):
    """Who asks to come in. Nothing of it is proven yet, but for the certificate.

    listener      name of the address that the connection came in on
    server_name   the host name that the client asked for with SNI, in lower case; '' for none
    unix          the connection is a Unix socket's: nobody else can listen, so a token may come in the clear
    certificate   names in the client's certificate, which TLS has verified: see `certificates.names_in`
    certificate_expires_us
                  when that certificate ends, microseconds since 1970 UTC
    certificate_fingerprint
                  which certificate it is: see `certificates.fingerprint`
    """

    user: str
    database: str
    application: str
    client_address: str
    encrypted: bool
    listener: str = ""
    server_name: str = ""
    unix: bool = False
    certificate: tuple[str, ...] = ()
    certificate_expires_us: int = 0
    certificate_fingerprint: str = ""


class Identity(Struct, frozen=True):
    """Who it is.

    purpose     what the access is for, where the token or the grant says so
    expires_us  when the proof ends and the session with it, microseconds since 1970 UTC; 0 for never
    device      which device it came from, as far as the proof says; '' where it doesn't
    """

    person: Person
    method: Literal["oidc", "scram", "certificate", "none"]
    purpose: str = ""
    expires_us: int = 0
    device: str = ""


class Authenticator(Protocol):
    """Decides who may sign in; every method may raise RefusedError, whose message the client sees."""

    def method(self, login: Login) -> Method:
        """How this user proves who it is."""
        ...

    async def token(self, login: Login, token: str) -> Identity:
        """Verify an access token."""
        ...

    def offer(self, login: Login) -> oauth.Offer:
        """Where a client that has no token gets one."""
        ...

    def secret(self, login: Login) -> ScramSecret | None:
        """The verifier of a user who signs in with SCRAM, None for a user that doesn't exist."""
        ...

    def identity(self, login: Login) -> Identity:
        """Who the user is, after SCRAM or TLS has proven it, or where no proof is asked for."""
        ...

    async def speaks_for(self, login: Login, identity: Identity, statement: str) -> Identity:
        """Verify a signed statement that somebody else acts in this session; who acts."""
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
    if method in ("none", "certificate"):
        return authenticator.identity(login)
    if method == "scram":
        await _scram(channel, authenticator.secret(login), login, limits)
        return authenticator.identity(login)
    if not (channel.encrypted or login.unix or plaintext_tokens):
        raise RefusedError("an access token needs TLS", hint="connect with sslmode=require or stricter")
    if method == "oauth":
        return await _oauth(channel, login, authenticator, limits)
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


async def _oauth(channel: Channel, login: Login, authenticator: Authenticator, limits: Limits) -> Identity:
    """OAUTHBEARER. Raises Discovered where the client had no token and now knows where to get one."""
    token = oauth.bearer_token(await _initial_response(channel, oauth.OAUTHBEARER, limits))
    reason: RefusedError | oauth.Discovered = oauth.Discovered(
        "an access token is needed", hint="the client that asked for its address comes back with one"
    )
    if token:
        try:
            return await authenticator.token(login, token)
        except RefusedError as error:
            reason = error
    channel.write(wire.authentication(_SASL_CONTINUE, oauth.refusal(authenticator.offer(login))))
    if await _password_message(channel, limits) != oauth.KVSEP:
        raise ProtocolError("the client goes on after OAUTHBEARER has failed")
    raise reason


async def _scram(channel: Channel, secret: ScramSecret | None, login: Login, limits: Limits) -> None:
    async def ask(challenge: bytes) -> bytes:
        channel.write(wire.authentication(_SASL_CONTINUE, challenge))
        return await _password_message(channel, limits)

    first = await _initial_response(channel, SCRAM, limits)
    channel.write(wire.authentication(_SASL_FINAL, await scram.exchange(login.user, secret, first, ask)))


async def _initial_response(channel: Channel, mechanism: str, limits: Limits) -> bytes:
    """Offer one mechanism, and take what the client begins it with. Raises ProtocolError."""
    channel.write(wire.authentication(_SASL, mechanism.encode() + b"\0\0"))
    reader = wire.Reader(await _password_message(channel, limits), "SASLInitialResponse")
    chosen, response = reader.string(), reader.take(reader.int32())
    reader.end()
    if chosen != mechanism.encode():
        raise ProtocolError("the client chose a SASL mechanism that wasn't offered")
    return response


async def _password_message(channel: Channel, limits: Limits) -> bytes:
    kind, body = await channel.message(limits.password_bytes)
    if kind != wire.PASSWORD:
        raise ProtocolError(f"the client sent message {chr(kind)!r} where its password was asked for")
    return body
