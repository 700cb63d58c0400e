from __future__ import annotations

import pytest

from taprail.schemas.errors import SignatureError
from taprail.schemas.writer import Declaration, is_declaration, parse, render, writer_key

KEY = b"k" * 32
DECLARATION = Declaration("migrations", "local", "prod", 7_000_000_771, 1_700_000_000_000_000)


def test_a_declaration_comes_back_as_it_was_made() -> None:
    text = render(DECLARATION, writer_key(KEY, "migrations", "local", "prod"))
    assert is_declaration(text.encode())
    assert parse(text, KEY) == DECLARATION


@pytest.mark.parametrize(
    "place", [("other", "local", "prod"), ("migrations", "other", "prod"), ("migrations", "local", "dev")]
)
def test_a_writers_key_declares_nobody_else_and_nowhere_else(place: tuple[str, str, str]) -> None:
    with pytest.raises(SignatureError):
        parse(render(DECLARATION, writer_key(KEY, *place)), KEY)


def test_a_writers_key_is_not_the_mark_key() -> None:
    with pytest.raises(SignatureError):
        parse(render(DECLARATION, KEY), KEY)


@pytest.mark.parametrize("field", range(7))
def test_no_part_can_be_changed(field: int) -> None:
    parts = render(DECLARATION, writer_key(KEY, "migrations", "local", "prod")).split("|")
    parts[field] = parts[field][:-1] + ("1" if parts[field][-1] != "1" else "2")
    with pytest.raises(SignatureError):
        parse("|".join(parts), KEY)
