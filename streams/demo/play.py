"""A step of the story is a function that looks for evidence; this plays them and says what held."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

Evidence = dict[str, Any]


class NotHeld(Exception):
    """A step's promise didn't hold; the message says what was seen instead."""


class Step(Struct, frozen=True):
    """One step: what happens, in a sentence, and the function that does it and returns the evidence it looked at."""

    title: str
    play: Callable[[], Evidence]


class Played(Struct, frozen=True):
    step: int
    title: str
    held: bool
    milliseconds: int
    evidence: Evidence
    error: str = ""


def play(steps: list[Step]) -> Iterator[Played]:
    """Play the steps in order. A step that fails doesn't stop the others: each says what it saw."""
    for number, step in enumerate(steps, 1):
        started = time.perf_counter()
        error, evidence = "", Evidence()
        try:
            evidence = step.play()
        except Exception as failure:  # whatever it is, it belongs into the report
            error = f"{type(failure).__name__}: {failure}".strip()
        milliseconds = round((time.perf_counter() - started) * 1000)
        yield Played(number, step.title, not error, milliseconds, evidence, error)


def expect(held: bool, otherwise: str) -> None:
    if not held:
        raise NotHeld(otherwise)
