"""Every safeguard's cases, which lie beside the rules, through the whole guard."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from taprail.schemas.errors import RefusedError
from taprail.streams.policy import safeguards
from tests.streams.policy.small_world import guard, judge

FOLDER = Path(safeguards.__file__).parent
CASES: list[dict[str, Any]] = tomllib.loads((FOLDER / "cases.toml").read_text())["case"]
SESSION = ("environment", "purpose")


def statements(which: str) -> Iterator[Any]:
    for case in CASES:
        fields = {name: case[name] for name in SESSION if name in case}
        for text in case.get(which, ()):
            label = f"{case['rule']}-{case.get('environment', 'prod')}-{case.get('person', 'ann')}-{text}"
            yield pytest.param(case["rule"], case["action"], case.get("person", "ann"), fields, text, id=label)


def answers(text: str, person: str, fields: dict[str, Any]) -> list[tuple[str, str]]:
    """(rule, action) for each statement of the text, as the tap asks: one after the other."""
    by = guard()
    try:
        parts = by.split(text)
    except RefusedError as error:
        pytest.fail(f"the case isn't SQL: {error}")
    fields = {**fields, "prepared": {"insert_order": "PREPARE insert_order AS INSERT INTO orders (note) VALUES ($1)"}}
    found = [judge(by, text.encode()[p.start : p.start + p.length].decode(), person, **fields) for p in parts]
    return [(verdict.rule, verdict.action) for verdict in found]


@pytest.mark.parametrize(("rule", "action", "person", "fields", "text"), [*statements("match")])
def test_must_match(rule: str, action: str, person: str, fields: dict[str, str], text: str) -> None:
    assert (rule, action) in answers(text, person, fields)


@pytest.mark.parametrize(("rule", "action", "person", "fields", "text"), [*statements("other")])
def test_must_not_match(rule: str, action: str, person: str, fields: dict[str, str], text: str) -> None:
    found = answers(text, person, fields)
    assert found and rule not in [decided for decided, _ in found]


@pytest.mark.parametrize("which", ["match", "other"])
def test_every_safeguard_has_cases_of_both_kinds(which: str) -> None:
    names = {path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"}
    shipped = {import_module(f"taprail.streams.policy.safeguards.{name}").RULE for name in names}
    assert {case["rule"] for case in CASES if case.get(which)} == shipped
    assert len(safeguards.SAFEGUARDS) == len(shipped)


def test_a_denial_of_any_rule_comes_before_a_hold_of_another() -> None:
    held = judge(guard(), "UPDATE customers SET phone = 'x'")
    assert (held.action, held.rule, held.approvers) == ("hold", "unbounded-write", ("data-owners",))
    denied = judge(guard(), "UPDATE customers SET note = email")
    assert (denied.action, denied.rule, denied.approvers) == ("deny", "masked-copy", ())


def test_a_decision_says_why_and_what_to_do_next_without_the_value() -> None:
    verdict = judge(guard(), "SET client_encoding = 'ann@mail.example'")
    assert verdict.action == "deny" and verdict.hint
    assert "ann" not in verdict.reason + verdict.message + verdict.hint + verdict.normalized
