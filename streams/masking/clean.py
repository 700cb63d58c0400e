"""Which expressions are clean by their construction alone: literals, counts, and what is computed from clean columns.

Everything else waits for the server's RowDescription, where a direct column is known by its OID; what neither proves
is masked. The proof is by an allow-list of parse nodes: a node that isn't listed proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from taprail.schemas.guard import Catalog, Column, RelationInfo, SessionContext
from taprail.streams.masking.readers import reads_by_itself
from taprail.streams.policy.facts import operators_of

# Nodes that give nothing but what their parts give. ColumnRef, FuncCall and A_Expr are looked at closer.
_COMPUTING = frozenset(
    {
        "Node", "A_Const", "Integer", "Float", "Boolean", "String", "BitString", "ParamRef", "SQLValueFunction",
        "TypeCast", "TypeName", "List", "CoalesceExpr", "CaseExpr", "CaseWhen", "BoolExpr", "NullTest", "BooleanTest",
        "MinMaxExpr",
        "A_ArrayExpr", "A_Indirection", "A_Indices", "CollateClause", "RowExpr", "NamedArgExpr", "SortBy", "WindowDef",
        "SetToDefault", "GroupingFunc",
    }
)  # fmt: skip


class Scope(Struct, frozen=True):
    """What column references mean at one level of a query.

    relations   by the name that a column may be qualified with
    whole       there is nothing else in FROM, so a name without qualifier is a column of one of them
    own         any column may be named: a new or generated column's expression, whose class the catalog finds
    """

    relations: Mapping[str, RelationInfo] = {}
    whole: bool = False
    own: bool = False

    def columns(self, reference: Any) -> list[tuple[RelationInfo, Column]]:
        """What a ColumnRef may mean; empty where that isn't known, as for a whole row or `alias.function`."""
        if not all(part.HasField("string") for part in reference.fields):
            return []
        *qualifier, name = (part.string.sval for part in reference.fields)
        if len(qualifier) > 1 or (not qualifier and not self.whole):
            return []
        relations = (r for alias, r in self.relations.items() if not qualifier or alias == qualifier[0])
        return [(r, c) for r in relations for c in r.columns if c.name == name]


