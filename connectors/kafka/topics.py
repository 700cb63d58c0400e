"""Every topic of taprail: partitions, configuration, and which role may write and read it. All else is denied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from taprail.schemas.endpoints import Role

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS

# Statements of one session stay in order, so statements, outcomes and sessions have the same key and partitions.
SESSION_PARTITIONS = 4
CHANGE_FEED_PREFIX = "cdc."
CONNECT_PREFIX = "connect-"
AGENTS_PREFIX = "taprail-agents"
_READERS: tuple[Role, ...] = ("tap", "stream", "agents", "ledger", "viewer")
_PRODUCERS: tuple[Role, ...] = ("tap", "stream", "agents", "ledger")


class Topic(msgspec.Struct, frozen=True):
    """A topic as it should be. The admin user may do everything anyway and isn't listed."""

    name: str
    writers: tuple[Role, ...]
    readers: tuple[Role, ...]
    partitions: int = 1
    config: Mapping[str, str] = msgspec.field(default_factory=dict)


def _log(days: int, compression: Literal["producer", "lz4"] = "producer") -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS), "compression.type": compression}


_STATE = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": str(DAY_MS)}
_ACCEPTED_MARKS = {"cleanup.policy": "compact,delete", "retention.ms": str(7 * DAY_MS), "segment.ms": str(DAY_MS)}
# A table is read back at each start, an event at a time, and what is not compacted yet is read, too.
_SMALL_SEGMENTS = {"segment.ms": str(10 * MINUTE_MS), "segment.bytes": str(1024 * 1024)}
# Values of rows stand here in the clear. Time is when the broker took the record: a producer can't make it live longer.
_CHANGE_FEED = {
    "cleanup.policy": "delete",
    "retention.ms": str(10 * MINUTE_MS),
    "segment.ms": str(MINUTE_MS),
    "segment.bytes": str(64 * 1024 * 1024),
    "message.timestamp.type": "LogAppendTime",
}

TOPICS: tuple[Topic, ...] = (
    Topic("taprail.statements", ("tap",), ("stream", "viewer"), SESSION_PARTITIONS, _log(7)),
    Topic("taprail.outcomes", ("tap",), ("stream", "viewer"), SESSION_PARTITIONS, _log(7)),
    Topic("taprail.sessions", ("tap",), ("stream", "viewer"), SESSION_PARTITIONS, _log(7)),
    Topic("taprail.coverage", ("stream",), ("stream", "agents", "viewer"), config=_log(7)),
    Topic("taprail.detections", ("stream", "agents"), ("stream", "agents", "viewer"), config=_log(30)),
    Topic("taprail.matches", ("stream",), ("agents", "viewer"), config=_log(7)),
    Topic("taprail.approvals", ("tap", "stream", "agents"), ("tap", "stream", "agents", "viewer"), config=_log(30)),
    Topic("taprail.approval-states", ("stream", "agents"), ("tap", "agents", "viewer"), config=_log(30)),
    Topic("taprail.decisions", ("agents",), ("tap", "stream", "agents", "viewer"), config=_log(30)),
    Topic("taprail.alerts", ("stream", "agents"), ("agents", "viewer"), config=_log(30)),
    Topic("taprail.siem", ("stream", "agents"), ("viewer",), config=_log(7)),
    Topic("taprail.changes", ("stream",), ("stream", "agents", "viewer"), config=_log(7)),
    Topic("taprail.marks", ("stream",), ("stream",), config=_ACCEPTED_MARKS),
    Topic("taprail.audit", ("stream", "agents"), ("ledger", "viewer"), config=_log(30)),
    Topic("taprail.dead-letters", ("stream", "agents", "ledger"), (), config=_log(7)),
    Topic("taprail.identities", ("agents",), ("tap", "stream", "agents", "viewer"), config=_STATE),
    Topic("taprail.grants", ("agents",), ("tap", "stream", "agents", "viewer"), config=_STATE),
    Topic("taprail.policies", ("agents",), ("tap", "stream", "agents", "viewer"), config=_STATE),
    Topic("taprail.classifications", ("agents",), ("tap", "stream", "agents", "viewer"), config=_STATE),
)


# Faust keeps its tables in topics named after the application.
def _table(name: str, *, windowed: bool = False) -> Topic:
    config = {**_STATE, **_SMALL_SEGMENTS}
    if windowed:
        config |= {"cleanup.policy": "compact,delete", "retention.ms": str(DAY_MS)}
    return Topic(f"{AGENTS_PREFIX}-{name}-changelog", ("agents",), ("agents",), config=config)


TOPICS += (
    *(_table(name) for name in ("approvals", "correlations", "coverage", "delivered", "emergencies")),
    _table("refusals", windowed=True),
)


def change_feed_name(server: str, database: str) -> str:
    """The topic of one database's raw change feed."""
    return f"{CHANGE_FEED_PREFIX}{server}.{database}"


def change_feed_topic(server: str, database: str) -> Topic:
    """One partition, because a transaction's order is the topic's order; minutes of retention."""
    return Topic(change_feed_name(server, database), ("connect",), ("stream",), config=_CHANGE_FEED)


Operation = Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"]
_OF_ONES_OWN: tuple[Operation, ...] = ("READ", "WRITE", "CREATE", "DESCRIBE_CONFIGS")


class Rule(msgspec.Struct, frozen=True, order=True):
    """One access rule: `role` may do `operation` on what is called `name`, or starts with it when `prefix`."""

    role: Role
    operation: Operation
    resource: Literal["TOPIC", "GROUP", "TRANSACTIONAL_ID"]
    name: str
    prefix: bool = False


def access_rules() -> frozenset[Rule]:
    """All rules of all roles. READ and WRITE imply DESCRIBE (Kafka documentation, 7.5 Authorization and ACLs)."""
    rules: set[Rule] = set()
    for topic in TOPICS:
        rules |= {Rule(role, "WRITE", "TOPIC", topic.name) for role in topic.writers}
        rules |= {Rule(role, "READ", "TOPIC", topic.name) for role in topic.readers}
    rules |= {
        Rule("connect", "WRITE", "TOPIC", CHANGE_FEED_PREFIX, prefix=True),
        Rule("stream", "READ", "TOPIC", CHANGE_FEED_PREFIX, prefix=True),
    }
    # Group and transactional ids: each role's own prefix, so that no role can take over another's offsets or fence it.
    for role in _READERS:
        rules.add(Rule(role, "READ", "GROUP", f"taprail-{role}", prefix=True))
    for role in _PRODUCERS:
        rules.add(Rule(role, "WRITE", "TRANSACTIONAL_ID", f"taprail-{role}", prefix=True))
    for operation in _OF_ONES_OWN:  # Connect keeps its state in its own topics
        rules.add(Rule("connect", operation, "TOPIC", CONNECT_PREFIX, prefix=True))
    rules.add(Rule("connect", "READ", "GROUP", "taprail-connect"))
    # The agents look how far the stream has read the taps' topics, without reading them.
    rules.add(Rule("agents", "DESCRIBE", "GROUP", "taprail-stream", prefix=True))
    rules |= {Rule("agents", "DESCRIBE", "TOPIC", topic.name) for topic in TOPICS if topic.writers == ("tap",)}
    return frozenset(rules)
