"""Of several policies the strictest decides; what can't be answered counts against the statement."""

from __future__ import annotations

from typing import Any

import pytest

from taprail.streams.policy.example import facts_of_example
from taprail.streams.policy.policy import Example, Policy
from taprail.streams.policy.ruling import PolicySet, Ruling
from taprail.streams.policy.trial import rule_now

FAILS = "statement.relations[9].name == 'x'"


def policy(verdict: Any, match: Any = "true", **fields: Any) -> Policy:
    identifier = fields.pop("id", f"p-{verdict}")
    return Policy(identifier, "A title", "low", verdict, match, **fields)


def ruling(*policies: Policy, **changes: Any) -> Ruling:
    [facts] = facts_of_example(Example("SELECT id FROM orders", **changes))
    return rule_now(PolicySet(policies), facts)


def decided(*policies: Policy, **changes: Any) -> str:
    found = ruling(*policies, **changes).policy
    return found.verdict if found else ""


def test_the_strictest_decides_and_all_are_named() -> None:
    every = [policy(verdict) for verdict in ("alert", "mask", "hold", "allow", "deny")]
    assert decided(*every) == "deny"
    assert decided(*every[:4]) == "allow", "an exception lifts a hold"
    assert decided(*every[:3]) == "hold"
    assert decided(*every[:2]) == "mask"
    assert decided(*every[:1]) == "", "an alert decides nothing"
    assert [m.policy for m in ruling(*every).matches] == ["p-deny", "p-allow", "p-hold", "p-mask", "p-alert"]


def test_nothing_matches() -> None:
    assert ruling(policy("deny", "false")) == Ruling()
    assert ruling() == Ruling()


def test_all_of_match_and_none_of_unless() -> None:
    assert decided(policy("deny", ("true", "statement.kind == 'SELECT'"))) == "deny"
    assert decided(policy("deny", ("true", "statement.kind == 'DELETE'"))) == ""
    assert decided(policy("deny", "true", unless=("false", "person.kind == 'person'"))) == ""
    assert decided(policy("deny", "true", unless=("false", "person.kind == 'agent'"))) == "deny"


def test_the_device_of_an_example() -> None:
    unknown, listed = policy("deny", "session.device == ''"), policy("hold", unless="session.device in ['laptop-7']")
    assert (decided(unknown), decided(listed)) == ("deny", "hold")
    given: dict[str, Any] = {"session": {"device": "laptop-7"}}
    assert (decided(unknown, **given), decided(listed, **given)) == ("", "")


@pytest.mark.parametrize("verdict", ["deny", "hold", "mask"])
def test_what_fails_counts_against_the_statement(verdict: str) -> None:
    found = ruling(policy(verdict, FAILS))
    assert found.policy is not None and found.policy.verdict == verdict and "Index error" in found.failed
    unless = ruling(policy(verdict, "true", unless=FAILS))
    assert unless.policy is not None and unless.failed


def test_an_exception_that_fails_is_none() -> None:
    assert decided(policy("allow", FAILS), policy("hold")) == "hold"


def test_a_clear_no_is_a_no_whatever_else_fails() -> None:
    assert decided(policy("deny", (FAILS, "false"))) == ""
    assert decided(policy("deny", FAILS, unless="true")) == ""


@pytest.mark.parametrize("status", ["test", "experimental"])
def test_a_policy_on_trial_only_says_what_it_would_do(status: Any) -> None:
    found = ruling(policy("deny", status=status))
    assert found.policy is None
    [match] = found.matches
    assert (match.verdict, match.trial) == ("deny", True)


def test_a_deprecated_policy_does_nothing() -> None:
    assert ruling(policy("deny", status="deprecated")) == Ruling()


def test_time_is_looked_at_anew_and_only_where_the_rest_holds() -> None:
    late = policy("deny", ("statement.kind == 'SELECT'", "now.hour >= 20"))
    assert decided(late, now={"hour": 20}) == "deny"
    assert decided(late, now={"hour": 19}) == ""
    [facts] = facts_of_example(Example("SELECT 1"))
    lasting = {name: facts[name] for name in ("statement", "person", "session")}
    assert PolicySet([late]).rule(lasting)[1] is not None
    assert PolicySet([policy("deny", ("statement.kind == 'DELETE'", "now.hour >= 20"))]).rule(lasting)[1] is None


def test_a_live_exception_lifts_a_hold_that_was_decided_once() -> None:
    night = policy("allow", "now.hour < 6")
    assert decided(policy("hold"), night, now={"hour": 5}) == "allow"
    assert decided(policy("hold"), night, now={"hour": 6}) == "hold"
    assert decided(policy("deny"), night, now={"hour": 5}) == "deny"


def test_the_version_names_what_policies_say_and_not_their_tests() -> None:
    one, other = policy("deny"), policy("deny", "false")
    assert PolicySet([one]).version == PolicySet([one]).version != PolicySet([other]).version
    assert PolicySet([one, policy("hold")]).version == PolicySet([policy("hold"), one]).version


def test_places_beyond_what_is_kept_are_decided_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taprail.streams.policy.ruling.PLACES_MAX", 3)
    used = PolicySet([policy("deny", "session.environment.startsWith('p')")])
    for environment in [f"{kind}{n}" for n in range(4) for kind in ("p", "d")] * 2:
        [facts] = facts_of_example(Example("SELECT 1", session={"environment": environment}))
        assert (rule_now(used, facts).policy is not None) is environment.startswith("p")


def limits(*policies: Policy, **changes: Any) -> list[str]:
    [facts] = facts_of_example(Example("SELECT id FROM orders", **changes))
    used = PolicySet(policies)
    found, live = used.rule({name: facts[name] for name in ("statement", "person", "session")})
    return [p.id for p in used.rule_live(found, live, facts)[1]] if live is not None else []


def test_rows_of_an_hour_limit_until_they_are_used_up() -> None:
    few = policy("deny", "statement.kind == 'SELECT'", rows_per_hour=100)
    assert limits(few) == limits(few, history={"rows_last_hour": 99}) == ["p-deny"]
    assert decided(few, history={"rows_last_hour": 99}) == ""
    assert decided(few, history={"rows_last_hour": 100}) == "deny" and not limits(few, history={"rows_last_hour": 100})
    assert limits(policy("deny", "statement.kind == 'DELETE'", rows_per_hour=100)) == []
    assert limits(policy("deny", "now.hour < 6", rows_per_hour=100), now={"hour": 6}) == []
    assert limits(policy("deny", FAILS, rows_per_hour=100)) == ["p-deny"], "what fails counts against the statement"


def test_a_limit_on_trial_lets_rows_flow() -> None:
    tried = policy("deny", rows_per_hour=100, status="test")
    assert limits(tried) == []
    [match] = ruling(tried, history={"rows_last_hour": 100}).matches
    assert match.trial and decided(tried, history={"rows_last_hour": 100}) == ""


def test_a_set_with_a_limit_looks_back() -> None:
    assert PolicySet([policy("deny", rows_per_hour=1)]).looks_back
    assert not PolicySet([policy("deny", rows_per_hour=1, status="deprecated")]).looks_back


def test_only_sets_that_look_back_ask_for_a_history() -> None:
    assert PolicySet([policy("deny", "history.rows_last_hour > 5")]).looks_back
    assert not PolicySet([policy("deny", "now.hour > 5")]).looks_back
