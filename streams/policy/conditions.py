"""Conditions of policies, in CEL over the facts: checked when they are loaded, evaluated without surprises.

The engine is CEL-C++ behind `cel-expr-python`; nothing else knows it. It checks an expression against the facts'
descriptors. An error while one is evaluated comes back as a value of type ERROR whose text is true to Python, so a BOOL
is demanded. Source: Common Expression Language specification, cel-spec.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

from cel_expr_python import cel
from google.protobuf.message import Message
from msgspec import Struct

from taprail.schemas.errors import TaprailError
from taprail.streams.policy.descriptor import pool, variables

CHARACTERS_MAX = 4_000
DECIDED_ONCE = ("statement", "person", "session")  # the rest is looked at for every statement anew
# What a condition asks for: person and session alone, the statement too, or what changes from one to the next.
Asks = Literal["place", "statement", "live"]
_NAMED: dict[Asks, tuple[str, ...]] = {"place": ("person", "session"), "statement": DECIDED_ONCE, "live": ()}
_FUNCTIONS = [
    "size",
    "has",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "exists",
    "exists_one",
    "all",
    "int",
    "string",
]
_REPORTED = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_FIELD = re.compile(r"undefined field '([^']*)' not found in struct '(?:\w+\.)*(\w+)'")
_NAME = re.compile(r"undeclared reference to '([^']*)'")


class ConditionError(TaprailError):
    """A condition that can't be. `line` and `column` are its own, from 1; the nearest name is in the hint."""

    def __init__(self, message: str, line: int = 1, column: int = 1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.line, self.column = line, column


class Unanswered(NamedTuple):
    """What evaluating came to where it was neither true nor false."""

    reason: str


class Condition(Struct, frozen=True):
    """`asks` says what must be known before it can be answered."""

    text: str
    asks: Asks
    program: Any

    @property
    def live(self) -> bool:
        """Whether it names facts that change from statement to statement: the time, what was done before."""
        return self.asks == "live"


class Facts:
    """Messages by their variables' names, ready to be asked."""

    def __init__(self, messages: Mapping[str, Message]) -> None:
        self.messages = messages
        self.activation = _environment("live" if "now" in messages else "statement").Activation(dict(messages))


def condition(text: str) -> Condition:
    """Raises ConditionError where it isn't one: no CEL, a name that no fact has, no BOOL."""
    if len(text) > CHARACTERS_MAX:
        raise ConditionError(f"a condition of {len(text)} characters; {CHARACTERS_MAX} are the most")
    program, asks = _compile(text)
    if program.return_type() != cel.Type.BOOL:
        raise ConditionError(f"it gives {program.return_type().name()}, and a condition gives bool", 1, 1)
    return Condition(text, asks, program)


def _compile(text: str) -> tuple[Any, Asks]:
    """In the smallest environment that knows all of its names."""
    for asks in ("place", "statement"):
        with contextlib.suppress(RuntimeError):
            return _environment(asks).compile(text), asks
    try:
        return _environment("live").compile(text), "live"
    except RuntimeError as error:
        raise _explained(str(error), text) from None


def holds(asked: Condition, facts: Facts) -> bool | Unanswered:
    return _answer(asked.program.eval(facts.activation))


class Together:
    """Many conditions asked at once, which costs a fraction of asking one by one."""

    def __init__(self, asked: Sequence[Condition], *, live: bool) -> None:
        self._asked = asked
        listed = ",\n".join(f"({each.text}\n)" for each in asked)  # a comment may end the text
        self._program = _environment("live" if live else "statement").compile(f"[{listed}]") if asked else None

    def answers(self, facts: Facts) -> list[bool | Unanswered]:
        """One for each, in order. An error of one spoils the list, so they are asked one by one then."""
        if self._program is None:
            return []
        found = self._program.eval(facts.activation)
        if found.type() == cel.Type.ERROR:
            return [holds(each, facts) for each in self._asked]
        answers = found.plain_value()
        if not isinstance(answers, list) or len(answers) != len(self._asked) or {type(a) for a in answers} - {bool}:
            return [holds(each, facts) for each in self._asked]
        return answers


def _answer(value: Any) -> bool | Unanswered:
    if value.type() == cel.Type.BOOL:
        answer = value.value()
        if answer is True or answer is False:
            return bool(answer)
    return Unanswered(str(value.value()))


@cache
def _environment(asks: Asks) -> Any:
    named = {name: cel.Type(f"taprail.{message}") for name, message in variables().items()}
    return cel.NewEnv(pool(), variables={n: t for n, t in named.items() if asks == "live" or n in _NAMED[asks]})


def _explained(report: str, text: str) -> ConditionError:
    """The first error of the engine's report, at the name that it is about, with the nearest one that would do."""
    found = _REPORTED.search(report)
    if found is None:
        return ConditionError(report.splitlines()[0])
    line, column, message = int(found[1]), int(found[2]), found[3]
    if field := _FIELD.search(message):
        known = [each.name for each in pool().FindMessageTypeByName(f"taprail.{field[2]}").fields]
        variable = next((n for n, m in variables().items() if m == field[2]), field[2].removesuffix("Facts").lower())
        hint = _nearest(field[1], known, f"{variable} has")
        return ConditionError(f"{variable} has no field {field[1]!r}", line, column + 1, hint)
    if name := _NAME.search(message):
        wrong = name[1].partition(".")[0]
        source = text.splitlines()[line - 1]
        begins = source.rfind(wrong, 0, column - 1 + len(wrong)) + 1  # what is reported may be the dot after it
        calls = source[begins - 1 + len(wrong) :].lstrip().startswith("(")
        hint = _nearest(wrong, _FUNCTIONS if calls else list(variables()), "there are")
        return ConditionError(f"there is nothing called {wrong!r}", line, begins or column, hint)
    return ConditionError(message.removesuffix(" [INVALID_ARGUMENT]"), line, column)


def _nearest(wrong: str, known: list[str], there: str) -> str:
    near = difflib.get_close_matches(wrong, known, 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else f"{there} {', '.join(sorted(known))}"
