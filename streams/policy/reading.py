"""What a statement does, finer than the tap itself needs it: verbs, conditions, columns, privileges. For policies.

One more pass over the parse tree, for a statement that no verdict is known of. It names what the text names; what names
stand for, the catalog says (`describe.py`). In doubt something counts: a column that several relations could have is
named for all of them. Source: PostgreSQL's parsenodes.h, as libpg_query's protobuf has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from postgast import pg_query_pb2 as pb

from taprail.streams.policy.tags import tag_of

STAR = "*"
# Nodes that hold no other node.
_LEAVES = {
    None,
    "a_const",
    "a_star",
    "bit_string",
    "boolean",
    "float",
    "integer",
    "param_ref",
    "set_to_default",
    "string",
}
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
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Touch(NamedTuple):
    """A relation that is named, and what is done to it. `filtered`: a condition on a column says to which rows."""

    schema: str
    name: str
    verb: str
    filtered: bool


class Column(NamedTuple):
    """A column as it is written: the name or alias before it, '' for none; `name` may be `*`."""

    of: str
    name: str


class Reading:
    """What one statement does.

    kinds       command tags of everything in it: those of CTEs, of what EXPLAIN ANALYZE, COPY and PREPARE hold, too
    written     columns that an INSERT or UPDATE gives values
    conditions  columns that a WHERE, ON or HAVING looks at
    probes      those of them that are compared otherwise than for equality, so that values can be found by asking
    alters      what an ALTER TABLE does, as `DROP COLUMN`
    """

    def __init__(self) -> None:
        self.kinds: dict[str, None] = {}
        self.touches: dict[Touch, None] = {}
        self.aliases: dict[str, set[str]] = {}  # what stands for which relation's name
        self.columns: dict[Column, None] = {}
        self.written: dict[Column, None] = {}
        self.conditions: dict[Column, None] = {}
        self.probes: dict[Column, None] = {}
        self.alters: dict[str, None] = {}
        self.privileges: dict[str, None] = {}
        self.grantees: dict[str, None] = {}
        self.role_options: dict[str, None] = {}
        self.definer = False
        self.limited = False


def read(node: Any) -> Reading:
    """`node` is a RawStmt's `stmt`, or what was prepared or declared."""
    kind = str(node.WhichOneof("node") or "")
    reading = Reading()
    if not kind:
        return reading
    statement = getattr(node, kind)
    _Pass(reading).top(kind, statement)
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
            if any(_is_on(option.def_elem) for option in statement.options if option.def_elem.defname == "analyze"):
                self._nested(statement.query)
            else:
                inner = read(statement.query)  # it doesn't run: what it would read is what the plan tells about
                for touch in inner.touches:
                    self.found.touches[touch._replace(verb="read")] = None
            return
        if kind == "drop_stmt":
            for item in statement.objects:
                self._dropped(item)
        if reader := _UTILITIES.get(kind):
            reader(self.found, statement)
        skip = _TARGETS.get(kind, "")
        if skip and _has(statement, skip):
            verb = _verb(kind, statement)
            for relation in _relations(getattr(statement, skip)):
                self._touch(relation, verb, verb != "read")
        self.walk(statement, _Where(), *((skip, "objects") if kind == "grant_stmt" else (skip,)))

    def _nested(self, node: Any) -> None:
        kind = str(node.WhichOneof("node") or "")
        if kind:
            self.top(kind, getattr(node, kind))

    def _dropped(self, item: Any) -> None:
        """Of DROP's objects, by their names without arguments."""
        names = [part.string.sval for part in item.list.items if part.HasField("string")]
        if not names and item.HasField("string"):
            names = [item.string.sval]
        if names:
            self.found.touches[Touch(names[-2] if len(names) > 1 else "", names[-1], "drop", True)] = None

    def _touch(self, relation: Any, verb: str, filtered: bool) -> None:
        self.found.touches[Touch(relation.schemaname, relation.relname, verb, filtered)] = None
        alias = relation.alias.aliasname if relation.HasField("alias") else relation.relname
        self.found.aliases.setdefault(alias, set()).add(relation.relname)

    # The tree -------------------------------------------------------------------------------------------------------

    def walk(self, message: Any, where: _Where, *skip: str) -> None:
        kind = message.DESCRIPTOR.name
        if kind == "LockingClause":
            return
        if kind == "RangeVar":
            if message.schemaname or message.relname not in where.hidden:
                self._touch(message, "read", where.filtered)
            return
        if kind == "SelectStmt":
            self._select(message, where)
        elif kind in _WRITING:
            self._write(kind, message, where)
        elif kind == "JoinExpr":
            self._fields(message, where, "quals")
            self._condition(message, "quals", where)
        elif kind == "A_Expr":
            self._expression(message, where)
        elif kind == "RangeSubselect":
            self._fields(message, where)
        else:
            equal = where.equal if kind in _PASSING else _is_equality(kind, message)
            self._fields(message, where._replace(filtered=False, equal=equal), *skip)

    def _fields(self, message: Any, where: _Where, *skip: str) -> None:
        for field, value in message.ListFields():
            if field.message_type is None or field.name in skip:
                continue
            for child in value if field.is_repeated else (value,):
                if field.message_type.name != "Node":
                    self.walk(child, where)
                    continue
                which = child.WhichOneof("node")
                if which not in _LEAVES:
                    self._child(which, child, where)

    def _child(self, which: str, child: Any, where: _Where) -> None:
        if which == "column_ref":
            self._column(child.column_ref, where)
        else:
            self.walk(getattr(child, which), where)

    def _field(self, message: Any, name: str, where: _Where) -> None:
        """One field only."""
        self._fields(message, where, *(field.name for field, _ in message.ListFields() if field.name != name))

    def _condition(self, message: Any, name: str, where: _Where) -> None:
        self._field(message, name, where._replace(condition=True, equal=False, filtered=False))

    def _select(self, message: Any, where: _Where) -> None:
        if not message.values_lists:
            self.found.kinds["SELECT INTO" if message.HasField("into_clause") else "SELECT"] = None
        where = where._replace(hidden=self._with(message, where.hidden), condition=False, equal=False)
        filtered = where.filtered or has_condition(message, "where_clause")
        self._field(message, "from_clause", where._replace(filtered=filtered))
        for clause in ("where_clause", "having_clause"):
            self._condition(message, clause, where)
        for arm in ("larg", "rarg"):
            self._field(message, arm, where)
        if message.HasField("into_clause"):
            self._touch(message.into_clause.rel, "create", True)
        for row in message.values_lists:  # of a long list nearly all are constants
            for value in row.list.items:
                which = value.WhichOneof("node")
                if which not in _LEAVES:
                    self._child(which, value, where._replace(filtered=False))
        done = ("from_clause", "where_clause", "having_clause", "larg", "rarg", "with_clause", "into_clause",
                "values_lists")  # fmt: skip
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
        self._written(verb, message)
        for source in ("from_clause", "using_clause", "source_relation"):
            if _has(message, source):
                self._field(message, source, where._replace(filtered=filtered))
        if _has(message, clause):
            self._condition(message, clause, where)
        done = ("relation", "from_clause", "using_clause", "source_relation", clause, "with_clause")
        self._fields(message, where._replace(filtered=False), *done)

    def _written(self, verb: str, message: Any) -> None:
        """Columns that get values; all of them where an INSERT names none."""
        target = message.relation.alias.aliasname or message.relation.relname
        given = [item.res_target.name for item in (message.target_list if verb == "update" else ())]
        if verb == "insert":
            given = [item.res_target.name for item in message.cols] or [STAR]
            if changed := message.on_conflict_clause.target_list:
                self.found.kinds["UPDATE"] = None
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
        if where.condition:
            self.found.conditions[column] = None
            if not where.equal:
                self.found.probes[column] = None


