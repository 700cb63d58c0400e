"""Where would a statement put values that its person sees masked? Into a table, a view, a default, a message.

Every place of a tree that stores or sends is looked at, WITH and prepared statements included: what goes there must be
clean by its construction (`clean.py`), or stay in a column that is masked itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from postgast import pg_query_pb2 as pb

from taprail.schemas.guard import RelationInfo
from taprail.streams.masking.clean import Proof, Scope, children
from taprail.streams.masking.readers import sends
from taprail.streams.policy.facts import operators_of

_NOWHERE = Scope()
_OWN = Scope(own=True)


class Flow:
    """One statement's storing and sending."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof

    def reasons(self, message: Any, scope: Scope = _NOWHERE) -> Iterator[str]:
        """Why the statement may not run, for each place; nothing where all is clean."""
        scope = self._scope_of(message, scope)
        look = _LOOKS.get(message.DESCRIPTOR.name)
        if look is not None:
            yield from look(self, message, scope)
        for child in children(message):
            yield from self.reasons(child, scope)

    def _scope_of(self, message: Any, outer: Scope) -> Scope:
        kind, proof = message.DESCRIPTOR.name, self._proof
        if kind == "SelectStmt":
            return proof.scope(message.from_clause)
        if kind == "UpdateStmt":
            return proof.scope(message.from_clause, message.relation)
        if kind == "DeleteStmt":
            return proof.scope(message.using_clause, message.relation)
        if kind == "InsertStmt":
            return proof.scope((), message.relation, excluded=message.relation)
        if kind == "MergeStmt":
            return proof.scope((message.source_relation,), message.relation)
        if kind == "AlterTableStmt":
            return proof.scope((), message.relation)
        return outer

    def _insert(self, message: Any, scope: Scope) -> Iterator[str]:
        if message.HasField("select_stmt") and not self._proof.all_clean(message.select_stmt):
            yield "INSERT would copy personal data to where it isn't masked"
        yield from self._assigned(message, message.on_conflict_clause.target_list, scope)

    def _update(self, message: Any, scope: Scope) -> Iterator[str]:
        yield from self._assigned(message, message.target_list, scope)

    def _merge(self, message: Any, scope: Scope) -> Iterator[str]:
        for when in message.merge_when_clauses:
            clause = when.merge_when_clause
            yield from self._assigned(message, clause.target_list, scope)
            if not all(self._proof.clean(value, scope) for value in clause.values):
                yield "MERGE would copy personal data to where it isn't masked"

    def _assigned(self, message: Any, targets: Any, scope: Scope) -> Iterator[str]:
        relation = self._proof.relation(message.relation)
        for target in (item.res_target for item in targets):
            value = target.val
            if value.HasField("multi_assign_ref"):
                value = value.multi_assign_ref.source
            stays = self._stays_masked(relation, target.name) and not target.indirection
            if value.WhichOneof("node") is not None and not stays and not self._proof.clean(value, scope):
                yield f"the assignment to {target.name} would copy personal data into another column"

    def _stays_masked(self, relation: RelationInfo | None, column: str) -> bool:
        """Whether it is a table's own column that is masked. A view's may stand for a column that isn't."""
        if relation is None or relation.kind not in ("r", "p"):
            return False
        return any(self._proof.sensitive(relation, c) for c in relation.columns if c.name == column)

    def _table_as(self, message: Any, _: Scope) -> Iterator[str]:
        if not self._proof.all_clean(message.query):
            yield "a table of this query would hold personal data where it isn't masked"

    def _into(self, message: Any, scope: Scope) -> Iterator[str]:
        if message.HasField("into_clause"):
            clean, width = self._proof.outputs(message)
            if len(clean) != width:
                yield "SELECT INTO would copy personal data to where it isn't masked"

    def _view(self, message: Any, _: Scope) -> Iterator[str]:
        if not self._proof.all_clean(message.query):
            yield "a view of this query would show personal data under other names"

    def _call(self, message: Any, scope: Scope) -> Iterator[str]:
        name = ".".join(part.string.sval for part in message.funcname)
        if not sends(name) and not self._proof.foreign(name):
            return
        if not all(self._proof.clean(part, scope) for part in children(message)):
            yield f"{name} could keep or send the personal data that it is given"

    def _field(self, message: Any, scope: Scope) -> Iterator[str]:
        """`(x).f` may be `f(x)`."""
        for name in (item.string.sval for item in message.indirection if item.HasField("string")):
            takes = sends(name) or self._proof.foreign(name)
            if name in self._proof.calls and takes and not self._proof.clean(message.arg, scope):
                yield f"{name} could keep or send the personal data that it is given"

    def _cast(self, message: Any, scope: Scope) -> Iterator[str]:
        if self._proof.casts_by_code(message) and not self._proof.clean(message.arg, scope):
            yield "the cast could keep the personal data that it is given"

    def _column(self, message: Any, scope: Scope) -> Iterator[str]:
        """`o.f` may be `f(o)`, with the whole row."""
        name = self._proof.called(message)
        if not name or not (sends(name) or self._proof.foreign(name)) or scope.columns(message):
            return
        row = scope.relations.get(message.fields[-2].string.sval)
        if row is None or any(self._proof.sensitive(row, column) for column in row.columns):
            yield f"{name} could keep or send the personal data that it is given"

    def _operator(self, message: Any, scope: Scope) -> Iterator[str]:
        for operator in operators_of(message):
            if not self._proof.pure(operator) and not all(self._proof.clean(part, scope) for part in children(message)):
                yield f"the operator {operator} could keep the personal data that it is given"

    def _constraint(self, message: Any, _: Scope) -> Iterator[str]:
        scope = {pb.CONSTR_DEFAULT: _NOWHERE, pb.CONSTR_GENERATED: _OWN}.get(message.contype)
        if scope is not None and not self._proof.clean(message.raw_expr, scope):
            yield "the column's expression could read personal data"

    def _alter(self, message: Any, scope: Scope) -> Iterator[str]:
        relation = self._proof.relation(message.relation)
        for command in (item.alter_table_cmd for item in message.cmds):
            if command.subtype == pb.AT_ColumnDefault and command.HasField("def"):
                if not self._proof.clean(getattr(command, "def"), _NOWHERE):
                    yield "the column's default could read personal data"
            elif command.subtype == pb.AT_AlterColumnType and not self._stays_masked(relation, command.name):
                using = getattr(command, "def").column_def.raw_default
                if using.WhichOneof("node") is not None and not self._proof.clean(using, scope):
                    yield "the column's new type is made of personal data"

    def _rename(self, message: Any, _: Scope) -> Iterator[str]:
        relation = self._proof.relation(message.relation) if message.HasField("relation") else None
        if message.rename_type == pb.OBJECT_COLUMN and (
            relation is None or self._stays_masked(relation, message.subname)
        ):
            yield f"another name would hide that {message.subname} holds personal data"


_LOOKS = {
    "InsertStmt": Flow._insert,
    "UpdateStmt": Flow._update,
    "MergeStmt": Flow._merge,
    "CreateTableAsStmt": Flow._table_as,
    "SelectStmt": Flow._into,
    "ViewStmt": Flow._view,
    "FuncCall": Flow._call,
    "A_Indirection": Flow._field,
    "ColumnRef": Flow._column,
    "TypeCast": Flow._cast,
    "A_Expr": Flow._operator,
    "SubLink": Flow._operator,
    "Constraint": Flow._constraint,
    "AlterTableStmt": Flow._alter,
    "RenameStmt": Flow._rename,
}
