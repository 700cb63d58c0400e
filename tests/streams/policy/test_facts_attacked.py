"""Ways to say a thing so that its facts don't: each was one, once. Through the whole guard, each with its policy."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from taprail.connectors.postgres.catalog import PostgresCatalog
from taprail.schemas.guard import Request
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.guard import PolicyGuard
from taprail.streams.policy.policy import Policy
from taprail.streams.policy.ruling import InForce, PolicySet
from tests.streams.policy.small_world import TABLES, catalog, judge, session, snapshot

WORLD = {
    **TABLES,
    "public.patients": "id integer, name text, diagnosis text",
    "hr.staff": "id integer, name text, salary numeric",
    "pg_catalog.pg_authid": "oid oid, rolname name, rolpassword text",
}
DENIED = {
    "health": '"health" in statement.classes',
    "salary": 'statement.columns.exists(c, c == "hr.staff.salary")',
    "staff-written": '"hr.staff" in statement.written',
    "read-in-clear": '"health" in statement.classes && size(statement.read) > 0',
    "whole-schema": 'statement.relations.exists(r, r.verb == "drop" && r.schema == "hr")',
    "dropped": '"hr.f" in statement.dropped',
    "updates": '"UPDATE" in statement.kinds',
    "foreign": "size(statement.foreign_functions) > 0",
}


def guard(policy: str, of: PostgresCatalog | None = None) -> PolicyGuard:
    found = of or catalog(WORLD)
    one = Policy(id=policy, title=policy, level="high", verdict="deny", match=DENIED[policy])
    settings = RuleSettings(clear_groups=("data-owners",))
    return PolicyGuard(lambda _: found, settings, in_force=InForce(PolicySet([one])))


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("health", "SELECT p.d FROM patients AS p(i, n, d)"),
        ("health", "SELECT d FROM patients AS p(i, n, d)"),
        ("health", "SELECT j.diagnosis FROM (patients CROSS JOIN orders) AS j"),
        ("health", "SELECT j FROM (patients CROSS JOIN orders) AS j"),
        ("health", "SELECT j.* FROM patients a JOIN patients b USING (diagnosis) AS j"),
        ("health", "SELECT 1 FROM patients JOIN (VALUES ('flu')) v(diagnosis) USING (diagnosis)"),
        ("health", "SELECT 1 FROM patients NATURAL JOIN (VALUES ('flu')) v(diagnosis)"),
        ("health", "SELECT p.row_to_json FROM patients p"),
        ("health", "SELECT (p).to_json FROM patients p"),
        ("health", "SELECT public.patients.to_json FROM public.patients"),
        ("health", "DELETE FROM patients WHERE id = 1 RETURNING old.diagnosis"),
        ("health", "DELETE FROM patients WHERE id = 1 RETURNING WITH (OLD AS o) o"),
        ("health", "INSERT INTO patients VALUES (1, 'a', 'flu')"),
        ("health", "INSERT INTO patients (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET diagnosis = 'flu'"),
        ("read-in-clear", "UPDATE patients SET name = 'x' WHERE id = 1 RETURNING diagnosis"),
        ("read-in-clear", "COPY (DELETE FROM patients WHERE id = 1 RETURNING *) TO STDOUT"),
        ("updates", "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = 'x'"),
        ("salary", "GRANT SELECT (salary) ON hr.staff TO bob"),
        ("salary", "CREATE INDEX ON hr.staff (salary)"),
        ("salary", "ALTER TABLE hr.staff RENAME salary TO x"),
        ("salary", "ALTER TABLE hr.staff DROP COLUMN salary"),
        ("salary", "MERGE INTO hr.staff s USING orders o ON s.id = o.id WHEN MATCHED THEN UPDATE SET salary = 5"),
        ("whole-schema", "DROP SCHEMA hr CASCADE"),
        ("dropped", "DROP FUNCTION hr.f(int)"),
        ("dropped", "DROP TYPE hr.f"),
        ("foreign", "SELECT 1 @@@ 2"),
        ("foreign", "SELECT o.keep FROM orders o"),
    ],
)
def test_it_is_seen(policy: str, text: str) -> None:
    verdict = judge(guard(policy), text, "owner")
    assert (verdict.action, verdict.rule) == ("deny", policy)


@pytest.mark.parametrize(
    ("harmless", "harmful"),
    [
        (
            """SELECT U&"diagnossiss" UESCAPE '!' FROM patients""",
            """SELECT U&"diagnossiss" UESCAPE 's' FROM patients""",
        ),
        (
            """select U&"diagnossiss" uescape '!' from patients""",
            """select U&"diagnossiss" uescape 's' from patients""",
        ),
    ],
)
def test_a_name_that_a_literal_makes_shares_no_verdict(harmless: str, harmful: str) -> None:
    """`UESCAPE 's'` makes `diagnosis` of it: texts that are equal but for this literal name other columns."""
    by = guard("health")
    assert judge(by, harmless, "owner").action == "allow"
    assert judge(by, harmful, "owner").action == "deny"
    assert judge(by, harmless, "owner").action == "allow"


def test_such_a_name_lifts_no_safeguard_and_no_mask() -> None:
    by = guard("health")
    role = """SELECT U&"sset_config" UESCAPE '{}'('role', 'boss', false)"""
    assert judge(by, role.format("!"), "owner").action == "allow"
    assert judge(by, role.format("s"), "owner").rule == "session-identity"
    email = """SELECT U&"emmail" UESCAPE '{}' FROM people"""
    unmasked = judge(by, email.format("!"))
    masked = judge(by, email.format("m"))
    assert unmasked.mask is not masked.mask and masked.mask is not None


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE pg_settings SET setting = 'decoy' WHERE name = 'search_path'",
        "UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name = 'row_security'",
        "WITH u AS (UPDATE pg_settings SET setting = 'x' RETURNING 1) SELECT * FROM u",
        "EXPLAIN ANALYZE UPDATE pg_settings SET setting = 'x'",
        "MERGE INTO pg_settings s USING orders o ON true WHEN MATCHED THEN UPDATE SET setting = 'x'",
        "PREPARE p AS UPDATE pg_settings SET setting = 'x'",
        "CREATE VIEW v AS SELECT * FROM pg_settings",
        "CREATE RULE r AS ON INSERT TO orders DO ALSO UPDATE pg_settings SET setting = 'x'",
    ],
)
def test_settings_are_changed_by_set_alone(text: str) -> None:
    for by in (guard("health"), guard("health", catalog(TABLES | {"pg_catalog.pg_class": "oid oid"}))):
        verdict = judge(by, text, "owner")
        assert (verdict.action, verdict.rule) == ("deny", "session-identity")


def test_settings_may_be_read() -> None:
    assert (
        judge(guard("health"), "SELECT setting FROM pg_settings WHERE name = 'search_path'", "owner").action == "allow"
    )


def test_somebody_elses_temporary_table_hides_none() -> None:
    """The tap doesn't know whose it is: the statement may mean either, so both count."""
    by = guard("health", catalog({**WORLD, "pg_temp.patients": "a integer"}))
    assert judge(by, "SELECT diagnosis FROM patients", "owner").action == "deny"
    assert judge(by, "SELECT id FROM patients", "owner").action == "allow"


