"""A record in a spool segment.

    length u32 | crc32 u32 | sequence u64 | finishes u64 | kind u8 | key length u16 | key | body

`length` counts what follows it, and the checksum covers what follows the checksum. `finishes` is the sequence of the
statement that an outcome ends, of the same epoch, 0 for none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct as Layout
from typing import Literal

from msgspec import Struct

Kind = Literal["statement", "outcome", "session"]
KINDS: tuple[Kind, ...] = ("statement", "outcome", "session")
_LENGTH = Layout(">I")
_HEAD = Layout(">IQQBH")
RECORD_BYTES_MAX = 900_000  # Kafka takes 1 MiB by default, frame and headers included


class Frame(Struct, frozen=True):
    """One record, and where the next one begins in its file."""

    sequence: int
    finishes: int
    kind: Kind
    key: str
    body: bytes
    end: int


def encode(sequence: int, finishes: int, kind: Kind, key: bytes, body: bytes) -> bytes:
    rest = _HEAD.pack(0, sequence, finishes, KINDS.index(kind), len(key))[4:] + key + body
    return _LENGTH.pack(4 + len(rest)) + _LENGTH.pack(zlib.crc32(rest)) + rest


def read(path: Path, position: int, stop: int | None = None) -> Iterator[Frame]:
    """Whole records from `position` on, up to `stop` (bytes). Ends before a torn or damaged one."""
    with path.open("rb") as file:
        file.seek(position)
        while stop is None or position < stop:
            head = file.read(4)
            if len(head) < 4:
                return
            (length,) = _LENGTH.unpack(head)
            rest = file.read(length) if _HEAD.size <= length <= 2 * RECORD_BYTES_MAX else b""
            if len(rest) < max(length, _HEAD.size):
                return
            checksum, sequence, finishes, kind, key_bytes = _HEAD.unpack_from(rest)
            if zlib.crc32(rest[4:]) != checksum or kind >= len(KINDS):
                return
            position += 4 + length
            body = _HEAD.size + key_bytes
            key = rest[_HEAD.size : body].decode(errors="replace")
            yield Frame(sequence, finishes, KINDS[kind], key, rest[body:], position)
