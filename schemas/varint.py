"""Avro's numbers and bytes, the pieces that a tap writes for every statement (Avro 1.12, "Binary Encoding").

Compiled by mypyc where a C compiler is at hand; this same file runs where it isn't.
"""

from __future__ import annotations

from librt.strings import BytesWriter
from mypy_extensions import i64, u8


def put_long(writer: BytesWriter, number: i64) -> None:
    """A number that isn't negative, zigzag and seven bits a byte."""
    if number < 0x40:
        writer.append(u8(number << 1))
        return
    writer.append(u8((number & 0x3F) << 1 | 0x80))
    number >>= 6
    while number > 0x7F:
        writer.append(u8(number & 0x7F | 0x80))
        number >>= 7
    writer.append(u8(number))


def put_bytes(writer: BytesWriter, value: bytes) -> None:
    """Bytes, or a string's UTF-8."""
    put_long(writer, len(value))
    writer.write(value)


def encode_bytes(value: bytes) -> bytes:
    writer = BytesWriter()
    put_bytes(writer, value)
    return writer.getvalue()


def encode_long(number: i64) -> bytes:
    writer = BytesWriter()
    put_long(writer, number)
    return writer.getvalue()
