"""The guard carries out what policies say, keeps what stays so, and takes new policies over at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from taprail.connectors.postgres.catalog import PostgresCatalog
from taprail.schemas.control import Grant
from taprail.schemas.guard import RETRY_SECONDS, UNKNOWN_ROWS, RelationInfo, Request, Verdict
from taprail.schemas.records import Demand, Terms
from taprail.streams.policy.changing import Changing
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.guard import PolicyGuard
from taprail.streams.policy.history import History
from taprail.streams.policy.policy import ApprovalTerms, Policy
from taprail.streams.policy.ruling import InForce, PolicySet
from tests.streams.policy.small_world import catalog, judge, session, snapshot

HOUR = 3_600


def policy(verdict: Any, match: Any, **fields: Any) -> Policy:
    return Policy(fields.pop("id", f"p-{verdict}"), "A title", fields.pop("level", "low"), verdict, match, **fields)


def guard(
    *policies: Policy, clock: Callable[[], float] = lambda: 0.0, history: History | None = None, **more: Any
) -> PolicyGuard:
    found = catalog()
    settings = RuleSettings(clear_groups=("data-owners",))
    changing = Changing("UTC", history or History(), clock)
    return PolicyGuard(lambda _: found, settings, in_force=InForce(PolicySet(policies)), changing=changing, **more)


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


def test_a_limit_of_rows_goes_with_the_verdict() -> None:
    history = History(lambda: 0.0)
    wide = policy("deny", "true", id="p-wide", rows_per_hour=500)
    narrow = policy("deny", "statement.kind == 'SELECT'", rows_per_hour=100, message="enough", hint="wait")
    found = guard(wide, narrow, history=history)
    verdict = judge(found, "SELECT id FROM orders WHERE id = 1")
    limit = verdict.limit
    assert verdict.action == "allow" and limit is not None
    assert (limit.rows, limit.rule, limit.message, limit.hint) == (100, "p-deny", "enough", "wait"), "the lowest counts"
    assert judge(found, "SELECT id FROM orders WHERE id = 2") is verdict, "it is made once"
    assert limit.meter.take(60) == 60
    other = judge(found, "SELECT id FROM orders", "owner").limit
    assert other is not None and other.meter.take(100) == 100, "it is another person's"
    assert (limit.meter.take(60), limit.meter.take(1)) == (40, 0)
    denied = judge(found, "SELECT id FROM orders WHERE id = 3")
    assert (denied.action, denied.rule, denied.reason, denied.limit) == ("deny", "p-deny", "enough", None)
    written = judge(found, "UPDATE orders SET note = 'x' WHERE id = 1").limit
    assert written is not None and (written.rule, written.meter.take(1_000)) == ("p-wide", 400)


def test_a_masked_result_and_a_held_one_have_the_limit_too() -> None:
    few = policy("deny", "true", rows_per_hour=100)
    masked = judge(guard(few, policy("mask", "'email' in statement.classes")), "SELECT email FROM customers", "owner")
    assert masked.action == "mask" and masked.limit is not None
    held = judge(guard(few, policy("hold", "true")), "SELECT id FROM orders")
    assert held.action == "hold" and held.limit is not None


def test_break_glass_lifts_a_limit_as_it_lifts_the_denial() -> None:
    few = policy("deny", "true", rows_per_hour=100)
    asked = []
    grant = Grant("g-1", "break_glass", session().person, "prod", "shop", "fire", 0, 1 << 60)

    def lifting(request: Request, verdict: Verdict) -> Grant:
        asked.append((verdict.action, verdict.rule, verdict.by_policy))
        return grant

    found = guard(few, lifting=lifting)
    verdict = judge(found, "SELECT id FROM orders")
    assert (verdict.action, verdict.limit, verdict.approval) == ("allow", None, "g-1")
    assert asked == [("deny", "p-deny", True)]
    grant = structs.replace(grant, kind="access")
    assert judge(found, "SELECT id FROM orders").limit is not None, "other access doesn't lift denials"


@pytest.mark.parametrize(
    ("field", "value", "condition"),
    [
        ("client", "curl", "session.client == 'curl'"),
        ("client_address", "10.0.0.9", "session.address == '10.0.0.9'"),
        ("method", "scram", "session.method == 'scram'"),
        ("device", "laptop-7", "session.device == 'laptop-7'"),
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


@pytest.mark.parametrize(("expected", "action"), [(1000, "hold"), (10, "allow"), (UNKNOWN_ROWS, "hold")])
def test_what_the_planner_expects_is_asked_for_where_a_policy_wants_to_know(expected: int, action: str) -> None:
    many = policy("hold", ["size(statement.written) > 0", "estimate.rows > 100 || !estimate.known"])
    made = guard(many)
    text = "UPDATE orders SET note = 'x' WHERE id < 5"
    asks = judge(made, text)
    assert asks.needs_rows and asks.explainable
    verdict = made.judge(Request(text, session("ann"), "simple", expected=expected))
    assert (verdict.action, verdict.needs_rows, verdict.estimated_rows) == (action, False, expected)
    assert not judge(made, "SELECT * FROM orders").needs_rows, "no policy wants to know"


def test_what_is_denied_anyway_is_not_asked_about() -> None:
    many = policy("hold", "estimate.rows > 100")
    verdict = judge(guard(many), "SET ROLE postgres")
    assert (verdict.action, verdict.needs_rows) == ("deny", False)


@pytest.mark.parametrize(
    "text",
    [
        "DO 'BEGIN END'",
        "SELECT my_function(1)",
        "SELECT * FROM unknown",
        "EXPLAIN SELECT 1",
        "CREATE TABLE t (a int)",
        "SELECT id @@@ 1 FROM orders",
    ],
)
def test_what_planning_may_run_is_not_explained(text: str) -> None:
    assert not judge(guard(), text).explainable


def test_what_code_it_calls() -> None:
    for text, own in (
        ("SELECT lower(note) FROM orders WHERE id = 1", True),
        ("TRUNCATE orders", True),
        ("SELECT keep(1) FROM orders", False),
        ("SELECT id @@@ 1 FROM orders", False),
        ("DO 'BEGIN END'", False),
    ):
        assert judge(guard(), text).own_code is own, text


def test_terms_of_an_approval_as_the_policy_says() -> None:
    terms = ApprovalTerms(
        by=("a", "b"), quorum=2, every_group=True, emergency=("c",), ticket=True, mode="retry", grant_seconds=60,
        remember_days=7,
    )  # fmt: skip
    verdict = judge(guard(policy("hold", "true", approval=terms)), "SELECT 1")
    assert verdict.terms == Terms("retry", 2, True, ("c",), True, 60, 7 * 86_400)
    assert (verdict.hold_seconds, verdict.by_policy) == (RETRY_SECONDS, True)
    assert judge(guard(policy("hold", "true")), "SELECT 1").terms == Terms(grant_seconds=900)


def test_of_several_that_hold_every_one_is_asked_on_the_strictest_terms() -> None:
    """The first by its name doesn't speak for the others."""
    leads = policy("hold", "true", id="a-anything", message="anything", approval=ApprovalTerms(
        by=("leads",), grant_seconds=60, remember_days=30, in_transaction=True))  # fmt: skip
    payroll = policy("hold", "statement.kind == 'DELETE'", id="payroll", message="payroll", approval=ApprovalTerms(
        by=("finance", "security"), quorum=2, every_group=True, ticket=True, mode="retry", seconds=60))  # fmt: skip
    evening = policy("hold", "now.hour == 0", id="z-evening", approval=ApprovalTerms(emergency=("leads",)))
    verdict = judge(guard(leads, payroll, evening), "DELETE FROM orders WHERE id = 1", "owner")
    assert (verdict.rule, verdict.approvers, verdict.reason) == ("a-anything", ("leads",), "anything; payroll; A title")
    assert verdict.terms.also == (
        Demand(("finance", "security"), 2, True, ()), Demand(("data-owners",), 1, False, ("leads",)),
    )  # fmt: skip
    terms = verdict.terms
    assert (terms.mode, terms.ticket, terms.grant_seconds, terms.remember_seconds) == ("retry", True, 60, 0)
    assert (verdict.hold_seconds, verdict.hold_in_transaction) == (60, False)
    alone = judge(guard(leads), "DELETE FROM orders WHERE id = 1", "owner")
    assert (alone.terms.also, alone.terms.mode, alone.hold_in_transaction) == ((), "wait", True)


