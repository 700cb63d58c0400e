"""The compiled loop and the same file as Python do the same, and what the protocol says."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import rows

tables = st.integers(0, 4).flatmap(
    lambda columns: st.tuples(
        st.lists(st.lists(st.none() | st.binary(max_size=300), min_size=columns, max_size=columns), max_size=6),
        st.lists(st.sampled_from(["keep", "hash", None, b"***", b""]), min_size=columns, max_size=columns),
    )
)
both_variants = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


KEY = b"a key of an environment"


def actions_of(wanted, variant=rows):
    kinds = {"keep": lambda: None, "hash": lambda: variant.Keyed(KEY)}
    return tuple(kinds[action]() if isinstance(action, str) else rows.replacement(action) for action in wanted)


def hidden(value, action):
    if value is None or action == "keep":
        return value
    return hashlib.blake2b(value, key=KEY, digest_size=12).hexdigest().encode() if action == "hash" else action


@both_variants
@given(tables, st.binary(max_size=8))
def test_rewrite_does_what_its_actions_say(rows_variant, table, tail):
    values, wanted = table
    tail = b"C" + tail  # whatever follows the rows is left alone
    data = b"".join(wire.data_row(row) for row in values)
    masked = [[hidden(value, action) for value, action in zip(row, wanted, strict=True)] for row in values]
    expected = b"".join(wire.data_row(row) for row in masked)
    assert rows_variant.rewrite(data + tail, 0, actions_of(wanted, rows_variant)) == (expected, len(data), len(values))
    assert rows_variant.skip(data + tail, 0, wire.DATA_ROW) == (len(data), len(values))


@both_variants
@given(st.binary(max_size=60), tables)
def test_any_bytes_give_rows_or_an_error(rows_variant, noise, table):
    """No bytes of a row may come out that the actions didn't see."""
    _, wanted = table
    data = b"D\0\0\0" + bytes([len(noise) + 4]) + noise
    try:
        _, end, count = rows_variant.rewrite(data, 0, actions_of(wanted, rows_variant))
    except ValueError as error:
        assert "row" in str(error)
    else:
        assert (end, count) in ((0, 0), (len(data), 1))


def test_a_row_that_is_not_whole_waits(rows_variant):
    row = wire.data_row([b"1", b"ann"])
    for end in range(len(row)):
        assert rows_variant.rewrite(row + row[:end], 0, (None, b"\0\0\0\1x"))[1:] == (len(row), 1)
        assert rows_variant.skip(row + row[:end], 0, wire.DATA_ROW) == (len(row), 1)


@pytest.mark.parametrize(
    "body",
    [
        b"\0\2\0\0\0\1a",
        b"\0\1\0\0\0\1a",
        b"\0\2\0\0\0\1a\0\0\0\5b",
        b"\0\2\0\0\0\1a\0\0\0\1bc",
        b"\0\2\xff\xff\xff\xfe\0\0\0\0",
    ],
)
def test_rows_whose_columns_do_not_fit_are_refused(rows_variant, body):
    with pytest.raises(ValueError, match="row"):
        rows_variant.rewrite(wire.message(wire.DATA_ROW, body), 0, (None, b"\0\0\0\1x"))


def test_a_compiled_loop_is_as_new_as_its_source():
    if rows.COMPILED:
        source = Path(rows.__file__).with_name("rows.py")
        assert Path(rows.__file__).stat().st_mtime >= source.stat().st_mtime
    else:
        spec = importlib.util.find_spec("taprail.connectors.postgres.rows")
        assert spec is not None and spec.origin == rows.__file__
