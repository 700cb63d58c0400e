"""The loops over rows, compiled by mypyc where a C compiler is at hand; this same file runs where it isn't.

Source: PostgreSQL documentation, chapter 54.7, DataRow: b"D", int32 length, int16 columns, then int32 length and bytes
a column, length -1 for NULL. Nothing of ours is imported, so that the file compiles alone. An `i64` is a C integer to
the compiler, and an int to Python.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from librt.strings import BytesWriter
from mypy_extensions import i64, u8

COMPILED = not __file__.endswith(".py")
DATA_ROW: Final = 68  # b"D"
_LENGTH_MAX: Final = 0x7FFFFFFF
_NULL = b"\xff\xff\xff\xff"
_NULL_WIDTH: Final = 0xFFFFFFFF
_HASH_BYTES: Final = 12
_HASH_LENGTH = (2 * _HASH_BYTES).to_bytes(4, "big")


class Keyed:
    """An action that puts a keyed hash in a value's place, 24 hex digits: equal values stay equal, none can be read.

    BLAKE2b with a key (RFC 7693) and 96 bits: a key of at most 64 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(key=key, digest_size=_HASH_BYTES)

    def of(self, value: bytes) -> bytes:
        """With its length word before it."""
        made = self._keyed.copy()
        made.update(value)
        return _HASH_LENGTH + made.hexdigest().encode()


def uint32(data: bytes, at: i64) -> i64:
    """Raises IndexError where the bytes aren't there."""
    return i64(data[at]) << 24 | i64(data[at + 1]) << 16 | i64(data[at + 2]) << 8 | i64(data[at + 3])


def skip(data: bytes, start: int, kind: int) -> tuple[int, int]:
    """(where the run of whole messages of type `kind` ends, how many there were). A bad length ends the run."""
    size: i64 = len(data)
    at: i64 = start
    count = 0
    while size - at >= 5 and data[at] == kind:
        length = uint32(data, at + 1)
        if length < 4 or length > size - at - 1:
            break
        at += length + 1
        count += 1
    return at, count


def rewrite(data: bytes, start: int, actions: tuple[bytes | Keyed | None, ...]) -> tuple[bytes, int, int]:
    """Rewrite the run of whole DataRow messages at `start`: (bytes to send, where the run ends, how many rows).

    One action a column: None keeps the value; otherwise the action is the bytes that stand for any value, with its
    length word before it (b"\\xff\\xff\\xff\\xff" alone is NULL), or makes them of it. A NULL stays NULL.
    Raises ValueError on a row whose columns aren't those of `actions` or don't fill the message.
    """
    out = BytesWriter()
    size: i64 = len(data)
    at: i64 = start
    columns: i64 = len(actions)
    count = 0
    while size - at >= 5 and data[at] == DATA_ROW:
        length = uint32(data, at + 1)
        if length < 6 or length > size - at - 1:
            break
        end = at + 1 + length
        if i64(data[at + 5]) << 8 | i64(data[at + 6]) != columns:
            raise ValueError("a row has another number of columns than its description")
        head = len(out)
        kept = at  # from here to `at` nothing has changed and nothing is copied yet, but for the length
        at += 7
        for action in actions:
            if end - at < 4:
                raise ValueError("a row's columns don't fit in its message")
            width = uint32(data, at)
            if width == _NULL_WIDTH:
                at += 4
            elif width > end - at - 4:
                raise ValueError("a row's columns don't fit in its message")
            elif action is None:
                at += 4 + width
            else:
                if at > kept:
                    out.write(data[kept:at])
                put = action.of(data[at + 4 : at + 4 + width]) if isinstance(action, Keyed) else action
                out.write(put)
                length += len(put) - 4 - width
                at += 4 + width
                kept = at
        if at != end:
            raise ValueError("a row's columns don't fill its message")
        if at > kept:
            out.write(data[kept:at])
        if length > _LENGTH_MAX:
            raise ValueError("a row is too long for its message")
        for place in range(4):
            out[head + 1 + place] = u8((length >> (24 - 8 * place)) & 0xFF)
        count += 1
    return out.getvalue(), at, count


def replacement(value: bytes | None) -> bytes:
    """The action that puts `value` in a value's place; None puts NULL."""
    return _NULL if value is None else len(value).to_bytes(4, "big") + value
