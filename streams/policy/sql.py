"""SQL as the server's own grammar reads it (libpg_query, through postgast): parse, split, normalise.

libpg_query's fingerprint is used for nothing: it takes `select id, email` and `select email, id` for the same.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any

import postgast
from postgast import pg_query_pb2 as pb

from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Part

TEXT_BYTES_MAX = 256 << 10  # a record holds the text twice, and Kafka takes 1 MiB; a list of ids belongs into COPY
# What libpg_query's normalisation may leave in the clear: strings, dollar quotes, comments.
_SUSPICIOUS = re.compile(r"['\"]|--|/\*|\$(?!\d)")
_LITERALS = frozenset(pb.Token.Value(name) for name in ("SCONST", "USCONST", "BCONST", "XCONST", "ICONST", "FCONST"))
_COMMENTS = frozenset(pb.Token.Value(name) for name in ("SQL_COMMENT", "C_COMMENT"))


def parse(text: str) -> Any:
    """The parse tree (protobuf). Raises RefusedError with the grammar's own words, or for a text that is too long."""
    if len(text) > TEXT_BYTES_MAX or len(text.encode()) > TEXT_BYTES_MAX:
        raise RefusedError(
            f"a statement of more than {TEXT_BYTES_MAX} bytes isn't judged", hint="send values by COPY or by parameters"
        )
    if "\0" in text:
        raise RefusedError("a statement holds a zero byte", hint="remove it")
    try:
        return postgast.parse(text)
    except postgast.PgQueryError as error:
        raise RefusedError(str(error), hint="the tap reads SQL as PostgreSQL does; correct the statement") from None


@lru_cache(maxsize=4096)
def split(text: str) -> tuple[Part, ...]:
    """The statements of a text: UTF-8 byte offset and length. Raises RefusedError where it can't be parsed."""
    size = len(text.encode())
    return tuple(
        Part(statement.stmt_location, statement.stmt_len or size - statement.stmt_location)
        for statement in parse(text).stmts
    )


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """The text with every literal replaced and every comment gone: nothing that a person typed as a value remains."""
    try:
        normalised: str = postgast.normalize(text)
    except postgast.PgQueryError:
        return _from_tokens(text)
    return _from_tokens(text) if _SUSPICIOUS.search(normalised) else normalised.strip()


def _from_tokens(text: str) -> str:
    """By the scanner alone: also for what the grammar refuses, and for values that aren't constants to the grammar."""
    try:
        tokens = postgast.scan(text).tokens
    except postgast.PgQueryError:
        return "unreadable"  # an unterminated string: nothing of it can be shown
    data, number, end = text.encode(), 0, 0
    parts: list[bytes] = []
    for token in tokens:
        gap = b" " if token.start > end and parts else b""
        end = token.end
        if token.token in _COMMENTS:
            continue
        if token.token in _LITERALS:
            number += 1
            parts.append(gap + b"$%d" % number)
        else:
            parts.append(gap + data[token.start : token.end])
    return b"".join(parts).decode(errors="replace").strip()


@lru_cache(maxsize=16384)
def fingerprint(normalised: str) -> str:
    """Names a normalised text: SHA-256, 16 bytes in hex."""
    return hashlib.sha256(normalised.encode()).hexdigest()[:32]
