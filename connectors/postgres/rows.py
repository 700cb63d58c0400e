"""The loops over rows, compiled by mypyc where a C compiler is at hand; this same file runs where it isn't.

Source: PostgreSQL documentation, chapter 54.7, DataRow: b"D", int32 length, int16 columns, then int32 length and bytes
a column, length -1 for NULL. Nothing of ours is imported, so that the file compiles alone. An `i64` is a C integer to
the compiler, and an int to Python.
"""

from __future__ import annotations

from struct import Struct as Layout
from typing import Final

from mypy_extensions import i64

COMPILED = not __file__.endswith(".py")
DATA_ROW: Final = 68  # b"D"
_HEAD = Layout(">BI")
_NULL = b"\xff\xff\xff\xff"
_NULL_WIDTH: Final = 0xFFFFFFFF


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


def rewrite(data: bytes, start: int, actions: tuple[bytes | None, ...]) -> tuple[bytes, int, int]:
    """Rewrite the run of whole DataRow messages at `start`: (bytes to send, where the run ends, how many rows).

    One action a column: None keeps the value; otherwise the action is the bytes that stand for any value, with its
    length word before it (b"\\xff\\xff\\xff\\xff" alone is NULL). A NULL stays NULL.
    Raises ValueError on a row whose columns aren't those of `actions` or don't fill the message.
    """
    out: list[bytes] = []
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
        out.append(b"")  # the header comes when the length is known
        kept = at + 5  # from here to `at` nothing has changed and nothing is copied yet
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
                out.append(data[kept:at])
                out.append(action)
                length += len(action) - 4 - width
                at += 4 + width
                kept = at
        if at != end:
            raise ValueError("a row's columns don't fill its message")
        out.append(data[kept:at])
        out[head] = _HEAD.pack(DATA_ROW, length)
        count += 1
    return b"".join(out), at, count


def replacement(value: bytes | None) -> bytes:
    """The action that puts `value` in a value's place; None puts NULL."""
    return _NULL if value is None else len(value).to_bytes(4, "big") + value
