"""Messages: what is built is read back, however the bytes are cut, and lengths that lie are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from taprail.schemas.errors import ProtocolError, RefusedError
from taprail.schemas.guard import Field

names = st.binary(max_size=10).map(lambda name: name.replace(b"\0", b""))
values = st.lists(st.none() | st.binary(max_size=20), max_size=5)
stream = st.lists(
    st.one_of(
        names.map(wire.query),
        st.builds(wire.parse, names, names),
        st.builds(wire.bind, names, names, values),
        values.map(wire.data_row),
        st.just(wire.SYNC_MESSAGE),
    ),
    max_size=8,
)


@given(stream, st.data())
def test_any_split_of_the_bytes_gives_the_same_messages(frames, data):
    whole = b"".join(frames)
    expected = wire.split(wire.Inbox(), whole, lambda _: 1000)
    assert b"".join(wire.message(kind, body) for kind, body in expected) == whole
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)))))
    inbox, found = wire.Inbox(), []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += wire.split(inbox, whole[start:end], lambda _: 1000)
    assert found == expected and len(inbox) == 0


@given(names, names, values)
def test_bind_is_read_as_it_was_built(portal, statement, parameters):
    assert wire.parse_bind(wire.bind(portal, statement, parameters, (1, 0))[5:]) == wire.Bind(
        portal, statement, tuple(parameters)
    )


@given(names, names, st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple))
def test_parse_is_read_as_it_was_built(name, text, types):
    assert wire.parse_parse(wire.parse(name, text, types)[5:]) == wire.Parse(name, text)


@given(
    st.lists(
        st.builds(
            Field,
            st.text("aé"),
            st.integers(0, 2**32 - 1),
            st.integers(-10, 1600),
            st.integers(0, 9),
            st.integers(0, 1),
        )
    )
)
def test_row_descriptions_are_read_as_they_were_built(fields):
    assert wire.parse_row_description(wire.row_description(fields)[5:]) == tuple(fields)


@given(st.dictionaries(st.sampled_from("SVCMDHPqWsdtcnFLR"), st.text("aé:", min_size=1)))
def test_error_fields_are_read_as_they_were_built(fields):
    assert wire.parse_fields(wire.error_response(fields)[5:]) == fields


@given(st.binary(max_size=40))
def test_any_body_is_read_or_refused(body):
    """Nothing but a ProtocolError may come out of bytes of a stranger."""
    readers = (wire.parse_query, wire.parse_parse, wire.parse_bind, wire.parse_execute, wire.parse_row_description)
    for reader in (*readers, wire.parse_fields, wire.parse_parameter_status, startup.parse_packet):
        try:
            reader(body)
        except ProtocolError as error:
            assert str(error)


@pytest.mark.parametrize("length", [0, 3, 101, 2**31 - 1, 2**31, 2**32 - 1])
def test_lengths_out_of_bounds_are_refused(length):
    """Unsigned arithmetic: a length that a signed reader takes for negative is just too large (CVE-2024-27304)."""
    with pytest.raises(ProtocolError, match="length"):
        wire.frame_end(b"Q" + length.to_bytes(4, "big"), 0, 100)


def test_a_query_with_a_zero_byte_inside_is_refused():
    for body in (b"SELECT 1\0; DROP TABLE t\0", b"SELECT 1", b""):
        with pytest.raises(ProtocolError):
            wire.parse_query(body)


def test_rows_in_a_tag():
    tags = {b"SELECT 7": 7, b"INSERT 0 5": 5, b"COPY 3": 3, b"CREATE TABLE": -1, b"BEGIN": -1, b"": -1}
    assert {tag: wire.tag_rows(tag) for tag in tags} == tags


def test_options_are_split_as_the_server_does():
    assert startup.parse_options(r"-c a=b\ c  --d-e=\\f -cg=h") == [("a", "b c"), ("d-e", "\\f"), ("g", "h")]
    for options in ("-d 5", "x=y", "-c", "-c a", "--=b", "-c a=1 -P"):
        with pytest.raises(RefusedError):
            startup.parse_options(options)


@given(st.dictionaries(names.map(lambda n: "k" + n.decode("latin-1")), st.text("aé"), max_size=4), st.integers(0, 9))
def test_start_up_packets_are_read_as_they_were_built(parameters, minor):
    packet = startup.startup_packet(parameters, minor)
    assert startup.packet_length(packet[:4], 10_000) == len(packet)
    assert startup.parse_packet(packet[4:]) == startup.StartupMessage(minor, parameters)


@pytest.mark.parametrize("size", [0, 3, 257])
def test_cancel_keys_have_4_to_256_bytes(size):
    with pytest.raises(ProtocolError, match="cancel key"):
        startup.parse_packet(startup.cancel_packet(1, b"x" * size)[4:])
