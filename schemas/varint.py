"""Avro's numbers and bytes, the pieces that a tap writes for every statement (Avro 1.12, "Binary Encoding").

Compiled by mypyc where a C compiler is at hand; this same file runs where it isn't.
"""

from __future__ import annotations


def encode_long(number: int) -> bytes:
    """A number that isn't negative, zigzag and seven bits a byte."""
    if 0 <= number < 8192:
        return _SMALL[number]
    return _encode_long(number)


def _encode_long(number: int) -> bytes:
    number <<= 1
    out: list[int] = []
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode_bytes(value: bytes) -> bytes:
    """Bytes, or a string's UTF-8."""
    return encode_long(len(value)) + value


_SMALL = [_encode_long(number) for number in range(8192)]  # rows, lengths, most durations: one byte or two
