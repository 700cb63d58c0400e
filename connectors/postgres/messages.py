"""PostgreSQL messages: bytes in, values out, and back. No I/O, no state but what waits for the rest of a message.

Source: PostgreSQL documentation, chapters 54.2 "Message Flow" and 54.7 "Message Formats" (protocol 3.0 and 3.2).
A message is one byte of type and a 32-bit length that counts itself. Lengths are checked before anything is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from struct import Struct as Layout
from struct import error as LayoutError
from typing import Final

from msgspec import Struct
from mypy_extensions import i64

from taprail.connectors.postgres.rows import uint32
from taprail.schemas.errors import ProtocolError
from taprail.schemas.guard import Field

HEAD = Layout(">BI")  # type and length of a message
_I16, _I32, _U32 = Layout(">h"), Layout(">i"), Layout(">I")
_NULL_LENGTH: Final = 0xFFFFFFFF  # -1
_COLUMN = Layout(">IhIhih")  # RowDescription: table, attribute, type, size, modifier, format

# The types of messages. A letter may mean two things: one to a server, another to a client.
QUERY: Final = 81  # Q
PARSE: Final = 80  # P
BIND: Final = 66  # B
DESCRIBE: Final = 68  # D
EXECUTE: Final = 69  # E
CLOSE: Final = 67  # C
SYNC: Final = 83  # S
FLUSH: Final = 72  # H
FUNCTION_CALL: Final = 70  # F
COPY_DATA: Final = 100  # d
COPY_DONE: Final = 99  # c
COPY_FAIL: Final = 102  # f
TERMINATE: Final = 88  # X
PASSWORD: Final = 112  # p
PARSE_COMPLETE: Final = 49  # 1
BIND_COMPLETE: Final = 50  # 2
CLOSE_COMPLETE: Final = 51  # 3
NO_DATA: Final = 110  # n
PARAMETER_DESCRIPTION: Final = 116  # t
ROW_DESCRIPTION: Final = 84  # T
DATA_ROW: Final = 68  # D
COMMAND_COMPLETE: Final = 67  # C
EMPTY_QUERY: Final = 73  # I
PORTAL_SUSPENDED: Final = 115  # s
COPY_IN: Final = 71  # G
COPY_OUT: Final = 72  # H
COPY_BOTH: Final = 87  # W
READY: Final = 90  # Z
ERROR: Final = 69  # E
NOTICE: Final = 78  # N
NOTIFICATION: Final = 65  # A
PARAMETER_STATUS: Final = 83  # S
BACKEND_KEY: Final = 75  # K
AUTHENTICATION: Final = 82  # R
NEGOTIATE: Final = 118  # v
FUNCTION_CALL_RESPONSE: Final = 86  # V


class Inbox:
    """Bytes that arrived and wait for the rest of their message; linear in what arrives, whatever the splits."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._need = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def incomplete(self) -> bool:
        """Whether the message that begins it lacks bytes: only reading on helps."""
        return len(self._kept) < self._need

    def add(self, data: bytes) -> bytes:
        """Everything that waits, with `data`; or b"" while the message that begins it isn't whole."""
        if not self._kept:
            return data
        self._kept += data
        if len(self._kept) < self._need:
            return b""
        whole = bytes(self._kept)
        self._kept.clear()
        return whole

    def keep(self, rest: bytes, need: int = 0) -> None:
        """Wait with `rest` until there are at least `need` bytes."""
        self._kept += rest
        self._need = need


def frame_end(data: bytes, start: int, largest: int) -> int:
    """Where the message at `start` ends, be it whole or not. Its five header bytes must be there.

    Raises ProtocolError on a length below 4 or above `largest`.
    """
    length = uint32(data, start + 1)
    if not 4 <= length <= largest:
        raise ProtocolError(
            f"message {chr(data[start])!r} says its length is {length}, which must be from 4 to {largest}",
            hint="the peer doesn't speak the PostgreSQL protocol, or the tap's limit for this message is too low",
        )
    return start + 1 + length


def split(inbox: Inbox, data: bytes, largest: Callable[[int], int]) -> list[tuple[int, bytes]]:
    """The whole messages in `data`, (type, body) each; what is left waits in `inbox`. For the slow phases: sign-in."""
    data = inbox.add(data)
    start, found = 0, []
    need = 5
    while len(data) - start >= 5:
        end = frame_end(data, start, largest(data[start]))
        if end > len(data):
            need = end - start
            break
        found.append((data[start], data[start + 5 : end]))
        start = end
    inbox.keep(data[start:], need)
    return found


def message(kind: int, body: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(body) + 4) + body


