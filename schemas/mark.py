"""The mark: a statement's id inside the transaction that it writes in, so that row changes name it.

A tap emits it with `pg_logical_emit_message(true, 'taprail', mark)`. Every user may call that function, so a mark
carries a MAC that only taps and the stream can make, over tap, epoch, sequence, server and database; it counts once.
"""

from __future__ import annotations

import hashlib
import hmac

from msgspec import Struct

from taprail.schemas.errors import SignatureError

PREFIX = "taprail"
DDL_PREFIX = "taprail-ddl"
VERSION = "1"
MAC_HEX_CHARACTERS = 32  # 128 bits


class Mark(Struct, frozen=True):
    tap: str
    epoch: int
    sequence: int
    server: str
    database: str


def render(mark: Mark, key: bytes) -> str:
    """`1|tap|epoch|sequence|server|database|mac`. The parts are names of ours and numbers: no quoting is needed."""
    body = f"{VERSION}|{mark.tap}|{mark.epoch}|{mark.sequence}|{mark.server}|{mark.database}"
    return f"{body}|{_mac(body, key)}"


def parse(text: str, key: bytes) -> Mark:
    """Raises SignatureError where the text isn't a mark that a tap of ours has made."""
    body, _, mac = text.rpartition("|")
    parts = body.split("|")
    if len(parts) != 6 or parts[0] != VERSION or not (parts[2].isdecimal() and parts[3].isdecimal()):
        raise SignatureError("a mark has another form than taps write", hint="somebody emits messages by hand")
    if not hmac.compare_digest(mac.encode(), _mac(body, key).encode()):
        raise SignatureError("a mark's MAC doesn't hold", hint="somebody forges marks, or taps use another mark key")
    return Mark(parts[1], int(parts[2]), int(parts[3]), parts[4], parts[5])


def _mac(body: str, key: bytes) -> str:
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()[:MAC_HEX_CHARACTERS]
