"""Avro's numbers and bytes, the pieces that a tap writes for every statement (Avro 1.12, "Binary Encoding").

Compiled by mypyc where a C compiler is at hand; this same file runs where it isn't.
"""

from __future__ import annotations

_ONE_BYTE = [bytes((number << 1,)) for number in range(64)]


def encode_long(number: int) -> bytes:
    """A number that isn't negative, zigzag and seven bits a byte."""
    if 0 <= number < 64:
        return _ONE_BYTE[number]
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