def test_a_safeguards_hold_asks_whom_a_policy_asks_as_well() -> None:
    code = policy("hold", "statement.opaque", approval=ApprovalTerms(by=("security",), quorum=2, ticket=True))
    verdict = judge(guard(code), "DO $$ BEGIN END $$")
    assert (verdict.rule, verdict.approvers, verdict.by_policy) == ("masked-code", ("data-owners",), False)
    assert verdict.terms.ticket and verdict.terms.also == (Demand(("security",), 2, False, ()),)


def test_what_a_policy_denies_and_a_safeguard_holds_nothing_lifts() -> None:
    denies = policy("deny", "statement.opaque")
    assert not judge(guard(denies), "DO $$ BEGIN END $$").by_policy
    assert judge(guard(denies), "DO $$ BEGIN END $$", "owner").by_policy


@pytest.mark.parametrize(
    "text",
    [
        "DO $$ /* password */ BEGIN DELETE FROM orders; END $$",
        "EXPLAIN ANALYZE UPDATE orders SET total = 999999 -- password",
        "ALTER ROLE ann PASSWORD 'x'",
    ],
)
def test_nobody_is_asked_to_approve_what_he_wont_be_shown(text: str) -> None:
    verdict = judge(guard(policy("hold", "true")), text, "owner")
    assert verdict.action == "deny" and "must see all of it" in verdict.hint


