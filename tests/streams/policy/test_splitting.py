"""A text that is taken for one statement without its tree is one to the grammar, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Part
from taprail.streams.policy import sql

PIECES = (
    *("SELECT 1", "SELECT ';'", 'SELECT 1 AS "a;b"', "DELETE FROM t", "DO $$ BEGIN; END $$", "; ", ";", " ", "\n"),
    *("--x;\n", "/* ; */", "$x$;$x$", "'", '"', "E'\\';'", "U&'\\003b'", "BEGIN ATOMIC SELECT 1; END", "\\", "--"),
    *("/*", "*/", "$$", "CREATE FUNCTION f() RETURNS int", "é;", "\ufeff", "\u00a0;", "\v", "\f;", "N';'", "x'3b'"),
)
CORPUS = [
    line
    for name in ("streams/policy/catalog_queries.sql", "system/guard_attacks.sql")
    for line in (Path(__file__).parents[2] / name).read_text().splitlines()
    if line and not line.startswith("--")
]


def by_the_tree(text: str) -> tuple[Part, ...] | None:
    try:
        return sql._split(text)
    except RefusedError:
        return None


@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
@example("SELECT 1;;")
@example("SELECT 1 ;--")
def test_pieces(text: str) -> None:
    if sql._is_one(text):
        parts = by_the_tree(text)
        assert parts is not None and len(parts) == 1
        assert sql.split(text) == (Part(0, len(text.encode())),)
    else:
        expected = by_the_tree(text)
        if expected is None:
            with pytest.raises(RefusedError):
                sql.split(text)
        else:
            assert sql.split(text) == expected


def test_a_corpus() -> None:
    taken = [text for text in CORPUS if sql._is_one(text)]
    assert len(taken) > 100
    assert all(len(by_the_tree(text) or ()) == 1 for text in taken)


def test_a_zero_byte_ends_nothing() -> None:
    for read in (sql.split, sql.normalise, sql.parse):
        with pytest.raises(RefusedError, match="zero byte"):
            read("SELECT 1\0; DROP TABLE t")
