"""The comparison of what clients saw: what differs is found, and what is hidden must be hidden whole."""

from __future__ import annotations

from typing import Any

from tests.clients.comparing import problems, read

HIDDEN = frozenset({"email"})


def table(*emails: str, name: str = "people") -> dict[str, dict[str, Any]]:
    return {name: {"step": name, "columns": ["id", "email"], "rows": [[str(i), e] for i, e in enumerate(emails)]}}


def found(direct: Any, clear: Any, masked: Any) -> list[str]:
    return list(problems(direct, clear, masked, HIDDEN))


def test_exactly_the_masked_columns_differ() -> None:
    assert found(table("a", "b"), table("a", "b"), table("***", "***")) == []
    assert found(table("a", "b"), table("a", "b"), table("a", "b")) == ["people: masked are [], not ['email']"]


def test_one_value_in_the_clear_is_found() -> None:
    assert found(table("a", "b"), table("a", "b"), table("***", "b")) == ["people: in the clear are ['b']"]


def test_a_difference_for_who_sees_everything_is_found() -> None:
    [problem] = found(table("a"), table("x"), table("***"))
    assert problem.startswith("people: directly")


def test_a_step_that_was_not_told_is_found() -> None:
    assert found(table("a"), table("a"), {}) == ["people: not on every way"]
    assert found({}, {}, {}) == ["nothing was told"]


def test_a_denial_must_name_its_rule() -> None:
    denied = {"denied": {"step": "denied", "answer": "str 'no-drop-in-prod'"}}
    silent = {"denied": {"step": "denied", "answer": "str 'no'"}}
    assert found(table("a"), table("a") | denied, table("*") | denied) == []
    assert len(found(table("a"), table("a") | silent, table("*") | silent)) == 2


def test_the_chatter_of_a_client_is_not_a_step() -> None:
    assert read('WARNING: hello\n{"step": "a", "answer": 1}\n') == {"a": {"step": "a", "answer": 1}}
