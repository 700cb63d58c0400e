"""SASL's mechanism OAUTHBEARER: an access token without a password prompt. Bytes in, values out.

Sources: RFC 7628 (the mechanism), RFC 6750 (what a bearer token looks like), PostgreSQL documentation, chapters 54.3
"SASL Authentication" and 20.15 "OAuth Authorization/Authentication". A client that has no token yet sends an empty one
and learns from the refusal where to get it; libpq then asks the person and connects again.
"""

from __future__ import annotations

import json
import re

from msgspec import Struct

from taprail.schemas.errors import ProtocolError, TaprailError

OAUTHBEARER = "OAUTHBEARER"
KVSEP = b"\x01"
# RFC 7628, section 3.1; keys are letters, values printable ASCII, blank, tab and line ends.
_PAIR = re.compile(rb"([A-Za-z]+)=([\x20-\x7e\t\r\n]*)\Z")
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*\Z")  # b64token: RFC 6750, section 2.1
_SCHEME = b"bearer "


class Offer(Struct, frozen=True):
    """Where a token can be had: the provider's discovery document, and the scopes that it must be asked for."""

    openid_configuration: str
    scope: str


class Discovered(TaprailError):
    """A client without a token has learned where to get one. Nobody was refused: it comes again."""


def bearer_token(response: bytes) -> str:
    """The token in a client's initial response, '' where it has none yet. Raises ProtocolError.

    `gs2-cbind-flag "," [authzid] "," KVSEP *(key "=" value KVSEP) KVSEP`: RFC 7628, section 3.1, with RFC 5801.
    """
    if b"\0" in response:
        raise _malformed("it holds a null byte")
    if response[:1] == b"p":
        raise _malformed("it asks for channel binding, which the mechanism doesn't have")
    if response[:2] not in (b"n,", b"y,"):
        raise _malformed("its first part is no GS2 header")
    if response[2:3] != b",":
        raise _malformed("it asks to act as somebody else (authzid)")
    pairs = response[3:]
    if not (pairs.startswith(KVSEP) and pairs.endswith(KVSEP * 2)):
        raise _malformed("its key-value pairs don't begin or end as they must")
    found: bytes | None = None
    for pair in pairs[1:-2].split(KVSEP):
        match = _PAIR.match(pair)
        if match is None:
            raise _malformed("a key-value pair isn't one")
        if match[1] != b"auth":
            continue  # host, port and others: section 3.1 lets a server ignore them
        if found is not None:
            raise _malformed("it holds two tokens")
        found = match[2]
    if found is None:
        raise _malformed("it holds no auth value")
    if not found:
        return ""
    token = found[len(_SCHEME) :].lstrip(b" ")
    if found[: len(_SCHEME)].lower() != _SCHEME or not _TOKEN.match(token):
        raise _malformed("its auth value is no bearer token")
    return token.decode("ascii")


def refusal(offer: Offer) -> bytes:
    """The server's challenge after a token that isn't good enough: RFC 7628, section 3.2.2."""
    answer = {"status": "invalid_token", "openid-configuration": offer.openid_configuration, "scope": offer.scope}
    return json.dumps(answer).encode()


def _malformed(why: str) -> ProtocolError:
    return ProtocolError(f"the client's OAUTHBEARER message is malformed: {why}")  # and never what it says
