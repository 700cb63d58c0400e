"""The guard carries out what policies say, keeps what stays so, and takes new policies over at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taprail.schemas.guard import Verdict
from taprail.streams.policy.changing import Changing
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.guard import PolicyGuard
from taprail.streams.policy.history import History
from taprail.streams.policy.policy import ApprovalTerms, Policy
from taprail.streams.policy.ruling import InForce, PolicySet
from tests.streams.policy.small_world import catalog, judge, session

HOUR = 3_600


def policy(verdict: Any, match: Any, **fields: Any) -> Policy:
    return Policy(fields.pop("id", f"p-{verdict}"), "A title", fields.pop("level", "low"), verdict, match, **fields)


def guard(*policies: Policy, clock: Callable[[], float] = lambda: 0.0, history: History | None = None) -> PolicyGuard:
    found = catalog()
    settings = RuleSettings(clear_groups=("data-owners",))
    changing = Changing("UTC", history or History(), clock)
    return PolicyGuard(lambda _: found, settings, in_force=InForce(PolicySet(policies)), changing=changing)


def test_a_denial_has_the_policys_words() -> None:
    denies = policy("deny", "statement.kind == 'DELETE'", message="no deletes", hint="ask ops")
    verdict = judge(guard(denies), "DELETE FROM orders WHERE id = 1")
    assert (verdict.action, verdict.rule, verdict.reason, verdict.hint) == ("deny", "p-deny", "no deletes", "ask ops")
    assert judge(guard(denies), "SELECT 1").action == "allow"


def test_a_hold_has_the_policys_terms_or_the_settings() -> None:
    terms = ApprovalTerms(by=("dba", "ops"), seconds=7, in_transaction=True)
    verdict = judge(guard(policy("hold", "true", approval=terms)), "SELECT 1")
    assert (verdict.action, verdict.approvers, verdict.hold_seconds) == ("hold", ("dba", "ops"), 7)
    assert verdict.hold_in_transaction
    verdict = judge(guard(policy("hold", "true")), "SELECT 1")
    assert (verdict.approvers, verdict.hold_seconds, verdict.hold_in_transaction) == (("data-owners",), 300, False)


def test_a_mask_is_for_those_too_who_see_everything() -> None:
    masks = policy("mask", "'email' in statement.classes")
    verdict = judge(guard(masks), "SELECT email FROM customers", "owner")
    assert verdict.action == "mask" and verdict.mask is not None
    assert judge(guard(masks), "COPY customers TO STDOUT", "owner").rule == "masked-copy"
    assert judge(guard(masks), "SELECT id FROM customers", "owner").action == "allow"


def test_no_policy_lifts_a_safeguard() -> None:
    allows = policy("allow", "true")
    verdict = judge(guard(allows), "SET ROLE postgres")
    assert (verdict.action, verdict.rule) == ("deny", "session-identity")
    assert judge(guard(allows), "DO $$ BEGIN END $$").rule == "masked-code"


def test_alerts_and_trials_are_recorded_and_stop_nothing() -> None:
    found = guard(policy("alert", "true"), policy("deny", "true", status="test", id="next"))
    verdict = judge(found, "SELECT 1")
    assert verdict.action == "allow"
    assert {(m.policy, m.verdict, m.trial) for m in verdict.matched} == {
        ("next", "deny", True),
        ("p-alert", "alert", False),
    }


def test_what_cannot_be_answered_is_denied_and_says_so() -> None:
    verdict = judge(guard(policy("deny", "statement.relations[3].name == 'x'")), "SELECT 1")
    assert verdict.action == "deny" and "p-deny couldn't be answered" in verdict.reason


def test_equal_statements_are_judged_once_and_live_policies_each_time() -> None:
    now = 12 * HOUR
    found = guard(policy("deny", ("statement.kind == 'SELECT'", "now.hour >= 20")), clock=lambda: now)
    first = judge(found, "SELECT id FROM orders WHERE id = 1")
    assert first.action == "allow" and judge(found, "SELECT id FROM orders WHERE id = 2") is first
    now = 20 * HOUR
    assert judge(found, "SELECT id FROM orders WHERE id = 3").action == "deny"
    now = 36 * HOUR
    assert judge(found, "SELECT id FROM orders WHERE id = 4") is first


def test_what_somebody_has_read_counts() -> None:
    history = History(lambda: 0.0)
    found = guard(policy("deny", "history.rows_last_hour >= 100"), history=history)
    person = session().person
    assert judge(found, "SELECT 1").action == "allow"
    history.ran(person, 100)
    assert judge(found, "SELECT 1").action == "deny"
    assert judge(found, "SELECT 1", "owner").action == "allow", "it is another person"


@pytest.mark.parametrize(
    ("field", "value", "condition"),
    [
        ("client", "curl", "session.client == 'curl'"),
        ("client_address", "10.0.0.9", "session.address == '10.0.0.9'"),
        ("method", "scram", "session.method == 'scram'"),
        ("purpose", "OPS-7 fix", "session.ticket == 'OPS-7'"),
        ("environment", "dev", "session.environment == 'dev'"),
    ],
)
def test_a_verdict_is_not_another_sessions(field: str, value: Any, condition: str) -> None:
    """Whatever a condition may name of a session is part of what a verdict is kept under."""
    found = guard(policy("deny", condition))
    assert judge(found, "SELECT 1").action == "allow"
    assert judge(found, "SELECT 1", **{field: value}).action == "deny"
    assert judge(found, "SELECT 1").action == "allow"


def test_new_policies_count_from_the_next_statement_on_and_name_their_version() -> None:
    in_force, world = InForce(PolicySet([])), catalog()
    found = PolicyGuard(lambda _: world, RuleSettings(), in_force=in_force)
    before: Verdict = judge(found, "SELECT 1")
    in_force.prepare(PolicySet([policy("deny", "true")]))
    assert judge(found, "SELECT 1") is before, "what is only prepared doesn't count"
    in_force.commit()
    after = judge(found, "SELECT 1")
    assert after.action == "deny" and after.policy_version != before.policy_version
