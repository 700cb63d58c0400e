"""Does a statement reach personal data, and what of its result may this person see?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from taprail.schemas.guard import Catalog, Facts, MaskPlan, RelationInfo, SessionContext
from taprail.streams.masking.clean import Proof
from taprail.streams.masking.readers import reads_by_itself

REDACTIONS: Mapping[str, bytes] = {
    "email": b"***@***",
    "phone": b"***",
    "unproven": b"***",
}


def personal(catalog: Catalog) -> bool:
    """Whether the database holds personal data at all, PostgreSQL's own statistics of it aside."""
    return any(data_class != "system" for data_class in catalog.sensitive().values())


def reaches(facts: Facts, relations: Iterable[RelationInfo | None], catalog: Catalog) -> bool:
    """Whether the statement can reach personal data; true in doubt."""
    if facts.opaque or facts.executes or facts.fetches or facts.tag == "LISTEN":
        return personal(catalog)
    if any(reads_by_itself(name) for name in facts.functions) or runs_foreign_code(facts, catalog):
        return True
    known = list(relations)
    if any(relation is not None and relation.code for relation in known) and personal(catalog):
        return True
    return any(relation is None or holds_personal(relation, catalog) for relation in known)


def runs_foreign_code(facts: Facts, catalog: Catalog) -> bool:
    """Whether it names a function or an operator that isn't PostgreSQL's own."""
    return not all(map(catalog.builtin, (*facts.functions, *(f"operator {name}" for name in facts.operators))))


def holds_personal(relation: RelationInfo, catalog: Catalog) -> bool:
    """Whether the relation, or what a view of it stands on, has a sensitive column.

    PostgreSQL's own views say by their columns what they show: pg_roles stands on pg_authid and shows no password.
    """
    sensitive = catalog.sensitive()
    if any((relation.oid, column.attnum) in sensitive for column in relation.columns):
        return True
    if relation.schema in ("pg_catalog", "information_schema"):
        return False
    below = set(relation.reads)
    return bool(below) and any(oid in below for oid, _ in sensitive)


def plan(
    facts: Facts,
    node: Any,
    session: SessionContext,
    catalog: Catalog,
    hash_key: bytes = b"",
    calls: frozenset[str] = frozenset(),
) -> MaskPlan:
    """The plan for somebody who sees personal data masked, of a statement that reaches it.

    With a `hash_key` text is hashed under it rather than redacted. `calls` are functions called like columns.

    What EXECUTE and FETCH run was named in another search_path perhaps, so only the server's description proves there.
    """
    clean, width = frozenset[int](), -1
    kind = node.WhichOneof("node")
    if facts.tag == "EXPLAIN":
        # A plan without a run shows the person's own text and estimates, but for functions that are folded into it.
        if not facts.explain_analyze and not runs_foreign_code(facts, catalog):
            clean, width = frozenset({0}), 1
    elif facts.executes or facts.fetches:
        pass
    elif kind == "select_stmt":
        clean, width = Proof(node, session, catalog, calls).outputs(node.select_stmt)
    sensitive, newest = catalog.sensitive(), catalog.newest()
    return MaskPlan(sensitive, catalog.oids(), clean, width, REDACTIONS, newest=newest, hash_key=hash_key)
