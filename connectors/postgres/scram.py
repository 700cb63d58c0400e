"""The server's side of SCRAM-SHA-256. Sources: RFC 5802, RFC 7677, PostgreSQL documentation, chapter 54.3.1."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable

import scramp
from msgspec import Struct

from taprail.schemas.errors import ProtocolError, RefusedError

SCRAM = "SCRAM-SHA-256"
_FAKE_KEY = os.urandom(32)  # an unknown user gets a challenge like any other, the same one every time


class ScramSecret(Struct, frozen=True):
    """What a verifier of SCRAM-SHA-256 keeps of a password (RFC 5802, section 3)."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


def scram_secret(password: str, iterations: int = 4096) -> ScramSecret:
    """Derive what to keep of a password, with a random salt."""
    salt, stored_key, server_key, count = scramp.ScramMechanism(SCRAM).make_auth_info(password, iterations)
    return ScramSecret(salt, stored_key, server_key, count)


async def exchange(
    user: str, secret: ScramSecret | None, first: bytes, ask: Callable[[bytes], Awaitable[bytes]]
) -> bytes:
    """From client-first-message to server-final-message, which is returned; `ask` sends a challenge, gives the answer.

    `secret` None is a user that doesn't exist, who is found out no earlier than a wrong password. Like PostgreSQL it
    ignores the name inside: libpq leaves it empty. Raises RefusedError, ProtocolError.
    """
    failed = RefusedError(f'password authentication failed for user "{user}"')
    known = secret or _fake_secret(user)
    values = (known.salt, known.stored_key, known.server_key, known.iterations)
    server = scramp.ScramMechanism(SCRAM).make_server(lambda _: values)
    try:
        header, bare = _client_first(first)
        server.set_client_first(f"{header}n=-,{bare.partition(',')[2]}")
        server.client_first_bare = bare
        server.set_client_final((await ask(server.get_server_first().encode())).decode())
        final: bytes = server.get_server_final().encode()
    except (scramp.ScramException, UnicodeDecodeError) as error:
        raise failed from error
    if secret is None:
        raise failed
    return final


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
