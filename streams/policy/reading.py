"""What a statement does, finer than the tap itself needs it: verbs, conditions, columns, privileges. For policies.

One more pass over the parse tree, for a statement that no verdict is known of. It names what the text names; what names
stand for, the catalog says (`describe.py`). In doubt something counts: a column that several relations could have is
named for all of them. Source: PostgreSQL's parsenodes.h, as libpg_query's protobuf has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from postgast import pg_query_pb2 as pb

from taprail.streams.policy.named import STAR, Column, Reading, Touch
from taprail.streams.policy.tags import tag_of
from taprail.streams.policy.tree import LEAVES, children
from taprail.streams.policy.utilities import TARGETS, UTILITIES, has, is_on, targets

_WRITING = {"InsertStmt": "insert", "UpdateStmt": "update", "DeleteStmt": "delete", "MergeStmt": "merge"}
_MERGED = {pb.CMD_INSERT: "insert", pb.CMD_UPDATE: "update", pb.CMD_DELETE: "delete"}
_PASSING = {
    "TypeCast",
    "List",
    "RowExpr",
    "A_ArrayExpr",
    "CollateClause",
    "CoalesceExpr",
}  # what is in them is compared as a whole
_FOLDING = {"lower", "upper", "btrim"}


def read(node: Any, arguments: Sequence[Any] = ()) -> Reading:
    """`node` is a RawStmt's `stmt`, or what was prepared or declared; `arguments` are what EXECUTE passes to it."""
    kind = str(node.WhichOneof("node") or "")
    reading = Reading()
    if not kind:
        return reading
    statement = getattr(node, kind)
    reader = _Pass(reading)
    reader.top(kind, statement)
    for argument in arguments:
        reader.child(argument, _Where())
    if kind == "select_stmt":
        reading.limited = bool(statement.HasField("limit_count"))
    return reading


class _Where(NamedTuple):
    """Where in a statement the pass is."""

    hidden: frozenset[str] = frozenset()  # names that stand for a CTE
    filtered: bool = False
    condition: bool = False
    equal: bool = False  # an operand of an equality


