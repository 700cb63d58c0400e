"""What a verification says: each problem names what, where and which record."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from taprail.schemas.ledger import Checkpoint

ProblemKind = Literal[
    "changed",  # an entry isn't the one that was signed
    "erased",  # an entry's payload is gone
    "removed",  # an entry is missing
    "truncated",  # the newest entries are missing
    "reordered",  # an entry stands at another place
    "inserted",  # an entry that was never in the log
    "unreadable",  # bytes that are no entry
    "index",  # the index was changed, the entries weren't
    "interval",  # neither entries nor index fit the signed root
    "checkpoint",  # a checkpoint is missing, forged or older than it should be
    "schema",  # a schema that entries name is missing or changed
    "parquet",  # a Parquet row doesn't say what its entry says
]
PROBLEMS_MAX = 1000  # a report is for reading; `more` counts the rest


class Problem(Struct, frozen=True):
    """`first` and `last` are leaf indexes, both included, -1 where there is none; the rest is of the first of them."""

    kind: ProblemKind
    message: str
    first: int = -1
    last: int = -1
    topic: str = ""
    partition: int = -1
    offset: int = -1
    statement: str = ""

    def __str__(self) -> str:
        where = ""
        if self.first >= 0:
            where = f" entry {self.first}" if self.first == self.last else f" entries {self.first} to {self.last}"
        if self.offset >= 0:
            where += f", {self.topic}/{self.partition} offset {self.offset}"
        if self.statement:
            where += f", statement {self.statement}"
        return f"{self.kind}:{where}: {self.message}" if where else f"{self.kind}: {self.message}"


class Report(Struct, frozen=True):
    """`ok` where there is no problem. `unsigned` entries are newer than the newest checkpoint: not yet proven."""

    ok: bool
    problems: tuple[Problem, ...]
    more: int
    checkpoint: Checkpoint | None
    size: int
    entries: int
    unsigned: int
    checkpoints: int
    parquet_rows: int

    def to_json(self) -> str:
        """One JSON object; hashes in base64."""
        return msgspec.json.encode(self).decode()

    def to_text(self) -> str:
        """A few lines for a person."""
        lines = [f"{'OK' if self.ok else 'NOT OK'}: {self.entries} entries, {self.checkpoints} signed checkpoints"]
        if found := self.checkpoint:
            lines.append(f"log {found.origin}, size {found.size}, root {found.root.hex()}")
        if self.parquet_rows:
            lines.append(f"{self.parquet_rows} Parquet rows say what their entries say")
        if self.unsigned:
            lines.append(f"{self.unsigned} entries are newer than the newest checkpoint: not yet proven")
        lines += [f"- {problem}" for problem in self.problems]
        if self.more:
            lines.append(f"- and {self.more} more")
        return "\n".join(lines)


class Problems:
    """Collects problems; neighbours that say the same of consecutive entries become one."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.more = 0

    def add(self, problem: Problem) -> None:
        last = self.found[-1] if self.found else None
        if last and _continues(last, problem):
            self.found[-1] = Problem(
                last.kind,
                last.message,
                last.first,
                problem.last,
                last.topic,
                last.partition,
                last.offset,
                last.statement,
            )
        elif len(self.found) < PROBLEMS_MAX:
            self.found.append(problem)
        else:
            self.more += 1


def _continues(last: Problem, problem: Problem) -> bool:
    return (last.kind, last.message, last.last + 1) == (problem.kind, problem.message, problem.first) and last.last >= 0