class Reader:
    """Reads a message's body from its start; every step is checked, and `end` says that nothing may be left."""

    def __init__(self, body: bytes, what: str) -> None:
        self.body, self.at, self.what = body, 0, what

    def fail(self) -> ProtocolError:
        return ProtocolError(f"{self.what} message is malformed at byte {self.at}", hint="the connection ends")

    def string(self) -> bytes:
        end = self.body.find(b"\0", self.at)
        if end < 0:
            raise self.fail()
        found, self.at = self.body[self.at : end], end + 1
        return found

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.body):
            raise self.fail()
        found, self.at = self.body[self.at : self.at + size], self.at + size
        return found

    def int16(self) -> int:
        return int(_I16.unpack(self.take(2))[0])

    def uint16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def int32(self) -> int:
        return int(_I32.unpack(self.take(4))[0])

    def rest(self) -> bytes:
        return self.take(len(self.body) - self.at)

    def end(self) -> None:
        if self.at != len(self.body):
            raise self.fail()


# What a client sends ------------------------------------------------------------------------------------------------


class Parse(Struct, frozen=True):
    name: bytes
    text: bytes


@dataclass(init=False)
class Bind:
    """`parameters` as sent, None for NULL; the format codes of parameters and results stay in the message."""

    portal: Final[bytes]
    statement: Final[bytes]
    parameters: Final[tuple[bytes | None, ...]]

    def __init__(self, portal: bytes, statement: bytes, parameters: tuple[bytes | None, ...]) -> None:
        self.portal, self.statement, self.parameters = portal, statement, parameters


@dataclass(init=False)
class Target:
    """What Describe and Close name: kind b"S" for a prepared statement, b"P" for a portal."""

    kind: Final[bytes]
    name: Final[bytes]

    def __init__(self, kind: bytes, name: bytes) -> None:
        self.kind, self.name = kind, name


def parse_query(body: bytes) -> bytes:
    """The text of a Query message. Raises ProtocolError unless exactly one zero byte ends it."""
    if not body or body.find(b"\0") != len(body) - 1:
        raise ProtocolError("Query message is malformed: its text must end with its only zero byte")
    return body[:-1]


def parse_parse(body: bytes) -> Parse:
    reader = Reader(body, "Parse")
    parsed = Parse(reader.string(), reader.string())
    reader.take(4 * reader.uint16())
    reader.end()
    return parsed


def parse_bind(body: bytes) -> Bind:
    """Read by offsets, not by steps: it is on the path of every prepared statement."""
    portal = _zero(body, 0)
    statement = _zero(body, portal + 1)
    if statement == len(body):
        raise _malformed("Bind")
    values: list[bytes | None] = []
    try:
        at = statement + 3 + 2 * (body[statement + 1] << 8 | body[statement + 2])  # behind the format codes
        count = body[at] << 8 | body[at + 1]
        at += 2
        for _ in range(count):
            length = uint32(body, at)
            at += 4
            if length == _NULL_LENGTH:
                values.append(None)
            elif length > len(body) - at:
                raise _malformed("Bind")
            else:
                values.append(body[at : at + length])
                at += length
        results = body[at] << 8 | body[at + 1]
    except IndexError as error:
        raise _malformed("Bind") from error
    if at + 2 + 2 * results != len(body):
        raise _malformed("Bind")
    return Bind(body[:portal], body[portal + 1 : statement], tuple(values))


def parse_target(body: bytes, what: str) -> Target:
    kind, end = body[:1], _zero(body, 1)
    if (kind != b"S" and kind != b"P") or end != len(body) - 1:
        raise _malformed(what)
    return Target(kind, body[1:end])


def parse_execute(body: bytes) -> bytes:
    """The portal's name; the row limit stays in the message."""
    end = _zero(body, 0)
    if end + 5 != len(body):
        raise _malformed("Execute")
    return body[:end]


def _zero(body: bytes, start: i64) -> i64:
    """Where the next zero byte stands, the body's length where there is none. Names are short."""
    at, size = start, i64(len(body))
    while at < size and body[at] != 0:
        at += 1
    return at if at < size else size


def _malformed(what: str) -> ProtocolError:
    return ProtocolError(f"{what} message is malformed", hint="the connection ends")


def query(text: bytes) -> bytes:
    return message(QUERY, text + b"\0")


def parse(name: bytes, text: bytes, types: tuple[int, ...] = ()) -> bytes:
    oids = b"".join(_U32.pack(oid) for oid in types)
    return message(PARSE, name + b"\0" + text + b"\0" + _I16.pack(len(types)) + oids)


def bind(
    portal: bytes, statement: bytes, parameters: Iterable[bytes | None] = (), formats: tuple[int, ...] = ()
) -> bytes:
    """Parameters in text format; `formats` are the result's format codes."""
    values = [b"\xff\xff\xff\xff" if value is None else _I32.pack(len(value)) + value for value in parameters]
    results = b"".join(_I16.pack(code) for code in formats)
    head = portal + b"\0" + statement + b"\0\0\0" + _I16.pack(len(values))
    return message(BIND, head + b"".join(values) + _I16.pack(len(formats)) + results)