def test_what_a_statement_touches_holds_what_its_views_stand_on() -> None:
    of = PostgresCatalog()
    shot = snapshot()
    customers = shot.names["public", "customers"]
    view = RelationInfo(29_999, "public", "scratch", "v", shot.relations[customers].columns, (customers,))
    relations, names = {**shot.relations, 29_999: view}, {**shot.names, ("public", "scratch"): 29_999}
    of.replace(structs.replace(shot, relations=relations, names=names))
    by = PolicyGuard(lambda _: of, RuleSettings(clear_groups=("data-owners",)), in_force=InForce(PolicySet([])))
    assert judge(by, "UPDATE scratch SET note = 'x'", "owner").touches == {"public.scratch", "public.customers"}
    assert judge(by, "UPDATE orders SET note = 'x'", "owner").touches == {"public.orders"}
    for unknown in ("UPDATE nothing SET a = 1", "DO $$ BEGIN END $$"):
        assert judge(by, unknown, "owner").touches == frozenset()
    assert judge(by, "UPDATE orders SET note = 'x'", "owner", reshaped=True).touches == frozenset()


def test_what_a_grant_lifts_runs_as_it_would_have() -> None:
    found = catalog()
    given = Grant("g-1", "access", session("ann").person, "prod", "shop", "because", 0, 1)
    holds, denies = policy("hold", "statement.kind == 'SELECT'"), policy("deny", "statement.kind == 'DELETE'")

    def with_grant(grant: Grant | None) -> PolicyGuard:
        settings = RuleSettings(clear_groups=("data-owners",))
        in_force = InForce(PolicySet([holds, denies]))
        return PolicyGuard(lambda _: found, settings, in_force=in_force, lifting=lambda request, verdict: grant)

    for text, lifted in (("SELECT email FROM customers", "mask"), ("SELECT 1", "allow")):
        request, made = Request(text, session("ann"), "simple"), with_grant(given)
        verdict = made.lifted(request, made.judge(request))
        assert (verdict.action, verdict.approval, verdict.spends, verdict.rule) == (lifted, "g-1", False, "p-hold")
    once = with_grant(structs.replace(given, kind="statement"))
    request = Request("SELECT 1", session("ann"), "simple")
    assert once.lifted(request, once.judge(request)).spends
    none = with_grant(None)
    assert none.lifted(request, none.judge(request)).action == "hold"


def test_whether_somebody_is_at_home_is_a_fact() -> None:
    found = catalog()
    networks = (("office", ("10.1.0.0/16", "2001:db8::/32")), ("vpn", ("10.1.2.0/24",)))
    outside = policy("deny", "!('office' in session.networks)", message="from the office only")
    on_vpn = policy("mask", "'vpn' in session.networks")
    settings = RuleSettings(networks=networks)
    made = PolicyGuard(lambda _: found, settings, in_force=InForce(PolicySet([outside, on_vpn])))
    for address, action in (
        ("10.1.9.9", "allow"),
        ("::ffff:10.1.9.9", "allow"),
        ("2001:db8::7", "allow"),
        ("10.1.2.3", "allow"),
        ("192.0.2.1", "deny"),
        ("::ffff:192.0.2.1", "deny"),
        ("", "deny"),
        ("not an address", "deny"),
    ):
        who = replace(session("ann"), session=address, client_address=address)
        assert made.judge(Request("SELECT 1", who, "simple")).action == action, address
