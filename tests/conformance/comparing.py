"""Two runs of a suite beside each other: what differs, and which of it was looked at and is meant to be so."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from taprail.schemas.errors import TaprailError


class Outcome(Struct, frozen=True):
    """How a test ended: passed, failed, skipped, xfailed, xpassed, or 'missing'; `why` is a failure's message."""

    outcome: str
    why: str = ""


class Difference(Struct, frozen=True):
    """A test that ended in another way through the tap."""

    test: str
    direct: Outcome
    tap: Outcome


class Reviewed(Struct, frozen=True):
    """Differences of a suite that are meant to be so. `tests` is a pattern of `re` for whole names."""

    suite: str
    tests: str
    reason: str


class Judged(Struct, frozen=True):
    """`new` fails the run; `unused` are entries that nothing matched, which somebody should take off the list."""

    reviewed: tuple[tuple[Difference, str], ...]
    new: tuple[Difference, ...]
    unused: tuple[Reviewed, ...]


Outcomes = Mapping[str, Outcome]
_MISSING = Outcome("missing")


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """The lines that `outcome_lines.py` wrote. A test that was run twice has ended as it did the last time."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {each["test"]: Outcome(each["outcome"], each["why"]) for each in map(json.loads, lines)}


def read_reviewed(path: Path) -> tuple[Reviewed, ...]:
    """Raises TaprailError where an entry lacks its reason, or its pattern isn't one."""
    entries = []
    for each in tomllib.loads(path.read_text()).get("difference", []):
        entry = Reviewed(each.get("suite", ""), each.get("tests", ""), " ".join(each.get("reason", "").split()))
        if not (entry.suite and entry.tests and entry.reason):
            raise TaprailError(
                f"an entry of {path.name} is incomplete: {each}", hint="it needs suite, tests and reason"
            )
        try:
            re.compile(entry.tests)
        except re.error as error:
            raise TaprailError(f"{path.name}: {entry.tests!r} isn't a pattern: {error}", hint="escape it") from error
        entries.append(entry)
    return tuple(entries)


def differences(direct: Outcomes, tap: Outcomes) -> tuple[Difference, ...]:
    """By name. What ran on one side only differs, too; two failures are alike, whatever they say."""
    return tuple(
        Difference(test, ours, theirs)
        for test in sorted({*direct, *tap})
        if (ours := direct.get(test, _MISSING)).outcome != (theirs := tap.get(test, _MISSING)).outcome
    )


def judge(suite: str, found: tuple[Difference, ...], reviewed: tuple[Reviewed, ...]) -> Judged:
    entries = [entry for entry in reviewed if entry.suite == suite]
    known, new, used = [], [], set()
    for difference in found:
        entry = next((each for each in entries if re.fullmatch(each.tests, difference.test)), None)
        if entry is None:
            new.append(difference)
        else:
            used.add(entry)
            known.append((difference, entry.reason))
    return Judged(tuple(known), tuple(new), tuple(entry for entry in entries if entry not in used))


def counts(outcomes: Outcomes) -> str:
    """'4753 passed, 12 skipped'."""
    counted = Counter(each.outcome for each in outcomes.values())
    return ", ".join(f"{counted[name]} {name}" for name in sorted(counted)) or "no test ran"