def describe(kind: bytes, name: bytes) -> bytes:
    return message(DESCRIBE, kind + name + b"\0")


def execute(portal: bytes, rows: int = 0) -> bytes:
    return message(EXECUTE, portal + b"\0" + _I32.pack(rows))


def close(kind: bytes, name: bytes) -> bytes:
    return message(CLOSE, kind + name + b"\0")


SYNC_MESSAGE, FLUSH_MESSAGE, TERMINATE_MESSAGE = message(SYNC), message(FLUSH), message(TERMINATE)


# What a server sends ------------------------------------------------------------------------------------------------


def parse_row_description(body: bytes) -> tuple[Field, ...]:
    reader = Reader(body, "RowDescription")
    try:
        fields = []
        for _ in range(reader.uint16()):
            name = reader.string().decode(errors="replace")
            table_oid, attnum, type_oid, _, _, code = _COLUMN.unpack(reader.take(_COLUMN.size))
            fields.append(Field(name, table_oid, attnum, type_oid, code))
    except LayoutError as error:
        raise reader.fail() from error
    reader.end()
    return tuple(fields)


def row_description(fields: Iterable[Field]) -> bytes:
    columns = [
        field.name.encode() + b"\0" + _COLUMN.pack(field.table_oid, field.attnum, field.type_oid, -1, -1, field.format)
        for field in fields
    ]
    return message(ROW_DESCRIPTION, _I16.pack(len(columns)) + b"".join(columns))


def data_row(values: Iterable[bytes | None]) -> bytes:
    cells = [b"\xff\xff\xff\xff" if value is None else _I32.pack(len(value)) + value for value in values]
    return message(DATA_ROW, len(cells).to_bytes(2, "big") + b"".join(cells))


def command_complete(tag: str) -> bytes:
    return message(COMMAND_COMPLETE, tag.encode() + b"\0")


def tag_rows(tag: bytes) -> int:
    """Rows in a command tag ('INSERT 0 5' is 5), -1 where the tag counts none."""
    size: i64 = len(tag)
    at, rows, unit = size, i64(0), i64(1)
    while at > 0 and 48 <= tag[at - 1] <= 57 and size - at < 18:
        at -= 1
        rows += (tag[at] - 48) * unit
        unit *= 10
    return rows if at < size and (at == 0 or tag[at - 1] == 32) else -1


def parse_fields(body: bytes) -> dict[str, str]:
    """The fields of ErrorResponse and NoticeResponse by their one-letter codes (chapter 54.8)."""
    reader = Reader(body, "ErrorResponse")
    fields: dict[str, str] = {}
    while (code := reader.take(1)) != b"\0":
        fields[code.decode("latin-1")] = reader.string().decode(errors="replace")
    reader.end()
    return fields


def _fields(kind: int, fields: Mapping[str, str]) -> bytes:
    parts = [
        code.encode("latin-1") + value.replace("\0", "").encode(errors="replace") + b"\0"
        for code, value in fields.items()
        if value
    ]
    return message(kind, b"".join(parts) + b"\0")


def error_response(fields: Mapping[str, str]) -> bytes:
    return _fields(ERROR, fields)


def notice_response(fields: Mapping[str, str]) -> bytes:
    return _fields(NOTICE, fields)


def error(
    sqlstate: str, text: str, *, hint: str = "", detail: str = "", severity: str = "ERROR", position: int = 0
) -> bytes:
    """`position`: of the character in the client's text that it is about, from 1; 0 where it is about none."""
    where = str(position) if position else ""
    return error_response({"S": severity, "V": severity, "C": sqlstate, "M": text, "D": detail, "H": hint, "P": where})


def notice(sqlstate: str, text: str, *, hint: str = "") -> bytes:
    return notice_response({"S": "NOTICE", "V": "NOTICE", "C": sqlstate, "M": text, "H": hint})


def ready(status: str) -> bytes:
    return message(READY, status.encode("ascii"))


def parse_parameter_status(body: bytes) -> tuple[str, str]:
    reader = Reader(body, "ParameterStatus")
    name, value = reader.string(), reader.string()
    reader.end()
    return name.decode(errors="replace"), value.decode(errors="replace")


def parameter_status(name: str, value: str) -> bytes:
    return message(PARAMETER_STATUS, name.encode() + b"\0" + value.encode() + b"\0")


def authentication(code: int, data: bytes = b"") -> bytes:
    """Code 0 is Ok, 3 cleartext password, 5 MD5, 10 SASL, 11 SASL continue, 12 SASL final (chapter 54.7)."""
    return message(AUTHENTICATION, _I32.pack(code) + data)
