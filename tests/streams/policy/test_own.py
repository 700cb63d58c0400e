"""Which names are PostgreSQL's own: those that a server says, and what policies make of them where none is asked."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.abc import Query

from taprail.connectors.postgres.catalog import _PURE_EXTENSIONS
from taprail.schemas.endpoints import Endpoints
from taprail.streams.policy.example import ExampleCatalog, facts_of_example
from taprail.streams.policy.own import FILE, NAMES, OF_EXTENSIONS, is_own
from taprail.streams.policy.policy import Example

LINES = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]


def test_the_file_is_what_the_server_says(stack: Endpoints) -> None:
    """Run the query in it again for another version: what a name was once it stays."""
    [query] = [line.removeprefix("# query: ") for line in FILE.read_text().splitlines() if line.startswith("# query: ")]
    asked: Query = query.encode()
    with psycopg.connect(stack.postgres.dsn()) as connection:
        said = {name for (name,) in connection.execute(asked).fetchall() if "\t" not in name}
        assert said <= NAMES
        if connection.info.server_version // 10_000 == 18:
            assert said == NAMES


def test_it_is_sorted_and_its_extensions_are_those_that_a_tap_believes() -> None:
    assert sorted(LINES) == LINES and len(set(LINES)) == len(LINES)
    assert {line.partition("\t")[2] for line in LINES if "\t" in line} == set(_PURE_EXTENSIONS)
    assert not NAMES & OF_EXTENSIONS


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("lower", True), ("pg_catalog.lower", True), ("hr.lower", False), ("public.lower", False),
        ("information_schema._pg_expandarray", True), ("score", False), ("pg_catalog.score", False),
        ("digest", True), ("public.digest", True), ("hr.digest", False), ("dblink", False),
        ("operator +", True), ("operator <->", True), ("operator <%>", True), ("operator ~~~~", False),
    ],
)  # fmt: skip
def test_whose_a_name_is(name: str, own: bool) -> None:
    assert is_own(name) is own
    assert ExampleCatalog({}).builtin(name) is own


def test_an_example_tells_functions_of_somebodys_own() -> None:
    [facts] = facts_of_example(Example("SELECT score(id), lower(name), name === email, name || email FROM customers"))
    assert list(facts["statement"].foreign_functions) == ["score", "operator ==="]  # type: ignore[attr-defined]
    [facts] = facts_of_example(Example("SELECT c.lower, c.name, c.score, nobody.upper FROM customers c"))
    assert list(facts["statement"].functions) == ["lower", "upper"], "columns but for these"  # type: ignore[attr-defined]


def test_another_dialects_functions_arent_looked_up_here() -> None:
    assert ExampleCatalog({}, frozenset({"score"})).builtin("ifnull")
    assert not ExampleCatalog({}, frozenset({"score"})).builtin("score")
