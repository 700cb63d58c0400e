"""A declared writer: a migration or a job that writes round the tap says who it is inside its own transaction.

It emits `SELECT pg_logical_emit_message(true, 'taprail', declaration)` first, with a key of its own that is derived
from the mark key for one writer in one database: whoever holds it can declare that writer and make no tap's mark. The
MAC is over the transaction's own id, so a declaration that was read in the WAL is worth nothing in another
transaction, and the time bounds what the id's 32 bits in the feed can't tell.
"""

from __future__ import annotations

import hashlib
import hmac

from msgspec import Struct

from taprail.schemas.errors import SignatureError
from taprail.schemas.mark import MAC_HEX_CHARACTERS

VERSION = "writer-1"
VALID_US = 3_600_000_000  # from the declaration to the commit
_KEY_DOMAIN = b"taprail/writer/v1\0"


class Declaration(Struct, frozen=True):
    """`transaction` is what `pg_current_xact_id()` answers in the transaction, 64 bits."""

    writer: str
    server: str
    database: str
    transaction: int
    time_us: int


def is_declaration(content: bytes) -> bool:
    return content.startswith(VERSION.encode() + b"|")


def writer_key(mark_key: bytes, writer: str, server: str, database: str) -> bytes:
    """The key that is handed to one writer for one database."""
    name = "|".join((writer, server, database)).encode()
    return hmac.digest(mark_key, _KEY_DOMAIN + name, "sha256")


def render(declaration: Declaration, key: bytes) -> str:
    """`writer-1|writer|server|database|transaction|time_us|mac`, with the writer's key."""
    d = declaration
    body = f"{VERSION}|{d.writer}|{d.server}|{d.database}|{d.transaction}|{d.time_us}"
    return f"{body}|{_mac(body, key)}"


def parse(text: str, mark_key: bytes) -> Declaration:
    """Raises SignatureError where no holder of that writer's key has made the text."""
    body, _, mac = text.rpartition("|")
    parts = body.split("|")
    if len(parts) != 6 or parts[0] != VERSION or not (parts[4].isdecimal() and parts[5].isdecimal()):
        raise SignatureError("a writer's declaration has another form", hint="make it with schemas/writer.py")
    _, writer, server, database, transaction, time_us = parts
    if not hmac.compare_digest(mac.encode(), _mac(body, writer_key(mark_key, writer, server, database)).encode()):
        raise SignatureError(
            f"the MAC of a declaration of {writer!r} doesn't hold", hint="it has another writer's or database's key"
        )
    return Declaration(writer, server, database, int(transaction), int(time_us))


def _mac(body: str, key: bytes) -> str:
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()[:MAC_HEX_CHARACTERS]