def _is_equality(kind: str, message: Any) -> bool:
    """`IS NULL`, `lower(x)`, and `x IN (SELECT ...)`, which has no operator, or `= ANY (SELECT ...)`."""
    if kind == "SubLink":
        return not message.oper_name or message.oper_name[-1].string.sval == "="
    return kind == "NullTest" or (kind == "FuncCall" and message.funcname[-1].string.sval in _FOLDING)


def has_condition(message: Any, clause: str) -> bool:
    """Whether the clause says anything of a row: `WHERE true` and `WHERE 1 = 1` don't."""
    return _has(message, clause) and _names_a_column(getattr(message, clause))


def _names_a_column(message: Any) -> bool:
    if message.DESCRIPTOR.name in ("ColumnRef", "CurrentOfExpr"):
        return True
    for field, value in message.ListFields():
        if field.message_type is not None:
            children: Iterable[Any] = value if field.is_repeated else (value,)
            if any(_names_a_column(child) for child in children):
                return True
    return False


# Utilities ------------------------------------------------------------------------------------------------------------

# The field that names what a utility works on.
_TARGETS = {
    "truncate_stmt": "relations",
    "copy_stmt": "relation",
    "create_stmt": "relation",
    "create_table_as_stmt": "into",
    "view_stmt": "view",
    "create_seq_stmt": "sequence",
    "alter_seq_stmt": "sequence",
    "alter_table_stmt": "relation",
    "rename_stmt": "relation",
    "alter_object_schema_stmt": "relation",
    "index_stmt": "relation",
    "create_trig_stmt": "relation",
    "rule_stmt": "relation",
    "create_policy_stmt": "table",
    "alter_policy_stmt": "table",
    "refresh_mat_view_stmt": "relation",
    "create_foreign_table_stmt": "base_stmt",
    "lock_stmt": "relations",
    "vacuum_stmt": "rels",
    "cluster_stmt": "relation",
    "reindex_stmt": "relation",
}
_CREATING = {"create_stmt", "create_table_as_stmt", "view_stmt", "create_seq_stmt", "create_foreign_table_stmt"}
_VERBS = {"truncate_stmt": "truncate", "lock_stmt": "lock", "vacuum_stmt": "maintain", "cluster_stmt": "maintain",
          "reindex_stmt": "maintain", "refresh_mat_view_stmt": "maintain"}  # fmt: skip


