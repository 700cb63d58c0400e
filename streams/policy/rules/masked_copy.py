"""masked-copy: who sees personal data masked can't copy it to where it wouldn't be.

Why: INSERT … SELECT, CREATE TABLE AS, a view, an UPDATE of another column or a notification would put the clear values
where their column no longer says what they are. COPY TO STDOUT has a row format that isn't masked.
"""

from __future__ import annotations

from typing import Any

from taprail.schemas.guard import RelationInfo
from taprail.streams.policy.decision import Case, Decision

RULE = "masked-copy"
HINT = "select the columns that you need without personal data, or ask for access to it"
_SENDING = frozenset({"pg_notify", "set_config", "lo_from_bytea", "lo_put", "lowrite", "pg_advisory_lock", "setval"})
_COPYING = frozenset(
    {"CREATE TABLE AS", "CREATE MATERIALIZED VIEW", "CREATE VIEW", "SELECT INTO", "INSERT", "MERGE", "CREATE RULE"}
)


def judge(case: Case) -> Decision | None:
    if not case.masked:
        return None
    facts = case.facts
    if facts.copy == "out":
        return _denied("COPY TO would send personal data unmasked")
    if {f.rpartition(".")[2] for f in facts.functions} & _SENDING:
        return _denied("the statement could send personal data somewhere else")
    reads_personal = any(_personal(case, r) for r in _read(case))
    if (facts.tag in _COPYING or facts.opaque) and reads_personal:
        return _denied(f"{facts.tag} would copy personal data to where it isn't masked")
    if facts.writes and _assigns_personal(case):
        return _denied(f"{facts.tag} would copy personal data into another column")
    return None


def _read(case: Case) -> list[RelationInfo | None]:
    pairs = zip(case.facts.relations, case.relations, strict=True)
    return [info for use, info in pairs if use.access == "read"]


def _personal(case: Case, relation: RelationInfo | None) -> bool:
    return relation is None or any((relation.oid, c.attnum) in case.catalog.sensitive() for c in relation.columns)


def _assigns_personal(case: Case) -> bool:
    """An assignment whose value isn't made of literals and clean columns alone."""
    sensitive = case.catalog.sensitive()
    names = {c.name for r in case.relations if r for c in r.columns if (r.oid, c.attnum) in sensitive}
    return any(_touches(target, names) for target in _assignments(case.node))


def _assignments(message: Any) -> list[Any]:
    """The values of every UPDATE … SET and ON CONFLICT … SET in a tree."""
    found: list[Any] = []
    if message.DESCRIPTOR.name in ("UpdateStmt", "OnConflictClause", "MergeWhenClause"):
        found += list(message.target_list)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in value if field.is_repeated else (value,):
                found += _assignments(child)
    return found


def _touches(message: Any, names: set[str]) -> bool:
    """Whether a tree reads a personal column by name, a whole row, or a subquery."""
    kind = message.DESCRIPTOR.name
    if kind in ("SubLink", "AStar"):
        return True
    if kind == "ColumnRef":
        parts = [p.string.sval for p in message.fields if p.HasField("string")]
        return not parts or parts[-1] in names or len(parts) != len(message.fields)
    return any(
        _touches(child, names)
        for field, value in message.ListFields()
        if field.message_type is not None
        for child in (value if field.is_repeated else (value,))
    )


def _denied(reason: str) -> Decision:
    return Decision("deny", RULE, reason, HINT)
