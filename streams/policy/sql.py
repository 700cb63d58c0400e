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
from taprail.streams.policy import sizes
from taprail.streams.policy.shape import Shapes

# What libpg_query's normalisation may leave in the clear: strings, dollar quotes, comments, numbers, settings' values.
_SUSPICIOUS = re.compile(r"['\"]|--|/\*|\$(?!\d)|(?<![\w$])\.?\d|^\s*alter\b", re.IGNORECASE)
_PARAMETER = re.compile(r"\$(\d+)")
_LITERALS = frozenset(pb.Token.Value(name) for name in ("SCONST", "USCONST", "BCONST", "XCONST", "ICONST", "FCONST"))
_COMMENTS = frozenset(pb.Token.Value(name) for name in ("SQL_COMMENT", "C_COMMENT"))
_SETTING_OWNERS = frozenset(pb.Token.Value(name) for name in ("SYSTEM_P", "ROLE", "USER", "DATABASE"))
# What follows UESCAPE is a string to the scanner, and decides what a name is.
_ESCAPED_NAME = re.compile(r"\buescape\b", re.IGNORECASE)
_shapes = Shapes()
_ALTER, _SET, _TO, _EQUALS = pb.ALTER, pb.SET, pb.TO, pb.ASCII_61


class UnparsableError(RefusedError):
    """The grammar refuses the text; its message quotes what it stumbled at, which may be a value.

    Message and `position` are the server's own, since it's the server's grammar.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


def parse(text: str) -> Any:
    """The parse tree (protobuf). Raises UnparsableError with the grammar's own words, RefusedError for a long text."""
    sizes.check(text)
    if "\0" in text:
        raise RefusedError("a statement holds a zero byte", hint="remove it")
    try:
        return postgast.parse(text)
    except postgast.PgQueryError as error:
        raise UnparsableError(error.message, error.cursorpos) from None


def split(text: str) -> tuple[Part, ...]:
    """The statements of a text: UTF-8 byte offset and length. Raises RefusedError where it can't be parsed."""
    if len(text) > sizes.LONG_CHARACTERS:
        return _split.__wrapped__(text)  # not kept: a few thousand of them would fill the memory
    return (Part(0, len(text.encode())),) if _is_one(text) else _split(text)


def _is_one(text: str) -> bool:
    """Whether there is surely one statement, told without its tree: it parses, and no semicolon parts it.

    Normalising parses, and leaves no string or comment that a semicolon could stand in; elsewhere it is asked further.
    """
    normalised, parses = _normalised(text)
    body = normalised.rstrip("; \n")
    return parses and body != "" and ";" not in body


@lru_cache(maxsize=4096)
def _split(text: str) -> tuple[Part, ...]:
    size = len(text.encode())
    return tuple(
        Part(statement.stmt_location, statement.stmt_len or size - statement.stmt_location)
        for statement in parse(text).stmts
    )


def normalise(text: str) -> str:
    """The text with every literal replaced and every comment gone: no value that a person typed as one remains.

    Names remain, quoted ones too, and whatever else the grammar takes for a name. Of a long text it is the beginning.
    """
    if len(text) > sizes.LONG_CHARACTERS:
        return _beginning(text)
    return _normalised(text)[0]


def literals_are_values(text: str) -> bool:
    """Whether texts that are equal but for their literals say the same: `U&"…" UESCAPE '!'` is a name made of one."""
    return _ESCAPED_NAME.search(text) is None


def _beginning(text: str) -> str:
    """By the scanner, whose time grows with the text; libpg_query's normalisation takes a GiB for 256 KiB of `1,1`."""
    return f"{_from_tokens(sizes.beginning(text))} /* cut: {len(text)} characters */"


def _normalised(text: str) -> tuple[str, bool]:
    """The normalised text, and whether the grammar made it, so that the text parses."""
    if (known := _shapes.normalised(text)) is not None:
        return known, True
    normalised, parses = _read(text)
    if parses:
        _shapes.learn(text, normalised)
    return normalised, parses


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[str, bool]:
    if "\0" in text:  # C would end it there
        raise RefusedError("a statement holds a zero byte", hint="remove it")
    try:
        normalised: str = postgast.normalize(text).strip()
    except postgast.PgQueryError:
        return _from_tokens(text), False
    return (_from_tokens(normalised), False) if _SUSPICIOUS.search(normalised) else (normalised, True)


def _from_tokens(text: str) -> str:
    """By the scanner alone: also for what the grammar refuses, and for values that aren't constants to the grammar."""
    try:
        tokens = postgast.scan(text).tokens
    except postgast.PgQueryError:
        return "unreadable"  # an unterminated string: nothing of it can be shown
    data, end = text.encode(), 0
    number = max(map(int, _PARAMETER.findall(text)), default=0)
    setting = _setting_values(tokens)
    parts: list[bytes] = []
    for position, token in enumerate(tokens):
        if token.token in _COMMENTS:
            continue  # it stands for a blank: `end` stays before it
        if token.start > end and parts:
            parts.append(b" ")
        end = token.end
        if token.token in _LITERALS or (position > setting and data[token.start : token.end].strip(b" ,;") != b""):
            number += 1
            parts.append(b" $%d" % number if parts and parts[-1].endswith(b"$") else b"$%d" % number)  # $$ would quote
        else:
            parts.append(data[token.start : token.end])
    return b"".join(parts).decode(errors="replace").strip()


def _setting_values(tokens: Any) -> float:
    """After which token stand the values of ALTER SYSTEM | ROLE | DATABASE … SET, names among them; never: infinity."""
    kinds = [token.token for token in tokens]
    if kinds[:1] == [_ALTER] and kinds[1:2] and kinds[1] in _SETTING_OWNERS and _SET in kinds:
        of_set = kinds.index(_SET)
        return min((i for i, kind in enumerate(kinds) if i > of_set and kind in (_TO, _EQUALS)), default=float("inf"))
    return float("inf")


@lru_cache(maxsize=16384)
def fingerprint(normalised: str) -> str:
    """Names a normalised text: SHA-256, 16 bytes in hex."""
    return hashlib.sha256(normalised.encode()).hexdigest()[:32]