def _verb(kind: str, statement: Any) -> str:
    if kind == "copy_stmt":
        return "insert" if statement.is_from else "read"
    return "create" if kind in _CREATING else _VERBS.get(kind, "alter")


def _relations(value: Any) -> list[Any]:
    """The RangeVars that a field names."""
    if not hasattr(value, "DESCRIPTOR"):
        return [relation for child in value for relation in _relations(child)]
    name = value.DESCRIPTOR.name
    if name == "Node":
        which = value.WhichOneof("node")
        return _relations(getattr(value, which)) if which else []
    if name == "RangeVar":
        return [value]
    inner = {"IntoClause": "rel", "VacuumRelation": "relation", "CreateStmt": "relation"}.get(name, "")
    return [getattr(value, inner)] if inner and value.HasField(inner) else []


def _has(message: Any, field: str) -> bool:
    descriptor = message.DESCRIPTOR.fields_by_name.get(field)
    if descriptor is None:
        return False
    return bool(getattr(message, field)) if descriptor.is_repeated else bool(message.HasField(field))


def _is_on(option: Any) -> bool:
    value = option.arg
    if value.HasField("string"):
        return value.string.sval.lower() not in ("off", "false", "0", "no")
    return not value.HasField("integer") or value.integer.ival != 0


def _copy(found: Reading, statement: Any) -> None:
    """COPY of a relation names its columns, or all of them."""
    if statement.HasField("relation"):
        name = statement.relation.relname
        named = [Column(name, item.string.sval) for item in statement.attlist] or [Column(name, STAR)]
        (found.written if statement.is_from else found.columns).update(dict.fromkeys(named))


