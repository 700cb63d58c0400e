"""Does a statement reach personal data, and what of its result may this person see?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from taprail.schemas.guard import Catalog, Facts, MaskPlan, RelationInfo
from taprail.streams.masking.clean import clean_outputs

REDACTIONS: Mapping[str, bytes] = {
    "email": b"***@***",
    "phone": b"***",
    "unproven": b"***",
}
# Functions of PostgreSQL's own that read what their arguments name, or files, or other servers.
READERS = frozenset(
    {
        "query_to_xml",
        "query_to_xmlschema",
        "query_to_xml_and_xmlschema",
        "table_to_xml",
        "table_to_xml_and_xmlschema",
        "schema_to_xml",
        "schema_to_xml_and_xmlschema",
        "database_to_xml",
        "database_to_xml_and_xmlschema",
        "cursor_to_xml",
        "ts_stat",
        "ts_rewrite",
        "lo_get",
        "loread",
        "current_setting",
        "pg_logical_slot_get_changes",
        "pg_logical_slot_peek_changes",
        "pg_logical_slot_get_binary_changes",
        "pg_logical_slot_peek_binary_changes",
    }
)


def reaches(facts: Facts, relations: Iterable[RelationInfo | None], catalog: Catalog) -> bool:
    """Whether the statement can reach personal data; true in doubt."""
    if facts.opaque or facts.executes or facts.fetches:
        return True
    if any(name.rpartition(".")[2] in READERS or not catalog.builtin(name) for name in facts.functions):
        return True
    return any(relation is None or holds_personal(relation, catalog) for relation in relations)


def holds_personal(relation: RelationInfo, catalog: Catalog) -> bool:
    sensitive = catalog.sensitive()
    if any((relation.oid, column.attnum) in sensitive for column in relation.columns):
        return True
    return any((oid := base) and any(key[0] == oid for key in sensitive) for base in relation.reads)


def plan(facts: Facts, node: Any, relations: list[RelationInfo | None], catalog: Catalog) -> MaskPlan:
    """The plan for somebody who sees personal data masked, of a statement that reaches it."""
    clean, width = frozenset[int](), -1
    kind = node.WhichOneof("node")
    if facts.tag == "EXPLAIN" and not facts.explain_analyze:
        clean, width = frozenset({0}), 1  # a plan without a run shows the person's own text and estimates
    elif kind == "select_stmt":
        clean, width = clean_outputs(node.select_stmt, relations)
    elif kind == "variable_show_stmt":
        clean, width = frozenset({0}), 1
    return MaskPlan(catalog.sensitive(), catalog.oids(), clean, width, REDACTIONS, scrub=True)
