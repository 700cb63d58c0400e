"""An entry of the audit log: its header, the commitment to its payload, and its frame in a segment.

    leaf input = header || HMAC-SHA256(salt, payload)

The salt is 32 random bytes. So a payload can be erased later together with its salt: what stays in the tree tells
nothing about it, and every proof still verifies. A leaf input is at most 64 KB, as an entry of tlog-tiles is.

    frame  = body length u32 | CRC-32 of the body u32 | body
    body   = flags u8 | header length u16 | header | commitment 32 | salt 32 | payload
    header = version u8 | partition i32 | offset i64 | timestamp_us i64 | schema id u32 | schema SHA-256 32
             | topic length u8 | topic | kind length u8 | kind

All numbers are big-endian. The frame stores the commitment too: it tells a changed payload from a changed header,
and it is what remains of an erased payload.
"""

from __future__ import annotations

import hmac
from struct import Struct as Layout
from struct import error as LayoutError
from zlib import crc32

from msgspec import Struct

from taprail.schemas.errors import LogError
from taprail.schemas.ledger import Header

VERSION = 1
SALT_BYTES = HASH_BYTES = 32
ERASED = 1
PAYLOAD_BYTES_MAX = 64 << 20  # far above what a broker takes: a length beyond it is damage, not a record

FRAME = Layout(">II")
_FIXED = Layout(">BiqqI32s")
_HEAD = Layout(">BH")


class StoredEntry(Struct, frozen=True):
    """What a frame holds. `header` is its exact bytes; `salt` and `payload` are zeros where `erased`."""

    header: bytes
    commitment: bytes
    salt: bytes
    payload: bytes
    erased: bool = False


def encode_header(header: Header) -> bytes:
    """Raises LogError where a field doesn't fit its place."""
    topic, kind = header.topic.encode(), header.kind.encode()
    try:
        fixed = _FIXED.pack(
            VERSION, header.partition, header.offset, header.timestamp_us, header.schema_id, header.schema_sha256
        )
        return b"".join((fixed, bytes((len(topic),)), topic, bytes((len(kind),)), kind))
    except (LayoutError, ValueError) as error:
        place = f"{header.topic}/{header.partition}/{header.offset}"
        raise LogError(f"the record at {place} doesn't fit an entry header: {error}") from error


def decode_header(data: bytes) -> Header:
    """Raises LogError where the bytes aren't a header that `encode_header` could have made."""
    try:
        version, partition, offset, timestamp_us, schema_id, schema_sha256 = _FIXED.unpack_from(data)
        at = _FIXED.size
        topic = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
        kind = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
        if version != VERSION or at != len(data):
            raise LogError(f"an entry header of version {version} and {len(data)} bytes can't be read")
        return Header(topic.decode(), partition, offset, timestamp_us, schema_id, schema_sha256, kind.decode())
    except (LayoutError, IndexError, UnicodeDecodeError) as error:
        raise LogError(f"an entry header of {len(data)} bytes can't be read: {error}") from error


def commitment_to(salt: bytes, payload: bytes) -> bytes:
    return hmac.digest(salt, payload, "sha256")


def leaf_input(header: bytes, commitment: bytes) -> bytes:
    return header + commitment


def encode_frame(header: bytes, commitment: bytes, salt: bytes, payload: bytes, *, erased: bool = False) -> bytes:
    body = b"".join((_HEAD.pack(ERASED if erased else 0, len(header)), header, commitment, salt, payload))
    return FRAME.pack(len(body), crc32(body)) + body


def decode_body(body: bytes) -> StoredEntry:
    """Raises LogError where the parts don't add up. The checksum is the reader's business."""
    if len(body) < _HEAD.size + 2 * HASH_BYTES:
        raise LogError(f"an entry of {len(body)} bytes can't be read")
    flags, header_bytes = _HEAD.unpack_from(body)
    at = _HEAD.size + header_bytes
    if flags & ~ERASED or at + HASH_BYTES + SALT_BYTES > len(body):
        raise LogError(f"an entry of {len(body)} bytes with flags {flags} can't be read")
    salt = at + HASH_BYTES
    payload = salt + SALT_BYTES
    return StoredEntry(body[_HEAD.size : at], body[at:salt], body[salt:payload], body[payload:], flags == ERASED)