class _Pass:
    def __init__(self, reading: Reading) -> None:
        self.found = reading

    def top(self, kind: str, statement: Any) -> None:
        """A statement as a whole: a utility's own names first, then whatever it holds."""
        self.found.kinds[tag_of(kind, statement)] = None
        if kind == "explain_stmt":
            return self._explain(statement)
        if reader := UTILITIES.get(kind):
            reader(self.found, statement)
        for relation, verb in targets(kind, statement):
            self._touch(relation, verb, verb != "read")
        if kind == "create_schema_stmt":  # each of its elements is a statement
            for element in statement.schema_elts:
                self._nested(element)
            return
        skip = TARGETS.get(kind, "")
        self.walk(statement, _Where(), *((skip, "objects") if kind == "grant_stmt" else (skip,)))

    def _explain(self, statement: Any) -> None:
        """What doesn't run is read, for that is what the plan tells about; planning may call functions."""
        if any(is_on(option.def_elem) for option in statement.options if option.def_elem.defname == "analyze"):
            return self._nested(statement.query)
        inner = read(statement.query)
        self.found.touches = {touch._replace(verb="read"): None for touch in inner.touches}
        self.found.dotted, self.found.outputs, self.found.aliases = inner.dotted, inner.outputs, inner.aliases
        self.found.types = inner.types

    def _nested(self, node: Any) -> None:
        kind = str(node.WhichOneof("node") or "")
        if kind:
            self.top(kind, getattr(node, kind))

    def _touch(self, relation: Any, verb: str, filtered: bool) -> None:
        self.found.touches[Touch(relation.schemaname, relation.relname, verb, filtered)] = None
        alias = relation.alias.aliasname if relation.HasField("alias") else relation.relname
        self._stands_for(alias, [relation.relname])
        if relation.alias.colnames:  # its columns have other names here
            self.found.columns[Column(alias, STAR)] = None

    def _stands_for(self, alias: str, relations: Iterable[str]) -> None:
        self.found.aliases.setdefault(alias, set()).update(relations)

    # The tree -------------------------------------------------------------------------------------------------------

    def walk(self, message: Any, where: _Where, *skip: str) -> None:
        kind = type(message).__name__
        if kind == "LockingClause":
            return self._lock(message)
        if kind == "RangeVar":
            return self._relation(message, where)
        if kind == "TypeName":
            if message.names:
                self.found.types[message.names[-1].string.sval] = None
            return
        if kind == "SelectStmt":
            self._select(message, where)
        elif kind in _WRITING:
            self._write(kind, message, where)
        elif kind == "JoinExpr":
            self._join(message, where)
        elif kind == "A_Expr":
            self._expression(message, where)
        elif kind == "RangeSubselect":
            self._gives(message.alias, _outputs(message.subquery.select_stmt))
            self._fields(message, where)
        else:
            self._other(kind, message, where._replace(filtered=False), *skip)

    def _other(self, kind: str, message: Any, where: _Where, *skip: str) -> None:
        if kind == "RangeFunction":
            named = {item.column_def.colname for item in message.coldeflist}
            self._gives(message.alias, named or {message.alias.aliasname})  # those of OUT parameters aren't known
            where = where._replace(condition=True, equal=False)  # how many rows it gives tells of its arguments
        elif kind == "RangeTableFunc":
            self._gives(message.alias, {item.range_table_func_col.colname for item in message.columns})
        elif kind == "JsonTable":
            self._gives(message.alias, {item.json_table_column.name for item in message.columns})
        elif kind == "A_Indirection":
            for item in message.indirection:
                if item.HasField("string"):
                    self.found.dotted[Column("", item.string.sval)] = None
        elif kind == "FuncCall":
            self._condition(message, "agg_filter", where)
            skip = (*skip, "agg_filter")
            if message.funcname[-1].string.sval in _FOLDING and len(message.args) == 1:
                return self._fields(message, where, *skip)  # it is compared as what it is made of
        equal = where.equal if kind in _PASSING else _is_equality(kind, message)
        self._fields(message, where._replace(equal=equal), *skip)

    def _relation(self, message: Any, where: _Where) -> None:
        if message.schemaname or message.relname not in where.hidden:
            return self._touch(message, "read", where.filtered)
        if message.HasField("alias"):
            for given in list(self.found.outputs.get(message.relname, ())):
                self._gives(message.alias, given)

    def _gives(self, alias: Any, outputs: set[str]) -> None:
        """What stands under this alias in FROM has these columns, under other names where the alias says so."""
        if alias.aliasname:
            named = {item.string.sval for item in alias.colnames}
            self.found.outputs.setdefault(alias.aliasname, []).append(named or outputs)

    def _join(self, message: Any, where: _Where) -> None:
        self._fields(message, where, "quals", "using_clause")
        self._condition(message, "quals", where)
        same = [item.string.sval for item in message.using_clause]
        for name in [STAR] if message.is_natural else same:  # what is common isn't known here
            self.found.columns[Column("", name)] = self.found.conditions[Column("", name)] = None
        for alias in (message.alias, message.join_using_alias):
            if alias.aliasname:
                self._stands_for(alias.aliasname, _names_below(message))
                if alias.colnames:
                    self.found.columns[Column(alias.aliasname, STAR)] = None

    def _lock(self, message: Any) -> None:
        """FOR UPDATE and its like, of these or of all that was read."""
        aliases = [item.range_var.relname for item in message.locked_rels]
        names = {name for alias in aliases for name in self.found.aliases.get(alias, ())}
        for touch in [touch for touch in self.found.touches if touch.verb == "read"]:
            if not aliases or touch.name in names:
                self.found.touches[touch._replace(verb="lock", filtered=True)] = None

    def _fields(self, message: Any, where: _Where, *skip: str) -> None:
        for which, child in children(message, skip):
            if which:
                self._child(which, child, where)
            else:
                self.walk(child, where)

    def child(self, node: Any, where: _Where) -> None:
        which = node.WhichOneof("node")
        if which not in LEAVES:
            self._child(which, node, where)

    def _child(self, which: str, child: Any, where: _Where) -> None:
        if which == "column_ref":
            self._column(child.column_ref, where)
        else:
            self.walk(getattr(child, which), where)

    def _field(self, message: Any, name: str, where: _Where) -> None:
        """One field only: a node, several, or a query."""
        value = getattr(message, name)
        if not hasattr(value, "DESCRIPTOR"):
            for node in value:
                self.child(node, where)
        elif message.HasField(name):
            self.child(value, where) if type(value).__name__ == "Node" else self.walk(value, where)

    def _condition(self, message: Any, name: str, where: _Where) -> None:
        self._field(message, name, where._replace(condition=True, equal=False, filtered=False))

    def _select(self, message: Any, where: _Where) -> None:
        if not message.values_lists:
            self.found.kinds["SELECT INTO" if message.HasField("into_clause") else "SELECT"] = None
        where = where._replace(hidden=self._with(message, where.hidden), condition=False, equal=False)
        filtered = where.filtered or has_condition(message, "where_clause")
        self._field(message, "from_clause", where._replace(filtered=filtered))
        for clause in ("where_clause", "having_clause", "limit_count", "limit_offset"):
            self._condition(message, clause, where)
        for arm in ("larg", "rarg"):
            self._field(message, arm, where)
        if message.HasField("into_clause"):
            self._touch(message.into_clause.rel, "create", True)
        for row in message.values_lists:  # of a long list nearly all are constants
            for value in row.list.items:
                self.child(value, where._replace(filtered=False))
        done = ("from_clause", "where_clause", "having_clause", "larg", "rarg", "with_clause", "into_clause",
                "values_lists", "limit_count", "limit_offset")  # fmt: skip
        self._fields(message, where._replace(filtered=False), *done)

    def _write(self, kind: str, message: Any, where: _Where) -> None:
        verb = _WRITING[kind]
        self.found.kinds[verb.upper()] = None
        where = where._replace(hidden=self._with(message, where.hidden), condition=False, equal=False)
        clause = "join_condition" if verb == "merge" else "where_clause"
        filtered = verb == "insert" or has_condition(message, clause)
        verbs = [verb]
        if verb == "merge":
            verbs = [_MERGED[c.merge_when_clause.command_type] for c in message.merge_when_clauses
                     if c.merge_when_clause.command_type in _MERGED]  # fmt: skip
            self.found.kinds.update(dict.fromkeys(each.upper() for each in verbs))
        for each in verbs:
            self._touch(message.relation, each, filtered or each == "insert")
        if verb == "merge":
            self._merge_without_source(message)
        if message.HasField("returning_clause"):
            self._returning(message, filtered)
        self._written(verb, message)
        for source in ("from_clause", "using_clause", "source_relation"):
            if has(message, source):
                self._field(message, source, where._replace(filtered=filtered))
        if has(message, clause):
            self._condition(message, clause, where)
        done = ("relation", "from_clause", "using_clause", "source_relation", clause, "with_clause")
        self._fields(message, where._replace(filtered=False), *done)

    def _merge_without_source(self, message: Any) -> None:
        """WHEN NOT MATCHED BY SOURCE: to these rows the join's condition says nothing."""
        for item in message.merge_when_clauses:
            when = item.merge_when_clause
            if when.match_kind == pb.MERGE_WHEN_NOT_MATCHED_BY_SOURCE and when.command_type in _MERGED:
                self._touch(message.relation, _MERGED[when.command_type], has_condition(when, "condition"))

    def _returning(self, message: Any, filtered: bool) -> None:
        """What was written is read; `old` and `new`, or what WITH calls them, are its rows."""
        self._touch(message.relation, "read", filtered)
        options = [item.returning_option.value for item in message.returning_clause.options]
        for alias in ("old", "new", *options):
            self._stands_for(alias, [message.relation.relname])

    def _written(self, verb: str, message: Any) -> None:
        """Columns that get values; all of them where an INSERT names none."""
        target = message.relation.alias.aliasname or message.relation.relname
        given = [item.res_target.name for item in (message.target_list if verb == "update" else ())]
        if verb == "insert":
            given = [item.res_target.name for item in message.cols] or [STAR]
            if changed := message.on_conflict_clause.target_list:
                self.found.kinds["UPDATE"] = None
                self._stands_for("excluded", [message.relation.relname])
                self._touch(message.relation, "update", True)
                given += [item.res_target.name for item in changed]
        for when in message.merge_when_clauses if verb == "merge" else ():
            clause = when.merge_when_clause
            inserts = clause.command_type == pb.CMD_INSERT
            given += [item.res_target.name for item in clause.target_list] or ([STAR] if inserts else [])
        self.found.written.update(dict.fromkeys(Column(target, name) for name in given))

    def _with(self, message: Any, hidden: frozenset[str]) -> frozenset[str]:
        """Names of a WITH hide relations in the statement's body, and in the queries that come after them."""
        if not message.HasField("with_clause"):
            return hidden
        clause = message.with_clause
        names = [item.common_table_expr.ctename for item in clause.ctes]
        if clause.recursive:
            hidden = hidden | frozenset(names)
        for item, name in zip(clause.ctes, names, strict=True):
            query = item.common_table_expr.ctequery
            which = query.WhichOneof("node")
            renamed = {column.string.sval for column in item.common_table_expr.aliascolnames}
            self.found.outputs.setdefault(name, []).append(renamed or _outputs(query.select_stmt))
            self.walk(getattr(query, which), _Where(hidden))
            hidden = hidden | {name}
        return hidden

    def _expression(self, message: Any, where: _Where) -> None:
        """Operands of an equality are looked at for it; those of anything else tell more."""
        equality = message.kind in (pb.AEXPR_OP, pb.AEXPR_OP_ANY, pb.AEXPR_IN, pb.AEXPR_NOT_DISTINCT) and (
            message.name[-1].string.sval == "="
        )
        self._fields(message, where._replace(equal=equality))

    def _column(self, reference: Any, where: _Where) -> None:
        names = [part.string.sval if part.HasField("string") else STAR for part in reference.fields]
        column = Column(names[-2] if len(names) > 1 else "", names[-1])
        self.found.columns[column] = None
        if column.of and column.name != STAR:
            self.found.dotted[column] = None
        if where.condition:
            self.found.conditions[column] = None
            if not where.equal:
                self.found.probes[column] = None


