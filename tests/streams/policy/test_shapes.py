"""A text that is known by its shape reads exactly as the grammar would have read it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taprail.schemas.errors import RefusedError
from taprail.streams.policy import sql
from taprail.streams.policy.shape import SHAPES_MAX, Shapes

# Pieces that stand beside constants, in scanner states of every kind.
PIECES = [
    "SELECT ", "a", " FROM t WHERE ", " = ", ", ", "(", ")", " ORDER BY ", " LIMIT ", " AND b IN (", "::varchar(", "-",
    "E", "U&", "x", "n", "$", "$1", "$$", "$q$", "\"", "'", "''", "\\", "\n", "--", "/*", "*/", ".", "e5", "_", "&",
    ";", "NULL", "true", "IS NULL", "INTERVAL ", "SET x = ", "FETCH ", " é", "INSERT INTO t VALUES (",
    "UPDATE t SET a = ", "::date",
]  # fmt: skip
constants = st.one_of(st.integers(0, 10**20).map(str), st.text('ab1 -/*$";\\', max_size=4).map(lambda t: f"'{t}'"))
piece = st.one_of(st.sampled_from(PIECES), st.just("?"))  # "?" is a constant's place


def _read(text: str) -> tuple[str, bool]:
    """By the grammar alone."""
    return sql._read.__wrapped__(text)


@settings(max_examples=400)
@given(st.lists(piece, max_size=12), st.lists(constants, min_size=24, max_size=24))
def test_a_text_of_a_known_shape_reads_as_the_grammar_reads_it(pieces: list[str], values: list[str]) -> None:
    shapes, supply = Shapes(), iter(values)
    first, second = ("".join(next(supply) if p == "?" else p for p in pieces) for _ in range(2))
    normalised, parses = _read(first)
    if parses:
        shapes.learn(first, normalised)
    known = shapes.normalised(second)
    if known is not None and _read(second)[1]:
        assert known == _read(second)[0]


STATEMENTS = [
    "SELECT a FROM t WHERE id = {n} AND name = {s}",
    "  INSERT INTO t VALUES ({n}, {s}, NULL), ({n}, {s}, now());",
    "UPDATE t SET a = a + {n} WHERE b = {s} AND c < $2",
    "SELECT -{n}, f({s}), (SELECT {n} LIMIT {n})",
]


@pytest.mark.parametrize("form", STATEMENTS)
def test_everyday_statements_are_known_by_their_shape(form: str) -> None:
    shapes = Shapes()
    first, second = form.format(n=5, s="'ann'"), form.format(n=4711, s="'it -- /* is; bob'")
    shapes.learn(first, _read(first)[0])
    assert shapes.normalised(second) == _read(second)[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SELECT 'a'\n5", "SELECT 'a'\n'b'"),  # strings on two lines are one
        ("SELECT $1", "SELECT $2"),
        ("SELECT a1 FROM t2", "SELECT a2 FROM t2"),
        ('SELECT "1" FROM t', 'SELECT "2" FROM t'),
        ("SELECT 1 ORDER BY 1", "SELECT 1 ORDER BY 2"),
        ("SELECT 1 -- 1", "SELECT 1 -- 2"),
        ("SELECT $q$1$q$", "SELECT $q$2$q$"),
        ("SELECT E'a'", "SELECT E'b'"),
        ("SELECT 'a'", "SELECT 'a\\'"),
        ("SELECT 5", "SELECT 5.5"),
        ("SELECT 5", "SELECT '5'"),
        ("SELECT 1 ORDER BY 99999999999", "SELECT 1 ORDER BY 2"),  # only small numbers are positions
        ("SELECT 5 FROM t", "SELECT 5a FROM t"),
        ("SELECT 5", "SELECT \0"),
        ("SELECT 'a'", "SELECT \0'"),
        ("SELECT 1", f"SELECT {'1' * 5000}"),
    ],
)
def test_what_is_not_the_same_has_not_the_same_shape(first: str, second: str) -> None:
    shapes = Shapes()
    normalised, parses = _read(first)
    if parses:
        shapes.learn(first, normalised)
    assert shapes.normalised(second) is None


def test_what_only_looks_like_a_string_is_no_mark() -> None:
    """Between the quotes inside two names stands what the statement reads."""
    shapes = Shapes()
    shapes.learn("""SELECT " ' " , id , " ' " FROM t""", """SELECT " ' " , id , " ' " FROM t""")
    assert shapes.normalised("""SELECT " ' " , email , " ' " FROM t""") is None


def test_a_zero_byte_is_refused_whatever_is_known() -> None:
    sql.normalise("SELECT 5")
    with pytest.raises(RefusedError):
        sql.normalise("SELECT \0")


def test_as_many_shapes_as_somebody_likes() -> None:
    shapes = Shapes()
    for number in range(SHAPES_MAX + 10):
        shapes.learn(f"SELECT a{number} + 1", f"SELECT a{number} + $1")
    assert shapes.normalised(f"SELECT a{SHAPES_MAX + 9} + 7") == f"SELECT a{SHAPES_MAX + 9} + $1"
    assert shapes.normalised("SELECT a0 + 7") is None