class Proof:
    """Proofs about the expressions of one statement, in its session's search_path. `calls` are functions that it calls
    as if they were columns: `o.f`, `(o).f`."""

    def __init__(
        self, node: Any, session: SessionContext, catalog: Catalog, calls: frozenset[str] = frozenset()
    ) -> None:
        self._session, self._catalog, self.calls = session, catalog, calls
        self._withs = {m.ctename for m in messages(node) if m.DESCRIPTOR.name == "CommonTableExpr"}

    def relation(self, range_var: Any) -> RelationInfo | None:
        """What a RangeVar stands for; None where a WITH of this name, anywhere in the statement, may be meant."""
        if range_var.catalogname or (not range_var.schemaname and range_var.relname in self._withs):
            return None
        session = self._session
        return self._catalog.resolve(range_var.schemaname, range_var.relname, session.search_path, session.role)

    def sensitive(self, relation: RelationInfo, column: Column) -> bool:
        return bool(column.data_class) or (relation.oid, column.attnum) in self._catalog.sensitive()

    def scope(self, items: Iterable[Any], target: Any = None, **also: Any) -> Scope:
        """The scope of FROM items, of a statement's target, and of names that stand for a target's columns."""
        found: list[tuple[str, RelationInfo | None]] = []
        whole = False not in [self._from(item, found) for item in items]  # every one is looked at
        if target is not None:
            found.append((target.alias.aliasname or target.relname, self._unrenamed(target)))
        found += [(name, self.relation(range_var)) for name, range_var in also.items()]
        names = [name for name, _ in found]
        known = {name: relation for name, relation in found if relation is not None and names.count(name) == 1}
        return Scope(known, whole and len(known) == len(found))

    def _from(self, item: Any, found: list[tuple[str, RelationInfo | None]]) -> bool:
        kind = item.WhichOneof("node")
        if kind == "range_var":
            found.append((item.range_var.alias.aliasname or item.range_var.relname, self._unrenamed(item.range_var)))
            return True
        if kind == "join_expr" and not (
            item.join_expr.HasField("alias") or item.join_expr.HasField("join_using_alias")
        ):
            return False not in [self._from(side, found) for side in (item.join_expr.larg, item.join_expr.rarg)]
        return False

    def _unrenamed(self, range_var: Any) -> RelationInfo | None:
        """An alias may give the columns other names; then nothing is known of them."""
        return None if range_var.alias.colnames else self.relation(range_var)

    def outputs(self, select: Any) -> tuple[frozenset[int], int]:
        """Positions of a SelectStmt that are clean, and how many columns it has; (empty, -1) without any proof."""
        if select.HasField("with_clause") or select.op != 1 or select.values_lists or not select.target_list:
            return frozenset(), -1  # op 1: SETOP_NONE
        scope = self.scope(select.from_clause)
        values = [item.res_target.val for item in select.target_list]
        if any(_is_star(value) for value in values):
            return frozenset(), -1
        return frozenset(i for i, value in enumerate(values) if self.clean(value, scope)), len(values)

    def all_clean(self, node: Any) -> bool:
        """Whether a query gives nothing but clean columns. A node that isn't a SELECT proves nothing."""
        if node.WhichOneof("node") != "select_stmt":
            return False
        select = node.select_stmt
        if select.values_lists and not select.HasField("with_clause"):
            return all(self.clean(row, Scope()) for row in select.values_lists)
        if self._from_functions(select):
            values = [item.res_target.val for item in select.target_list]
            return all(_is_star(value) or self.clean(value, Scope(own=True)) for value in values)
        clean, width = self.outputs(select)
        return len(clean) == width

    def _from_functions(self, select: Any) -> bool:
        """Whether FROM holds nothing but functions of clean arguments, so that each of its columns is clean.

        `INSERT … SELECT * FROM unnest($1::int[], $2::text[])` is how ORMs insert many rows.
        """
        plain = select.op == 1 and not select.HasField("with_clause") and bool(select.from_clause)
        return plain and all(
            item.HasField("range_function")
            and all(self.clean(call.list.items[0], Scope()) for call in item.range_function.functions)
            for item in select.from_clause
        )

    def clean(self, message: Any, scope: Scope) -> bool:
        """Whether an expression gives nothing but literals, parameters, counts and clean columns of the scope."""
        kind = message.DESCRIPTOR.name
        if kind == "ColumnRef":
            columns = scope.columns(message)
            if scope.own:
                return self.called(message) == ""
            return bool(columns) and not any(self.sensitive(*column) for column in columns)
        if kind == "A_Indirection" and any(not item.HasField("a_indices") for item in message.indirection):
            return False  # a field, or a function of what stands before the dot
        if kind == "FuncCall":
            name = ".".join(part.string.sval for part in message.funcname)
            if not self._catalog.builtin(name) or reads_by_itself(name):
                return False
            if name.rpartition(".")[2] == "count":
                return True  # it shows how many there are, not which
        elif kind == "A_Expr":
            if not all(self.pure(operator) for operator in operators_of(message)):
                return False
        elif (kind == "TypeCast" and self.casts_by_code(message)) or kind not in _COMPUTING:
            return False
        return all(self.clean(child, scope) for child in children(message))

    def casts_by_code(self, cast: Any) -> bool:
        """Whether code of somebody's own makes a TypeCast's value, or checks it."""
        return self._catalog.runs_code(cast.type_name.names[-1].string.sval)

    def called(self, reference: Any) -> str:
        """The function that a ColumnRef calls; '' for none."""
        last = reference.fields[-1]
        name: str = last.string.sval if len(reference.fields) > 1 and last.HasField("string") else ""
        return name if name in self.calls else ""

    def pure(self, operator: str) -> bool:
        """Whether an operator of this name can only be one of PostgreSQL's own."""
        return self._catalog.builtin(f"operator {operator}")

    def foreign(self, function: str) -> bool:
        """Whether a function of this name may run code that isn't PostgreSQL's own."""
        return not self._catalog.builtin(function)


def children(message: Any) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.message_type is not None:
            yield from value if field.is_repeated else (value,)


def messages(message: Any) -> Iterator[Any]:
    """A tree's messages, the outermost first."""
    yield message
    for child in children(message):
        yield from messages(child)


def _is_star(node: Any) -> bool:
    if node.HasField("column_ref"):
        return any(part.HasField("a_star") for part in node.column_ref.fields)
    return node.HasField("a_indirection") and any(p.HasField("a_star") for p in node.a_indirection.indirection)
