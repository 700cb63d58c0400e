"""Files of policies: what can't be used is refused, with file, line and caret."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.errors import PolicyError
from taprail.streams.policy.load import FILE_BYTES_MAX, compose, load, parse
from taprail.streams.policy.policy import Where

GOOD = """id: a-policy
title: A title
level: low
verdict: deny
match: statement.writes
"""


def refused(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        parse("x.yaml", text)
    return str(caught.value)


def test_the_least_that_a_policy_is() -> None:
    policy = parse("x.yaml", GOOD)
    assert (policy.id, policy.verdict, policy.acts) == ("a-policy", "deny", True)


def test_a_misspelt_fact_is_shown_where_it_stands() -> None:
    text = GOOD.replace("statement.writes", "statement.writs")
    assert refused(text).splitlines() == [
        "x.yaml:5:18: statement has no field 'writs'",
        "  match: statement.writs",
        "                   ^",
        "  did you mean 'writes'?",
    ]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (GOOD.replace("match: statement.writes", "match: |\n  statement.writes &&\n  persn.kind == ''"), "7:3",
         "persn"),
        (GOOD.replace("match: statement.writes", 'match: "statement.writs"'), "5:19", "writs"),
        (GOOD.replace("match: statement.writes", "match:\n  - statement.writes\n  - now.our > 5"), "7:9", "our"),
        (GOOD + "unless: [session.protectd]\n", "6:18", "protectd"),
        (GOOD.replace("verdict", "verdikt"), "4:1", "there is no field 'verdikt'\n"),
        (GOOD.replace("level: low", "level: lo"), "3:8", "invalid enum value 'lo'"),
        (GOOD.replace("level: low\n", ""), "1:1", "the field 'level' is missing"),
        (GOOD + "id: again\n", "6:1", "'id' is there twice"),
        (GOOD + "where: {environment: [prod]}\n", "6:9", "there is no field 'environment'"),
        (GOOD + "where: {environments: [no]}\n", "6:24", "expected `str`, got `bool`"),
        (GOOD + "tests: {match: [{sql: SELECT 1, persn: {}}]}\n", "6:33", "there is no field 'persn'"),
        (GOOD.replace("match: statement.writes", "match: []"), "5:8", "match has no condition"),
        (GOOD.replace("deny", "hold") + "rows_per_hour: 5\n", "6:1", "rows_per_hour goes with the verdict deny"),
        (GOOD + "rows_per_hour: 0\n", "6:16", "expected `int` >= 1"),
        (GOOD + "rows_per_hour: 1000000001\n", "6:16", "expected `int` <= 1000000000"),
        (GOOD + "rows_per_hour: 10k\n", "6:16", "expected `int"),
        (GOOD + "rows_per_hours: 5\n", "6:1", "did you mean 'rows_per_hour'?"),
        (GOOD + "approval: {by: [a]}\n", "6:1", "approval goes with the verdict hold, not deny"),
        (GOOD.replace("deny", "mask").replace("statement.writes", "now.hour > 5"), "5:8", "can't look at now"),
        (GOOD + "title2: [\n", "7:1", ""),
        (GOOD + "author: &a x\nreferences: [*a]\n", "6:9", "an anchor, an alias or a tag isn't taken here"),
        (GOOD + "author: !!python/object/apply:os.system [x]\n", "6:9", "isn't taken here"),
        (GOOD + "---\nid: b\n", "6:1", "a second document"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_place(text: str, place: str, message: str) -> None:
    said = refused(text)
    assert said.startswith(f"x.yaml:{place}: ") and message in said


def test_no_mapping_and_no_text() -> None:
    assert "a policy is a mapping" in refused("- a\n")
    assert "a policy is a mapping" in refused("")
    assert "larger than" in refused(GOOD + "#" * FILE_BYTES_MAX)
    assert refused("a: \x00")
    assert "nested too deeply" in refused("a: " + "[" * 20_000 + "]" * 20_000)
    assert len(refused("a: " + "[" * 20_000)) < 400, "a long line isn't shown"


def test_an_id_counts_once() -> None:
    with pytest.raises(PolicyError, match=r"b\.yaml: id 'a-policy' is the id of a\.yaml, too"):
        compose({"a.yaml": GOOD, "b.yaml": GOOD})


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one.yml").write_text(GOOD)
    (tmp_path / "README.md").write_text("nothing")
    assert [p.id for p in load(tmp_path)] == ["a-policy"]
    with pytest.raises(PolicyError, match="is no folder"):
        load(tmp_path / "none")


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3))
def test_names_in_where_are_literals_whatever_they_are(names: list[str]) -> None:
    from taprail.streams.policy.conditions import Facts, condition, holds
    from taprail.streams.policy.descriptor import message_class

    [text] = Where(environments=tuple(names)).conditions()
    asked = condition(text)
    for name in (*names, "another"):
        messages = {
            "statement": message_class("StatementFacts")(),
            "person": message_class("PersonFacts")(),
            "session": message_class("SessionFacts")(environment=name),
        }
        assert holds(asked, Facts(messages)) is (name in names)
