"""Matches that belong together: as many as it takes, of one group, within the time, each counted once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert, to_builtins
from msgspec.structs import replace

from taprail.schemas.errors import PolicyError
from taprail.schemas.records import Match, Person
from taprail.streams.detections.correlations import Counted, concerned, counted, detection_of, is_met, key_of, stale
from taprail.streams.policy.load import compose
from taprail.streams.policy.packs import shipped
from taprail.streams.policy.policy import Correlation, Policy, Times
from taprail.streams.policy.ruling import PolicySet

ANN, EVE = Person("ann", "Ann", "person", (), "i"), Person("eve", "Eve", "person", (), "i")
MINUTE_US = 60_000_000
MANY = Correlation("event_count", ("a", "b"), "10m", ("person",), Times(3))
SPREAD = Correlation("value_count", ("a",), "10m", ("person",), Times(2, "relation"))
BOTH = Correlation("temporal", ("a", "b"), "10m")


def match(policy: str = "a", sequence: int = 1, at_us: int = 0, **changes: Any) -> Match:
    made = Match(
        policy,
        "deny",
        False,
        at_us,
        "tap-1",
        1,
        sequence,
        "s",
        "prod",
        "main",
        "shop",
        ANN,
        "",
        "SELECT",
        ("public.t",),
    )
    return replace(made, **changes)


def policy(correlation: Correlation, **fields: Any) -> Policy:
    return Policy(fields.pop("id", "c-1"), "Title", "high", "alert", correlation=correlation, **fields)


def met(correlation: Correlation, *matches: Match) -> bool:
    kept: list[Counted] = []
    for each in matches:
        kept = counted(convert(to_builtins(kept), list[Counted]), each, correlation)
    return is_met(kept, correlation)


def test_so_many_events() -> None:
    assert not met(MANY, match(sequence=1), match(sequence=2))
    assert met(MANY, match(sequence=1), match(sequence=2), match("b", sequence=3))
    assert not met(MANY, match(sequence=1), match(sequence=1), match("b", sequence=1)), "one statement is one event"


def test_so_many_values() -> None:
    assert not met(SPREAD, match(sequence=1), match(sequence=2), match(sequence=3))
    assert met(SPREAD, match(sequence=1), match(sequence=2, relations=("public.u",)))
    assert met(SPREAD, match(sequence=1, relations=("public.t", "public.u")))


def test_one_after_the_other() -> None:
    assert not met(BOTH, match(sequence=1), match(sequence=2))
    for pair in itertools.permutations([match("a", 1), match("b", 2)]):
        assert met(BOTH, *pair)


def test_what_is_too_old_is_not_counted_in_whatever_order_it_comes() -> None:
    early, late = match("a", 1, 0), match("b", 2, 10 * MINUTE_US)
    assert not met(BOTH, early, late) and not met(BOTH, late, early)
    assert met(BOTH, early, match("b", 2, 10 * MINUTE_US - 1))


def test_groups_are_apart() -> None:
    by_place = replace(MANY, group_by=("person", "database"))
    keys = {key_of(policy(by_place), each) for each in (
        match(), match(person=EVE), match(person=replace(ANN, issuer="j")), match(database="other"),
    )}  # fmt: skip
    assert len(keys) == 4
    assert key_of(policy(by_place), match("z")) == ""
    assert key_of(policy(MANY, id="c-2"), match()) != key_of(policy(MANY), match())


def test_what_is_told_is_the_same_when_it_is_counted_again() -> None:
    made = policy(MANY)
    kept = [Counted(0, "tap-1/1/1", "a", ())]
    told = detection_of(made, kept, match(sequence=9))
    assert told == detection_of(made, kept, match(sequence=9))
    assert told.detection_id != detection_of(made, kept, match(sequence=8)).detection_id
    assert (told.rule, told.severity, told.title) == ("c-1", "high", "Title: Ann in shop")
    assert told.summary == "1 statements within 10m: a."


def test_what_nobody_counts_any_more_is_forgotten() -> None:
    made = policy(MANY)
    key, kept = key_of(made, match()), [Counted(MINUTE_US, "x", "a", ())]
    assert not stale(key, kept, [made], 2 * MINUTE_US)
    assert stale(key, kept, [made], 11 * MINUTE_US)
    assert stale(key, kept, [], 2 * MINUTE_US)


def test_a_statement_is_never_asked_about_a_correlation() -> None:
    used = PolicySet([policy(MANY)])
    assert used.correlations and not used._compiled
    assert PolicySet([policy(MANY)]).version != PolicySet([policy(replace(MANY, timespan="9m"))]).version
    assert PolicySet([policy(MANY, status="deprecated")]).correlations == ()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6), st.integers(0, 15)), max_size=12), st.randoms())
def test_the_order_of_records_decides_nothing(events: list[tuple[str, int, int]], random: Any) -> None:
    """While the newest is the same, the same matches are left."""
    matches = [match(name, sequence, minute * MINUTE_US) for name, sequence, minute in events]
    shuffled = random.sample(matches, len(matches))
    left = []
    for order in (matches, shuffled):
        kept: list[Counted] = []
        for each in order:
            kept = counted(kept, each, MANY)
        left.append(set(kept))
    newest = max((m.time_us for m in matches), default=0)
    assert (
        left[0]
        == left[1]
        == {
            Counted(m.time_us, f"tap-1/1/{m.sequence}", m.policy, ())
            for m in matches
            if m.time_us > newest - 10 * MINUTE_US
        }
    )


def test_the_shipped_ones_count_shipped_policies() -> None:
    ids = {each.id for each in shipped().policies}
    for each in shipped().correlations:
        assert each.correlation is not None and set(each.correlation.rules) <= ids
    assert list(concerned(shipped().correlations, match("no-drop-in-prod")))


GOOD = """id: c-1
title: T
level: low
verdict: alert
correlation:
  type: event_count
  rules: [p-1]
  group-by: [person]
  timespan: 5m
  condition: {gte: 3}
"""
OTHER = {"p.yaml": "id: p-1\ntitle: T\nlevel: low\nverdict: deny\nmatch: 'true'\n"}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (("verdict: alert", "verdict: deny"), "a correlation only alerts"),
        (("title: T", "title: T\nmatch: 'true'"), "a correlation has no match"),
        (("rules: [p-1]", "rules: []"), "names the rules"),
        (("rules: [p-1]", "rules: [p-2]"), "counts 'p-2', which isn't there"),
        (("  condition: {gte: 3}\n", ""), "event_count has no condition"),
        (("event_count", "temporal"), "temporal has a condition"),
        (("event_count", "value_count"), "names a field"),
        (("{gte: 3}", "{gte: 3, field: relation}"), "names a field"),
        (("group-by", "groupby"), "there is no field `?'?groupby"),
        (("timespan: 5m", "timespan: 5 minutes"), "timespan|matching regex"),
        (("gte: 3", "gte: 0"), ">= 1"),
    ],
)
def test_what_is_no_correlation_is_told_with_its_place(change: tuple[str, str], wrong: str) -> None:
    assert len(compose({**OTHER, "c.yaml": GOOD})) == 2
    with pytest.raises(PolicyError, match=wrong) as caught:
        compose({**OTHER, "c.yaml": GOOD.replace(*change)})
    assert "c.yaml" in str(caught.value)