def _alter_table(found: Reading, statement: Any) -> None:
    for item in statement.cmds:
        name = pb.AlterTableType.Name(item.alter_table_cmd.subtype).removeprefix("AT_")
        found.alters[_WORDS.sub(" ", name).upper()] = None
        _role(found.grantees, item.alter_table_cmd.newowner)


def _grant(found: Reading, statement: Any) -> None:
    names = [item.access_priv.priv_name.upper() for item in statement.privileges]
    found.privileges.update(dict.fromkeys(names or ["ALL"]))
    for item in statement.grantees:
        _role(found.grantees, item.role_spec)
    if statement.objtype == pb.OBJECT_TABLE and statement.targtype == pb.ACL_TARGET_OBJECT:
        for item in statement.objects:
            found.touches[Touch(item.range_var.schemaname, item.range_var.relname, "grant", True)] = None


def _grant_role(found: Reading, statement: Any) -> None:
    found.privileges.update(dict.fromkeys(f"ROLE {item.access_priv.priv_name}" for item in statement.granted_roles))
    for item in statement.grantee_roles:
        _role(found.grantees, item.role_spec)


def _role_options(found: Reading, statement: Any) -> None:
    """As `SUPERUSER`, `NOCREATEROLE`, `PASSWORD`; membership is `MEMBER`."""
    for item in statement.options:
        option = item.def_elem
        name = _OPTIONS.get(option.defname, option.defname.upper())
        off = option.arg.HasField("boolean") and not option.arg.boolean.boolval
        found.role_options["NO" + name if off else name] = None


_OPTIONS = {"isreplication": "REPLICATION", "canlogin": "LOGIN", "rolemembers": "MEMBER", "addroleto": "MEMBER",
            "adminmembers": "MEMBER", "connectionlimit": "CONNECTION LIMIT", "validUntil": "VALID UNTIL"}  # fmt: skip


def _function(found: Reading, statement: Any) -> None:
    for item in statement.options:
        option = item.def_elem
        if option.defname == "security" and option.arg.boolean.boolval:
            found.definer = True


def _drop_named(field: str) -> Callable[[Reading, Any], None]:
    """DROP of what isn't in a schema."""

    def drop(found: Reading, statement: Any) -> None:
        named = getattr(statement, field)
        for name in [named] if isinstance(named, str) else [item.role_spec.rolename for item in named]:
            found.touches[Touch("", name, "drop", True)] = None

    return drop


def _owner(found: Reading, statement: Any) -> None:
    found.alters["CHANGE OWNER"] = None
    _role(found.grantees, statement.newowner)


def _role(into: dict[str, None], role: Any) -> None:
    if role.roletype == pb.ROLESPEC_PUBLIC:
        into["PUBLIC"] = None
    elif role.roletype == pb.ROLESPEC_CSTRING:
        into[role.rolename] = None
    elif role.roletype:
        into[pb.RoleSpecType.Name(role.roletype).removeprefix("ROLESPEC_")] = None


_UTILITIES: dict[str, Callable[[Reading, Any], None]] = {
    "copy_stmt": _copy,
    "alter_table_stmt": _alter_table,
    "grant_stmt": _grant,
    "grant_role_stmt": _grant_role,
    "alter_default_privileges_stmt": lambda found, statement: _grant(found, statement.action),
    "create_role_stmt": _role_options,
    "alter_role_stmt": _role_options,
    "create_function_stmt": _function,
    "alter_owner_stmt": _owner,
    "dropdb_stmt": _drop_named("dbname"),
    "drop_role_stmt": _drop_named("roles"),
    "drop_table_space_stmt": _drop_named("tablespacename"),
    "drop_subscription_stmt": _drop_named("subname"),
}
