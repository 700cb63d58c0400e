"""Two runs of a suite beside each other: what differs, and which of it was looked at and is meant to be so."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from taprail.schemas.errors import TaprailError


class Outcome(Struct, frozen=True):
    """How a test ended: passed, failed, skipped, xfailed, xpassed, or 'missing'; `why` is a failure's message."""

    outcome: str
    why: str = ""


class Difference(Struct, frozen=True):
    """Where the run through the tap isn't as the direct one: a test that ended otherwise, or lines of what it printed.

    `shows` is what differs: 'passed, then failed: ' and a message's first line, or the lines themselves, those of the
    direct run after '-', those through the tap after '+'.
    """

    test: str
    shows: str


class Reviewed(Struct, frozen=True):
    """Differences of a suite that are meant to be so: `tests` and `shows` are patterns of `re` for the whole of each.

    Where `lines` isn't empty, `shows` must be one of them, exactly. `marks`: with marks on only.
    """

    suite: str
    tests: str
    reason: str
    shows: str = ""
    lines: tuple[str, ...] = ()
    marks: bool = False


class Judged(Struct, frozen=True):
    """`new` fails the run; `unused` are entries that nothing matched, which somebody should take off the list."""

    reviewed: tuple[tuple[Difference, str], ...]
    new: tuple[Difference, ...]
    unused: tuple[Reviewed, ...]


Outcomes = Mapping[str, Outcome]
Printed = Mapping[str, Sequence[str]]
_MISSING = Outcome("missing")
_FIELDS = {"suite", "tests", "reason", "shows", "lines", "marks"}


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """The lines that `outcome_lines.py` wrote. A test that was run twice has ended as it did the last time."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {each["test"]: Outcome(each["outcome"], each["why"]) for each in map(json.loads, lines)}


def read_reviewed(path: Path) -> tuple[Reviewed, ...]:
    """Raises TaprailError where an entry lacks its reason or what it shows, or a pattern isn't one."""
    entries = []
    for each in tomllib.loads(path.read_text()).get("difference", []):
        complete = all(each.get(name) for name in ("suite", "tests", "reason"))
        if not complete or bool(each.get("shows")) == bool(each.get("lines")) or not each.keys() <= _FIELDS:
            raise TaprailError(
                f"an entry of {path.name} is incomplete: {each}", hint="it needs suite, tests, reason, shows or lines"
            )
        lines = tuple(lines.strip("\n") for lines in each.get("lines", ()))
        reason = " ".join(each["reason"].split())
        entry = Reviewed(each["suite"], each["tests"], reason, each.get("shows", ""), lines, each.get("marks", False))
        for pattern in (entry.tests, entry.shows):
            try:
                re.compile(pattern)
            except re.error as error:
                raise TaprailError(f"{path.name}: {pattern!r} isn't a pattern: {error}", hint="escape it") from error
        entries.append(entry)
    return tuple(entries)


def differences(direct: Outcomes, tap: Outcomes) -> tuple[Difference, ...]:
    """By name. What ran on one side only differs, too; two failures are alike, whatever they say."""
    found = []
    for test in sorted({*direct, *tap}):
        ours, theirs = direct.get(test, _MISSING), tap.get(test, _MISSING)
        if ours.outcome != theirs.outcome:
            why = (theirs.why or ours.why).strip().partition("\n")[0]
            found.append(Difference(test, f"{ours.outcome}, then {theirs.outcome}: {why}"))
    return tuple(found)


def line_differences(direct: Printed, again: Printed, tap: Printed) -> tuple[Difference, ...]:
    """The runs of lines that differ. Those that two direct runs print differently, at the same place, aren't counted.

    A file is a test; its places are the lines of the first direct run.
    """
    found = []
    for test, lines in direct.items():
        noise = [(start, end) for start, end, _ in _hunks(lines, again.get(test, ()))]
        for start, end, shows in _hunks(lines, tap.get(test, ())):
            if not any(first <= start and end <= last for first, last in noise):
                found.append(Difference(test, shows))
    return tuple(found)


def _hunks(ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first line, line after the last, what differs there) of `ours`."""
    if list(ours) == list(theirs):
        return []
    found = []
    for kind, start, end, begin, finish in difflib.SequenceMatcher(None, ours, theirs).get_opcodes():
        if kind != "equal":
            shows = [f"-{line}" for line in ours[start:end]] + [f"+{line}" for line in theirs[begin:finish]]
            found.append((start, end, "\n".join(shows)))
    return found


def judge(suite: str, found: tuple[Difference, ...], reviewed: tuple[Reviewed, ...], *, marks: bool = False) -> Judged:
    """An entry for marks alone is neither used nor unused without them."""
    entries = [entry for entry in reviewed if entry.suite == suite and (marks or not entry.marks)]
    known, new, used = [], [], set()
    for difference in found:
        entry = next((each for each in entries if _covers(each, difference)), None)
        if entry is None:
            new.append(difference)
        else:
            used.add(entry)
            known.append((difference, entry.reason))
    return Judged(tuple(known), tuple(new), tuple(entry for entry in entries if entry not in used))


def _covers(entry: Reviewed, difference: Difference) -> bool:
    if re.fullmatch(entry.tests, difference.test) is None:
        return False
    if entry.lines:
        return difference.shows in entry.lines
    return re.fullmatch(entry.shows, difference.shows) is not None


def counts(outcomes: Outcomes) -> str:
    """'4753 passed, 12 skipped'."""
    counted = Counter(each.outcome for each in outcomes.values())
    return ", ".join(f"{counted[name]} {name}" for name in sorted(counted)) or "no test ran"
