"""The first packet, whatever its bytes; and `options`, which must mean to the tap what it means to a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.postgres import startup
from taprail.schemas.errors import ProtocolError, RefusedError

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,20}(\.[a-z_]{1,10})?", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def escaped(word: str) -> str:
    """As libpq's documentation asks for: a backslash before each blank and backslash."""
    return "".join(f"\\{c}" if c in " \t\n\v\f\r\\" else c for c in word)


@given(st.lists(st.tuples(NAMES, VALUES, st.sampled_from(["-c ", "-c", "--"]))))
def test_what_was_escaped_is_read_as_it_was(settings):
    text = " ".join(switch + escaped(f"{name}={value}") for name, value, switch in settings)
    assert startup.parse_options(text) == [(name, value) for name, value, _ in settings]


@pytest.mark.parametrize(
    "options", ["-W 3", "-c", "-c x", "--x", "-d5", "-c =1", "x=1", "-o -c", "-c x=1 -F", "-ca b=1"]
)
def test_every_other_switch_is_refused(options):
    with pytest.raises(RefusedError):
        startup.parse_options(options)


@given(st.binary(min_size=4, max_size=200))
def test_any_bytes_are_a_packet_or_one_error(body):
    try:
        packet = startup.parse_packet(body)
    except ProtocolError:
        return
    if isinstance(packet, startup.CancelRequest):
        assert startup.cancel_packet(packet.pid, packet.key)[4:] == body


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.integers(0, 3))
def test_a_start_up_packet_is_read_as_it_was_written(parameters, minor):
    packet = startup.startup_packet(parameters, minor)
    assert startup.packet_length(packet[:4], 10_000) == len(packet)
    assert startup.parse_packet(packet[4:]) == startup.StartupMessage(minor, parameters)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_only_what_is_allowed_goes_to_the_server(parameters):
    try:
        wanted = startup.wanted(startup.StartupMessage(0, {**parameters, "user": "u"}))
    except RefusedError:
        return
    assert set(wanted.settings) <= startup.ALLOWED_SETTINGS
    assert not set(wanted.settings) & startup.NEVER_ALLOWED


@pytest.mark.parametrize("length", [0, 7, 10_001, (1 << 32) - 1])
def test_lengths_that_no_first_packet_has(length):
    with pytest.raises(ProtocolError):
        startup.packet_length(length.to_bytes(4, "big"), 10_000)
