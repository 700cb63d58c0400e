"""Conditions: what is wrong with one is said at its place, and what can't be answered is never true."""

from __future__ import annotations

import pytest

from taprail.streams.policy.conditions import ConditionError, Facts, Together, Unanswered, condition, holds
from taprail.streams.policy.descriptor import message_class, variables
from taprail.streams.policy.example import facts_of_example
from taprail.streams.policy.policy import Example


def facts(text: str = "SELECT * FROM customers") -> Facts:
    [messages] = facts_of_example(Example(text))
    return Facts({name: messages[name] for name in ("statement", "person", "session")})


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("statement.kindd == 'x'", 1, 11, "statement has no field 'kindd'", "did you mean 'kind'?"),
        ("statment.kind == ''", 1, 1, "there is nothing called 'statment'", "did you mean 'statement'?"),
        ("now.hour > 5 &&\n persn.kind == ''", 2, 2, "there is nothing called 'persn'", "did you mean 'person'?"),
        ("statement.relations.exists(r, r.verbb == '')", 1, 33, "relation has no field 'verbb'", "mean 'verb'"),
        ("sise(statement.kinds) > 1", 1, 1, "there is nothing called 'sise'", "did you mean 'size'?"),
        ("statement.kind == 1", 1, 16, "found no matching overload", ""),
        ("statement.kind ==", 1, 18, "Syntax error", ""),
        ("statement.kind", 1, 1, "it gives STRING, and a condition gives bool", ""),
        ("true) , (false", 1, 5, "Syntax error", ""),
        ("x" * 5_000, 1, 1, "a condition of 5000 characters", ""),
    ],
)
def test_what_is_wrong_is_said_at_its_place(text: str, line: int, column: int, message: str, hint: str) -> None:
    with pytest.raises(ConditionError) as caught:
        condition(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert message in caught.value.message and hint in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "statement.relations[7].name == 'x'",
        "1 / (size(statement.kind) - size(statement.kind)) == 0",
        "statement.kind.matches('(')",
        "int(statement.kind) == 1",
    ],
)
def test_what_fails_is_neither_true_nor_false(text: str) -> None:
    answer = holds(condition(text), facts())
    assert isinstance(answer, Unanswered) and answer.reason


def test_together_is_one_by_one() -> None:
    asked = [
        condition(text)
        for text in (
            "statement.kind == 'SELECT' // a comment may end it",
            "'engineers' in person.groups",
            "session.environment == 'dev'",
        )
    ]
    assert Together(asked, live=False).answers(facts()) == [True, True, False]
    broken = [*asked, condition("statement.relations[7].name == 'x'")]
    answers = Together(broken, live=False).answers(facts())
    assert answers[:3] == [True, True, False] and isinstance(answers[3], Unanswered)
    assert Together([], live=False).answers(facts()) == []


def test_what_looks_at_the_time_or_the_past_is_live() -> None:
    assert condition("now.hour > 5").live and condition("history.rows_last_hour > 5").live
    assert not condition("statement.writes && person.kind == 'agent' && session.protected").live


def test_messages_have_the_fields_of_the_schema() -> None:
    assert set(variables()) == {"statement", "person", "session", "now", "history", "estimate"}
    made = message_class("RelationFacts")(schema="s", name="t", full="s.t", verb="read", filtered=True)
    assert made == type(made).FromString(made.SerializeToString())
