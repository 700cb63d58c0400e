"""A record in a spool segment.

    length u32 | crc32 u32 | sequence u64 | finishes u64 | kind u8 | key length u16 | key | body

`length` counts what follows it, and the checksum covers what follows the checksum. `finishes` is the sequence of the
statement that an outcome ends, of the same epoch, 0 for none.

Damage is passed over: where a record doesn't hold, the next place is looked for at which one does. Statements can't
forge one, for they hold no zero byte and every length begins with one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct as Layout
from typing import Final, Literal
from zlib import crc32

from librt.strings import BytesWriter, write_i16_be, write_i32_be, write_i64_be
from msgspec import Struct
from mypy_extensions import i32, i64

Kind = Literal["statement", "outcome", "session"]
KINDS: tuple[Kind, ...] = ("statement", "outcome", "session")
_CODES: dict[Kind, int] = {kind: code for code, kind in enumerate(KINDS)}
_LENGTH = Layout(">I")
_HEAD = Layout(">IQQBH")
_LENGTH_BYTES: Final = 4
RECORD_BYTES_MAX: Final = 900_000  # Kafka takes 1 MiB by default, frame and headers included
PIECE_BYTES: Final = 64 << 10  # read at a time
_FRAME_BYTES_MIN, _LENGTH_MAX = _LENGTH.size + _HEAD.size, 2 * RECORD_BYTES_MAX
# Where a length from _HEAD.size (00000017) to a bit above _LENGTH_MAX (001b7740) may stand; zeros aren't one.
_BEGINNINGS = re.compile(rb"(?=\x00(?:\x00(?:\x00[\x17-\xff]|[\x01-\xff])|[\x01-\x1b]))")


class Frame(Struct, frozen=True):
    """One record, and where the next one begins in its file."""

    sequence: int
    finishes: int
    kind: Kind
    key: str
    body: bytes
    end: int


class Damage(Struct, frozen=True):
    """Bytes `start` to `end` of a segment can't be read. `torn`: the writer died there, the record never counted."""

    start: int
    end: int
    torn: bool


def encode(sequence: i64, finishes: i64, kind: Kind, key: bytes, body: bytes) -> bytes:
    covered = BytesWriter()
    write_i64_be(covered, sequence)
    write_i64_be(covered, finishes)
    covered.append(_CODES[kind])
    write_i16_be(covered, len(key))
    covered.write(key)
    covered.write(body)
    content = covered.getvalue()
    checksum: i64 = crc32(content)
    whole = BytesWriter()
    write_i32_be(whole, _LENGTH_BYTES + len(content))
    write_i32_be(whole, i32(checksum - (1 << 32) if checksum >> 31 else checksum))  # the same bits, as a signed number
    whole.write(content)
    return whole.getvalue()


def read(
    path: Path,
    position: int,
    stop: int | None = None,
    tell: Callable[[Damage], None] = lambda damage: None,
    *,
    growing: bool = False,
) -> Iterator[Frame]:
    """Records from `position` on, up to `stop` (bytes). `tell` is told of each damaged place, which is passed over.

    Where the file is still `growing`, a record at its end that isn't whole is one that is being written.
    """
    with path.open("rb") as file:
        while stop is None or position < stop:
            before = position
            file.seek(position)
            piece = file.read(PIECE_BYTES if stop is None else min(PIECE_BYTES, stop - position))
            for found in _whole(piece, position):
                position = found.end
                yield found
            if position > before:
                continue
            file.seek(position)  # it is larger than a piece, or not whole
            head = file.read(_LENGTH.size)
            length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            data = head + file.read(length) if length <= _LENGTH_MAX else head
            if not data:
                return
            frame = _frame(data, 0, length, position)
            if frame is None:
                file.seek(position)
                rest = file.read(-1 if stop is None else stop - position)
                frame, damage = _resume(rest, position)
                if growing and frame is None and damage is not None and damage.torn:
                    return
                if damage is not None:
                    tell(damage)
                if frame is None:
                    return
            position = frame.end
            yield frame


def _whole(piece: bytes, position: int) -> list[Frame]:
    """The records at the beginning of a piece that are whole in it; it stands at `position`."""
    found: list[Frame] = []
    at = 0
    while len(piece) - at >= _FRAME_BYTES_MIN:
        frame = _frame(piece, at, int.from_bytes(piece[at : at + _LENGTH_BYTES], "big"), position)
        if frame is None:
            break
        found.append(frame)
        at = frame.end - position
    return found


def _resume(data: bytes, position: int) -> tuple[Frame | None, Damage | None]:
    """The next record in `data`, which stands at `position` and doesn't begin with a whole one; and what is lost."""
    for match in _BEGINNINGS.finditer(data, 1):
        start = match.start()
        length = int.from_bytes(data[start : start + _LENGTH.size])
        if (frame := _frame(data, start, length, position)) is not None:
            # Where only the length was wrong, the checksum holds up to the next record.
            whole = _frame(data[:start], 0, start - _LENGTH.size, position)
            return (whole, None) if whole else (frame, Damage(position, position + start, torn=False))
    if (whole := _frame(data, 0, len(data) - _LENGTH.size, position)) is not None:
        return whole, None
    length = int.from_bytes(data[: _LENGTH.size])
    torn = len(data) < _LENGTH.size or (_HEAD.size <= length <= _LENGTH_MAX and len(data) < _LENGTH.size + length)
    return None, Damage(position, position + len(data), torn)


def _frame(data: bytes, start: int, length: int, position: int) -> Frame | None:
    """The record of this length at `start` in `data`, where there is a whole one. `data` stands at `position`."""
    end = start + _LENGTH.size + length
    if not _HEAD.size <= length <= _LENGTH_MAX or end > len(data):
        return None
    checksum, sequence, finishes, kind, key_bytes = _HEAD.unpack_from(data, start + _LENGTH.size)
    body = start + _FRAME_BYTES_MIN + key_bytes
    if body > end or kind >= len(KINDS) or crc32(memoryview(data)[start + 2 * _LENGTH.size : end]) != checksum:
        return None
    key = data[start + _FRAME_BYTES_MIN : body].decode(errors="replace")
    return Frame(sequence, finishes, KINDS[kind], key, data[body:end], position + end)
