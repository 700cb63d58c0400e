"""Any bytes, in any pieces: nothing is forwarded that wasn't judged and written down. `make fuzz` goes on for longer.

TAPRAIL_FUZZ_EXAMPLES sets how many conversations are tried.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taprail.connectors.postgres import messages as wire
from tests.fuzz.conversation import play

EXAMPLES = int(os.environ.get("TAPRAIL_FUZZ_EXAMPLES", "150"))
Z = wire.ready("I")
texts = st.sampled_from(
    [b"SELECT 1", b"drop table t", b"SELECT 1; SELECT 2", b"SELECT 1; drop table t", b"", b"sel", b"\xff", b";;",
     b"COPY t FROM STDIN", b"/* drop */", b"SELECT '\\'; drop table t; --'"]
)  # fmt: skip
names = st.sampled_from([b"", b"a", b"_taprail_mark"])
kinds = st.sampled_from([b"S", b"P"])
hidden = st.sampled_from([b"1", wire.SYNC_MESSAGE + wire.query(b"drop table t")])
client = st.one_of(
    texts.map(wire.query),
    st.builds(wire.parse, names, texts),
    st.builds(wire.bind, names, names, st.lists(hidden, max_size=2)),
    st.builds(wire.describe, kinds, names),
    st.builds(wire.close, kinds, names),
    names.map(wire.execute),
    hidden.map(lambda value: wire.message(wire.COPY_DATA, value)),
    st.sampled_from([wire.SYNC_MESSAGE, wire.FLUSH_MESSAGE, wire.message(wire.COPY_DONE)]),
)
server = st.one_of(
    st.sampled_from(b"123nsI").map(wire.message),
    st.sampled_from("ITE").map(wire.ready),
    st.sampled_from(["SELECT 1", "COPY 1"]).map(wire.command_complete),
    st.just(wire.error("22P02", "bad")),
    st.just(wire.message(wire.COPY_IN, b"\0\0\0")),
    st.just(wire.data_row([b"1"])),
)
bound = settings(max_examples=EXAMPLES, deadline=None)


@st.composite
def mutated(draw: st.DrawFn, side: st.SearchStrategy[bytes]) -> bytes:
    """Messages in which some bytes were changed, left out or put in."""
    data = bytearray(b"".join(draw(st.lists(side, max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(data)


moves = st.tuples(st.just(True), mutated(client)) | st.tuples(st.just(False), mutated(server))
orderly = st.tuples(st.just(True), client) | st.tuples(st.just(False), server)


@bound
@given(st.lists(moves | orderly, max_size=15))
def test_nothing_unjudged_is_forwarded(conversation: list[tuple[bool, bytes]]) -> None:
    play(conversation)


@bound
@given(st.lists(orderly, max_size=12), st.data())
def test_any_cut_of_either_side_gives_the_same(conversation: list[tuple[bool, bytes]], data: st.DataObject) -> None:
    pieces = []
    for from_client, message in conversation:
        cut = data.draw(st.integers(0, len(message)))
        pieces += [(from_client, message[:cut]), (from_client, message[cut:])]
    whole, parts = play(conversation), play(pieces)
    assert parts[2:] == whole[2:]
    if not whole[3]:
        assert parts[:2] == whole[:2]


COPYING = wire.parse(b"", b"COPY t FROM STDIN") + wire.bind(b"", b"") + wire.execute(b"")
DATA = wire.message(wire.COPY_DATA, b"x" * 60)
SEEDS = {
    "a CopyData whose COPY fails in its middle": [
        (True, COPYING),
        (False, wire.message(49) + wire.message(50) + wire.message(wire.COPY_IN, b"\0\0\0")),
        (True, DATA[:30]),
        (False, wire.error("22P02", "bad")),
        (True, DATA[30:] + wire.SYNC_MESSAGE + wire.query(b"SELECT 1")),
    ],
}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_found_once(seed: str) -> None:
    sent = play(SEEDS[seed])[0]
    assert sent.endswith(DATA + wire.SYNC_MESSAGE + wire.query(b"SELECT 1"))