def _is_equality(kind: str, message: Any) -> bool:
    """`IS NULL`, and `x IN (SELECT ...)`, which has no operator, or `= ANY (SELECT ...)`."""
    if kind == "SubLink":
        return not message.oper_name or message.oper_name[-1].string.sval == "="
    return kind == "NullTest"


def has_condition(message: Any, clause: str) -> bool:
    """Whether the clause says anything of a row: `WHERE true` and `WHERE 1 = 1` don't."""
    return has(message, clause) and _names_a_column(getattr(message, clause))


def _names_a_column(message: Any) -> bool:
    name = message.DESCRIPTOR.name
    if name == "ColumnRef":  # `EXISTS (SELECT * FROM x)` says nothing of a row
        return not message.fields[-1].HasField("a_star")
    if name == "CurrentOfExpr":
        return True
    return any(_names_a_column(getattr(child, which) if which else child) for which, child in children(message))


def _outputs(query: Any) -> set[str]:
    """The names of a query's columns, `*` where some aren't in its text."""
    while query.HasField("larg"):
        query = query.larg
    if not query.target_list:
        return {STAR}
    found = set()
    for item in query.target_list:
        target = item.res_target
        if target.name:
            found.add(target.name)
        elif target.val.HasField("column_ref"):
            last = target.val.column_ref.fields[-1]
            found.add(last.string.sval if last.HasField("string") else STAR)
    return found


def _names_below(join: Any) -> Iterable[str]:
    """The relations of a join."""
    for side in (join.larg, join.rarg):
        if side.HasField("join_expr"):
            yield from _names_below(side.join_expr)
        elif side.HasField("range_var"):
            yield side.range_var.relname
