"""What a client saw on each way, and whether it is what it should have seen. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Steps = Mapping[str, dict[str, Any]]
REFUSED = {"notifications": "masked-copy"}  # to those who see personal data masked, by which rule
# What the messages of the two must hold: SQLSTATE, and the rule or (of a held statement) its hint.
POLICY = {"denied": ("", "no-drop-in-prod"), "held": ("42501", "WHERE")}


def read(output: str) -> Steps:
    """The told steps of a program's output, by name. Other lines are the client's own chatter."""
    found: dict[str, dict[str, Any]] = {}
    for line in output.splitlines():
        if line.startswith('{"step"'):
            told = json.loads(line)
            assert told["step"] not in found, f"{told['step']} was told twice"
            found[told["step"]] = told
    return found


def changed_columns(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Names of the columns in which two tables differ in every row that has a value; all of them where one is short."""
    if one["columns"] != other["columns"] or len(one["rows"]) != len(other["rows"]):
        return {"(shape)"}
    pairs = list(zip(one["rows"], other["rows"], strict=True))
    return {name for i, name in enumerate(one["columns"]) if any(a[i] != b[i] for a, b in pairs)}


def left_clear(one: dict[str, Any], other: dict[str, Any], masked: frozenset[str]) -> list[str]:
    """Values of masked columns that both tables show."""
    at = [i for i, name in enumerate(one["columns"]) if name in masked]
    empty = {"NoneType None", "str ''", "float nan"}
    return [a[i] for a, b in zip(one["rows"], other["rows"], strict=True) for i in at if a[i] == b[i] not in empty]


def problems(direct: Steps, clear: Steps, masked: Steps, hidden: frozenset[str]) -> Iterator[str]:
    """What isn't as it should be: `clear` is `direct`, `masked` is, too, but for its hidden columns."""
    for step, (sqlstate, rule) in POLICY.items():
        for way, told in (("clear", clear), ("masked", masked)):
            if step in told and not (sqlstate in str(told[step]) and rule in str(told[step])):
                yield f"{step} ({way}): {told[step]['answer']} doesn't name {sqlstate} and {rule}"
    if not direct:
        yield "nothing was told"
    for step in direct.keys() | clear.keys() | masked.keys():
        if step in POLICY:
            continue
        if not (step in direct and step in clear and step in masked):
            yield f"{step}: not on every way"
        elif direct[step] != clear[step]:
            yield f"{step}: directly {shortened(direct[step], clear[step])}"
        elif step in REFUSED:
            if REFUSED[step] not in str(masked[step]):
                yield f"{step}: masked, {masked[step]} doesn't name {REFUSED[step]}"
        elif "columns" not in direct[step]:
            if direct[step] != masked[step]:
                yield f"{step}: masked, directly {shortened(direct[step], masked[step])}"
        else:
            changed = changed_columns(direct[step], masked[step])
            expected = hidden & set(direct[step]["columns"])
            if changed != expected:
                yield f"{step}: masked are {sorted(changed)}, not {sorted(expected)}"
            elif clear_values := left_clear(direct[step], masked[step], hidden):
                yield f"{step}: in the clear are {clear_values}"


def shortened(one: dict[str, Any], other: dict[str, Any], most: int = 400) -> str:
    """Both, from shortly before the place where they part."""
    a, b = json.dumps(one, ensure_ascii=False), json.dumps(other, ensure_ascii=False)
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    begin = max(0, at - 60)
    return f"…{a[begin : begin + most]}… through the tap …{b[begin : begin + most]}…"