def in_transaction(by: PolicyGuard, text: str, person: str) -> Any:
    return by.judge(Request(text, session(person, reshaped=True, transaction_status="T"), "simple"))


@pytest.mark.parametrize("person", ["ann", "owner"])
def test_ddl_in_a_transaction_hides_no_relation(person: str) -> None:
    assert in_transaction(guard("staff-written"), "DELETE FROM hr.staff WHERE id = 1", person).rule == "staff-written"
    assert in_transaction(guard("salary"), "SELECT * FROM hr.staff", person).rule == "salary"


def test_what_ddl_gave_another_name_may_hold_anything() -> None:
    assert in_transaction(guard("health"), "SELECT diagnosis FROM renamed", "owner").action == "deny"
    assert judge(guard("health"), "SELECT diagnosis FROM renamed", "owner").action == "allow"


@pytest.mark.parametrize("function", ["table_to_xml", "schema_to_xml", "database_to_xml_and_xmlschema"])
def test_what_only_a_value_names_is_read_by_nobody(function: str) -> None:
    verdict = judge(guard("health"), f"SELECT {function}('patients', true, false, '')", "owner")
    assert (verdict.action, verdict.rule) == ("deny", "server-programs")


def test_a_function_of_ones_own_with_a_harmless_name_may_write() -> None:
    of = PostgresCatalog()
    of.replace(structs.replace(snapshot(WORLD), others=frozenset({"pg_sleep"})))
    verdict = judge(guard("foreign", of), "SELECT evil.pg_sleep(1)", "owner")
    assert verdict.rule == "foreign" and verdict.mark == "carried"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1::customer_ref",
        "SELECT CAST('x' AS shop.customer_ref)",
        "SELECT id::customer_ref[] FROM orders",
        "COPY (SELECT 1::customer_ref) TO STDOUT",
        "SELECT JSON_VALUE('1', '$' RETURNING customer_ref)",
        "PREPARE p AS SELECT $1::customer_ref",
        "EXPLAIN SELECT 1::customer_ref",
    ],
)
def test_a_type_whose_values_code_makes_is_a_function(text: str) -> None:
    """A cast may run a function, and so may a domain's check."""
    verdict = judge(guard("foreign"), text, "owner")
    assert verdict.rule == "foreign" and "cast customer_ref" in verdict.facts.functions
    masked = judge(guard("health"), "SELECT 1::customer_ref, id FROM orders")
    assert masked.mask is not None and masked.mask.clean == {1}
    assert judge(guard("health"), "INSERT INTO orders (note) VALUES (1::customer_ref)").rule == "masked-copy"
    assert judge(guard("health"), "SELECT email::customer_ref FROM customers").rule == "masked-copy"
    assert not judge(guard("foreign"), "SELECT 1::integer, 'x'::text", "owner").rule
