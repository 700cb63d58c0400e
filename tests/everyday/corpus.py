"""What people's tools send all day, as it was captured from them: `tests/everyday/<tool>.sql`.

A file begins with comments that say which tool, which version and how it was run. Each statement follows a line
`-- @ what was being done`, exactly as it was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
MARK = "-- @ "


class Everyday(NamedTuple):
    tool: str
    doing: str
    text: str


def tools() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.sql"))


def load(tool: str) -> Iterator[Everyday]:
    """A tool's statements."""
    text = (FOLDER / f"{tool}.sql").read_text()
    for part in f"\n{text}".split(f"\n{MARK}")[1:]:
        doing, _, statement = part.partition("\n")
        yield Everyday(tool, doing, statement.strip("\n"))


def head(tool: str) -> str:
    """What the file says of itself."""
    return (FOLDER / f"{tool}.sql").read_text().partition(MARK)[0]


def everything() -> list[Everyday]:
    return [each for tool in tools() for each in load(tool)]


def write(tool: str, said: Iterable[str], statements: Iterable[tuple[str, str]]) -> None:
    """`said` are the comments at the head, `statements` pairs of what was being done and the text."""
    parts = [f"-- {line}\n" for line in said]
    parts += [f"\n{MARK}{doing}\n{text.strip()}\n" for doing, text in statements]
    (FOLDER / f"{tool}.sql").write_text("".join(parts))
