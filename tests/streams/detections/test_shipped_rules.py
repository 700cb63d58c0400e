"""Each shipped rule: what it must find, and what it must leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taprail.streams.detections import rules
from taprail.streams.detections.found import NAMES_MAX, Found, alert_of, detection_of, named
from taprail.streams.detections.rules import (
    Rule,
    agent_purpose,
    denied_destructive,
    held_statement,
    large_read,
    outcome_unknown,
    refused_sign_in,
)

ROWS = 1000
CUSTOMERS = {"schema": "public", "name": "customers", "access": "read", "classes": ["email"]}
ORDERS = {"schema": "public", "name": "orders", "access": "read", "classes": []}
COMMON = {
    "tap": "tap-1", "epoch": 7, "sequence": 1, "time_us": 1, "session": "s", "environment": "prod", "server": "local",
    "database": "shop", "person": {"subject": "ann", "name": "Ann", "kind": "person", "groups": []}, "purpose": "",
}  # fmt: skip
STATEMENT = COMMON | {"action": "allow", "rule": "default", "tag": "SELECT", "writes": False, "relations": [ORDERS]}
OUTCOME = COMMON | {
    "statement_epoch": 7, "statement_sequence": 1, "status": "ok", "tag": "SELECT", "relations": [ORDERS],
    "rows": 1, "bytes": 100,
}  # fmt: skip
SESSION = COMMON | {"event": "opened", "method": "oidc", "client_address": "10.0.0.1", "reason": ""}
DENIED = STATEMENT | {"action": "deny", "rule": "protected-environment"}
REFUSED = SESSION | {"event": "refused", "method": "none", "reason": "the token has expired"}
MUCH = OUTCOME | {"rows": ROWS}

MUST: list[tuple[Rule, dict[str, Any], str]] = [
    (denied_destructive.detect, DENIED | {"tag": "DROP TABLE"}, "high"),
    (denied_destructive.detect, DENIED | {"tag": "DROP SCHEMA", "relations": []}, "high"),
    (denied_destructive.detect, DENIED | {"tag": "TRUNCATE TABLE"}, "high"),
    (agent_purpose.detect, DENIED | {"rule": "agent-purpose"}, "low"),
    (held_statement.detect, STATEMENT | {"action": "hold", "rule": "large-write"}, "medium"),
    (large_read.rule(ROWS), MUCH, "medium"),
    (large_read.rule(ROWS), MUCH | {"tag": "COPY", "rows": 10 * ROWS}, "medium"),
    (large_read.rule(ROWS), MUCH | {"tag": "FETCH"}, "medium"),
    (large_read.rule(ROWS), MUCH | {"relations": [ORDERS, CUSTOMERS]}, "high"),
    (outcome_unknown.detect, OUTCOME | {"status": "unknown"}, "medium"),
    (refused_sign_in.detect, REFUSED, "low"),
]
MUST_NOT: list[tuple[Rule, dict[str, Any]]] = [
    (denied_destructive.detect, STATEMENT | {"tag": "DROP TABLE"}),
    (denied_destructive.detect, STATEMENT | {"tag": "DROP TABLE", "action": "hold"}),
    (denied_destructive.detect, DENIED),
    (denied_destructive.detect, DENIED | {"tag": "DELETE"}),
    (denied_destructive.detect, DENIED | {"tag": "CREATE TABLE"}),
    (agent_purpose.detect, DENIED),
    (agent_purpose.detect, STATEMENT | {"rule": "agent-purpose"}),
    (held_statement.detect, STATEMENT),
    (held_statement.detect, DENIED),
    (held_statement.detect, STATEMENT | {"action": "mask"}),
    (large_read.rule(ROWS), MUCH | {"rows": ROWS - 1}),
    (large_read.rule(ROWS), MUCH | {"tag": "UPDATE"}),
    (large_read.rule(ROWS), MUCH | {"tag": "INSERT"}),
    (large_read.rule(ROWS), MUCH | {"bytes": 0}),  # COPY FROM: rows went in, none came out
    (outcome_unknown.detect, OUTCOME),
    (outcome_unknown.detect, OUTCOME | {"status": "error"}),
    (refused_sign_in.detect, SESSION),
    (refused_sign_in.detect, REFUSED | {"method": "oidc", "reason": "the database can't be reached"}),
    (refused_sign_in.detect, SESSION | {"event": "closed", "reason": "the server shut down"}),
]


@pytest.mark.parametrize(("rule", "record", "severity"), MUST)
def test_it_finds(rule: Rule, record: dict[str, Any], severity: str) -> None:
    found = rule(record)
    assert found is not None
    assert found.severity == severity
    assert "Ann" in found.title
    assert record["database"] in found.title


@pytest.mark.parametrize(("rule", "record"), MUST_NOT)
def test_it_leaves_alone(rule: Rule, record: dict[str, Any]) -> None:
    assert rule(record) is None


def test_no_rule_is_without_its_tests_and_without_its_place() -> None:
    """A rule file that is in no tuple would never run."""
    files = {path.stem for path in Path(rules.__file__).parent.glob("*.py")} - {"__init__"}
    shipped = (*rules.STATEMENT_RULES, *rules.SESSION_RULES, *rules.outcome_rules(ROWS))
    for tested in (shipped, [rule for rule, *_ in MUST], [rule for rule, _ in MUST_NOT]):
        assert {rule.__module__.rpartition(".")[2] for rule in tested} == files


def test_one_name_for_one_finding() -> None:
    names = {(rule.__module__, found.rule) for rule, record, _ in MUST if (found := rule(record))}
    assert len(names) == len({module for module, _ in names}) == len({name for _, name in names})


def test_the_same_finding_has_the_same_id_and_another_one_another() -> None:
    found = Found("rule", "low", "title", "summary")
    first = detection_of(found, STATEMENT, "statement")
    assert first == detection_of(found, STATEMENT, "statement")
    others = [STATEMENT | {"sequence": 2}, STATEMENT | {"epoch": 8}, STATEMENT | {"tap": "tap-2"}]
    ids = {detection_of(found, record, "statement").detection_id for record in [STATEMENT, *others]}
    assert len(ids | {detection_of(Found("b", "low", "", ""), STATEMENT, "statement").detection_id}) == 5


def test_an_alert_names_the_statement_and_the_person() -> None:
    found = denied_destructive.detect(DENIED | {"tag": "DROP TABLE"})
    assert found is not None
    alert = alert_of(detection_of(found, DENIED | {"tag": "DROP TABLE"}, "statement"))
    assert (alert.person, alert.statement, alert.severity) == ("Ann", "tap-1/7/1", "high")
    assert alert.summary == "DROP TABLE of public.orders was denied by protected-environment. Nothing was changed."


def test_thousands_of_relations_dont_fill_a_text() -> None:
    record = {"relations": [ORDERS | {"name": f"t{n}"} for n in range(NAMES_MAX + 5)]}
    assert named(record).endswith("public.t9 and 5 more")
    assert named({"relations": []}) == "nothing by name"
    assert named({}) == "nothing by name"
