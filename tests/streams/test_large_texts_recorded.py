"""A statement of megabytes fits into its record: its beginning, and the size and hash of all of it."""

from __future__ import annotations

import hashlib

import pytest

from taprail.streams.policy.sizes import TEXT_BYTES_KEPT
from taprail.streams.values import Cut
from tests.streams.test_recorded_values import recorded, values


@pytest.mark.parametrize("character", ["x", "ä", "€"])
def test_the_beginning_is_kept_and_the_whole_is_told(character: str) -> None:
    text = f"INSERT INTO t VALUES ('{character * 5_000_000}', $1)"
    kept = values(recorded(text, b"bound"))
    encoded = text.encode()
    assert kept.whole == Cut(len(encoded), hashlib.sha256(encoded).hexdigest())
    assert text.startswith(kept.text) and TEXT_BYTES_KEPT - 4 < len(kept.text.encode()) <= TEXT_BYTES_KEPT
    assert kept.parameters == (b"bound",)


def test_a_text_that_fits_is_kept_as_it_is() -> None:
    for size in (10, TEXT_BYTES_KEPT // 2, TEXT_BYTES_KEPT - 20):
        text = f"SELECT '{'x' * size}'"
        kept = values(recorded(text))
        assert (kept.text, kept.whole) == (text, None)


def test_many_small_values_fit_into_a_record_too() -> None:
    recorded("INSERT INTO t VALUES " + "(1,'a'),(2,'b')," * 100_000 + "(3,'c')")
