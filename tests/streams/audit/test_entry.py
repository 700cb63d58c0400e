"""Headers and frames: what goes in comes out, and nothing else decodes."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.errors import LogError
from taprail.schemas.ledger import Header
from taprail.streams.audit import entry

names = st.text(max_size=60)
headers = st.builds(
    Header,
    topic=names,
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    timestamp_us=st.integers(-(2**63), 2**63 - 1),
    schema_id=st.integers(0, 2**32 - 1),
    schema_sha256=st.binary(min_size=32, max_size=32),
    kind=names,
)


@given(headers)
def test_header_round_trip(header: Header) -> None:
    assert entry.decode_header(entry.encode_header(header)) == header


@given(headers, headers)
def test_different_headers_have_different_bytes(one: Header, other: Header) -> None:
    """Topic and kind carry their lengths, so no two headers are the same leaf."""
    assert (entry.encode_header(one) == entry.encode_header(other)) == (one == other)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_header_or_the_one_error(data: bytes) -> None:
    try:
        header = entry.decode_header(data)
    except LogError:
        return
    assert entry.encode_header(header) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_a_body_or_the_one_error(data: bytes) -> None:
    try:
        stored = entry.decode_body(data)
    except LogError:
        return
    parts = (stored.header, stored.commitment, stored.salt, stored.payload)
    assert entry.encode_frame(*parts, erased=stored.erased)[entry.FRAME.size :] == data


@given(headers, st.binary(max_size=300), st.binary(min_size=32, max_size=32))
def test_frame_round_trip(header: Header, payload: bytes, salt: bytes) -> None:
    encoded, commitment = entry.encode_header(header), entry.commitment_to(salt, payload)
    frame = entry.encode_frame(encoded, commitment, salt, payload)
    length, checksum = entry.FRAME.unpack_from(frame)
    body = frame[entry.FRAME.size :]
    assert (length, checksum) == (len(body), crc32(body))
    assert entry.decode_body(body) == entry.StoredEntry(encoded, commitment, salt, payload)


def test_commitment_is_hmac_sha256() -> None:
    """RFC 4231, test case 2."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert entry.commitment_to(b"Jefe", b"what do ya want for nothing?").hex() == expected


def test_a_leaf_input_fits_a_tile_entry() -> None:
    largest = Header("t" * 255, 2**31 - 1, 2**63 - 1, 0, 2**32 - 1, bytes(32), "k" * 255)
    assert len(entry.leaf_input(entry.encode_header(largest), bytes(32))) < 65_536


@pytest.mark.parametrize(
    "field, value", [("topic", "t" * 256), ("kind", "k" * 256), ("partition", 2**31), ("offset", 2**63)]
)
def test_what_does_not_fit_is_refused(field: str, value: object) -> None:
    fields: dict[str, object] = {"topic": "t", "partition": 0, "offset": 0, "kind": "k"}
    header = Header(**{**fields, field: value}, timestamp_us=0, schema_id=0, schema_sha256=bytes(32))  # type: ignore[arg-type]
    with pytest.raises(LogError, match="doesn't fit"):
        entry.encode_header(header)
