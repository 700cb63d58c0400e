"""The table of topics and access rules: who may do what, as the attacker would ask it."""

from __future__ import annotations

import pytest

from taprail.connectors.kafka.topics import AGENTS_PREFIX, TOPICS, Rule, access_rules, change_feed_topic
from taprail.schemas.endpoints import ROLES, Role
from taprail.schemas.mark import PREFIX

SIGNED = ("taprail.identities", "taprail.grants", "taprail.policies", "taprail.classifications")


def may(role: Role, operation: str, name: str, resource: str = "TOPIC") -> bool:
    def covers(rule: Rule) -> bool:
        return name.startswith(rule.name) if rule.prefix else name == rule.name

    return any(
        covers(rule)
        for rule in access_rules()
        if (rule.role, rule.operation, rule.resource) == (role, operation, resource)
    )


def who(operation: str, name: str, resource: str = "TOPIC") -> set[str]:
    return {role for role in ROLES if may(role, operation, name, resource)}


def test_raw_changes_are_written_by_connect_and_read_by_the_stream_only() -> None:
    assert who("WRITE", "cdc.server.database") == {"connect"}
    assert who("READ", "cdc.server.database") == {"stream"}


def test_raw_changes_live_minutes_in_one_partition_by_the_brokers_clock() -> None:
    topic = change_feed_topic("server", "database")
    assert (topic.name, topic.partitions) == ("cdc.server.database", 1)
    assert int(topic.config["retention.ms"]) == 600_000
    assert int(topic.config["segment.ms"]) <= 60_000
    assert topic.config["message.timestamp.type"] == "LogAppendTime"


def test_a_tap_writes_what_it_saw_and_nothing_that_decides() -> None:
    writes = {topic.name for topic in TOPICS if may("tap", "WRITE", topic.name)}
    assert writes == {"taprail.statements", "taprail.outcomes", "taprail.sessions", "taprail.approvals"}


@pytest.mark.parametrize("name", ["taprail.decisions", *SIGNED])
def test_control_records_come_from_the_agents_only(name: str) -> None:
    assert who("WRITE", name) == {"agents"}


def test_the_viewer_writes_nothing() -> None:
    assert {rule.operation for rule in access_rules() if rule.role == "viewer"} == {"READ"}


def test_nobody_but_admin_reads_dead_letters() -> None:
    assert who("READ", "taprail.dead-letters") == set()


def test_prefixed_rules_cover_no_topic_of_the_table() -> None:
    prefixes = [rule.name for rule in access_rules() if rule.resource == "TOPIC" and rule.prefix]
    assert not [topic.name for topic in TOPICS for prefix in prefixes if topic.name.startswith(prefix)]


@pytest.mark.parametrize("resource", ["GROUP", "TRANSACTIONAL_ID"])
def test_no_role_may_use_another_roles_ids(resource: str) -> None:
    for role in ROLES:
        for operation in ("READ", "WRITE"):
            assert who(operation, f"taprail-{role}-1", resource) <= {role}


def test_sessions_statements_and_outcomes_share_partitions() -> None:
    partitions = {t.name: t.partitions for t in TOPICS}
    assert partitions["taprail.statements"] == partitions["taprail.outcomes"] == partitions["taprail.sessions"] > 1
    assert partitions["taprail.audit"] == 1


def test_names_are_ours_and_unique() -> None:
    names = [topic.name for topic in TOPICS]
    assert len(names) == len(set(names))
    assert all(name.startswith((f"{PREFIX}.", f"{AGENTS_PREFIX}-")) for name in names)
