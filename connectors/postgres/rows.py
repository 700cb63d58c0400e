"""The loops over rows, compiled by mypyc where a C compiler is at hand; this same file runs where it isn't.

Source: PostgreSQL documentation, chapter 54.7, DataRow: b"D", int32 length, int16 columns, then int32 length and bytes
a column, length -1 for NULL. Nothing of ours is imported, so that the file compiles alone.
"""

from __future__ import annotations

COMPILED = not __file__.endswith(".py")
DATA_ROW = 68  # b"D"
_NULL = b"\xff\xff\xff\xff"


def skip(data: bytes, start: int, kind: int) -> tuple[int, int]:
    """(where the run of whole messages of type `kind` ends, how many there were). A bad length ends the run."""
    size = len(data)
    count = 0
    while size - start >= 5 and data[start] == kind:
        length = data[start + 1] << 24 | data[start + 2] << 16 | data[start + 3] << 8 | data[start + 4]
        if length < 4 or length > size - start - 1:
            break
        start += length + 1
        count += 1
    return start, count


def rewrite(data: bytes, start: int, actions: tuple[bytes | None, ...]) -> tuple[bytes, int, int]:
    """Rewrite the run of whole DataRow messages at `start`: (bytes to send, where the run ends, how many rows).

    One action a column: None keeps the value; otherwise the action is the bytes that stand for any value, with its
    length word before it (b"\\xff\\xff\\xff\\xff" alone is NULL). A NULL stays NULL.
    Raises ValueError on a row whose columns aren't those of `actions` or don't fill the message.
    """
    out = bytearray()
    size = len(data)
    columns = len(actions)
    count = 0
    while size - start >= 5 and data[start] == DATA_ROW:
        length = data[start + 1] << 24 | data[start + 2] << 16 | data[start + 3] << 8 | data[start + 4]
        if length < 6 or length > size - start - 1:
            break
        end = start + 1 + length
        if data[start + 5] << 8 | data[start + 6] != columns:
            raise ValueError("a row has another number of columns than its description")
        head = len(out)
        out += data[start : start + 7]
        at = start + 7
        kept = at  # from here to `at` nothing has changed and nothing is copied yet
        for action in actions:
            if end - at < 4:
                raise ValueError("a row's columns don't fit in its message")
            width = data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
            if width == 0xFFFFFFFF:
                at += 4
            elif width > end - at - 4:
                raise ValueError("a row's columns don't fit in its message")
            elif action is None:
                at += 4 + width
            else:
                out += data[kept:at]
                out += action
                at += 4 + width
                kept = at
        if at != end:
            raise ValueError("a row's columns don't fill its message")
        out += data[kept:at]
        changed = len(out) - head - 1
        out[head + 1] = changed >> 24 & 255
        out[head + 2] = changed >> 16 & 255
        out[head + 3] = changed >> 8 & 255
        out[head + 4] = changed & 255
        start = end
        count += 1
    return bytes(out), start, count


def replacement(value: bytes | None) -> bytes:
    """The action that puts `value` in a value's place; None puts NULL."""
    return _NULL if value is None else len(value).to_bytes(4, "big") + value
