"""Which output columns are clean by their construction alone: literals, counts, and arithmetic over clean columns.

Everything else waits for the server's RowDescription, where a direct column is known by its OID; what neither proves
is masked. The proof is by an allow-list of parse nodes: a node that isn't listed proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taprail.schemas.guard import RelationInfo

_COUNTING = {"count"}
# Aggregates and functions of PostgreSQL's own whose result is clean where their arguments are.
_CARRYING = {
    "sum",
    "avg",
    "min",
    "max",
    "round",
    "abs",
    "floor",
    "ceil",
    "coalesce",
    "date_trunc",
    "upper",
    "lower",
    "length",
}
_CONSTANT = {
    "now",
    "version",
    "current_database",
    "pg_backend_pid",
    "clock_timestamp",
    "random",
    "pg_sleep",
    "txid_current",
}


def clean_outputs(select: Any, relations: Iterable[RelationInfo | None]) -> tuple[frozenset[int], int]:
    """Positions that are clean, and how many columns were counted; (empty, -1) where no proof can be made.

    `select` is a SelectStmt, `relations` all relations that the statement reaches.
    """
    known = [r for r in relations if r is not None]
    if select.HasField("with_clause") or select.op != 1 or select.values_lists or not select.target_list:
        return frozenset(), -1  # op 1: SETOP_NONE
    plain = all(item.HasField("range_var") for item in select.from_clause)
    names = {name for item in select.from_clause if plain for name in _names_of(item.range_var)}
    personal = {c.name for r in known for c in r.columns if c.data_class}
    clean = {c.name for r in known for c in r.columns if not c.data_class} - personal - names
    positions = set()
    for position, item in enumerate(select.target_list):
        target = item.res_target
        if _is_star(target.val):
            return frozenset(), -1
        if _proven(target.val, clean if plain else set()):
            positions.add(position)
    return frozenset(positions), len(select.target_list)


def _names_of(range_var: Any) -> tuple[str, str]:
    return range_var.relname, range_var.alias.aliasname


def _is_star(node: Any) -> bool:
    if node.HasField("column_ref"):
        return any(part.HasField("a_star") for part in node.column_ref.fields)
    return node.HasField("a_indirection") and any(p.HasField("a_star") for p in node.a_indirection.indirection)


def _proven(node: Any, clean: set[str]) -> bool:
    kind = node.WhichOneof("node")
    if kind in ("a_const", "param_ref", "sqlvalue_function"):
        return True
    if kind == "column_ref":
        parts = node.column_ref.fields
        return all(p.HasField("string") for p in parts) and parts[-1].string.sval in clean
    if kind == "type_cast":
        return _proven(node.type_cast.arg, clean)
    if kind == "a_expr":
        # Comparisons, too, are clean only over clean columns: `email = 'x'` would tell.
        sides = [side for side in ("lexpr", "rexpr") if node.a_expr.HasField(side)]
        return all(_proven(getattr(node.a_expr, side), clean) for side in sides)
    if kind == "func_call":
        return _call(node.func_call, clean)
    if kind == "coalesce_expr":
        return all(_proven(argument, clean) for argument in node.coalesce_expr.args)
    return False


def _call(call: Any, clean: set[str]) -> bool:
    names = [part.string.sval for part in call.funcname]
    if len(names) > 1 and names[0] != "pg_catalog":
        return False
    name = names[-1]
    if name in _COUNTING:
        # A FILTER or a DISTINCT over personal columns counts them; it shows how many, not which.
        return True
    if call.HasField("agg_filter") or call.HasField("over"):
        return False
    if name in _CONSTANT:
        return not call.args or name == "pg_sleep"
    return name in _CARRYING and all(_proven(argument, clean) for argument in call.args)
