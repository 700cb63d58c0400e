"""Which functions and operators are PostgreSQL's own, by their names alone: for where no server can be asked.

`own_names.txt` beside this module has the names, and says how it was made. A tap asks its server instead, which also
tells of a function that somebody made under one of these names; here such a one counts as PostgreSQL's.
"""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).parent / "own_names.txt"
_SYSTEM = ("", "pg_catalog", "information_schema")


def _read() -> tuple[frozenset[str], frozenset[str]]:
    """The server's own names, and those of extensions that only compute."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = [line.partition("\t")[::2] for line in lines]
    return frozenset(name for name, of in found if not of), frozenset(name for name, of in found if of)


NAMES, OF_EXTENSIONS = _read()


def is_own(function: str) -> bool:
    """As `Catalog.builtin`, of a function or an operator (`operator <->`). An extension's may stand in `public`."""
    schema, _, name = function.rpartition(".")
    return (name in NAMES and schema in _SYSTEM) or (name in OF_EXTENSIONS and schema in ("", "public"))
