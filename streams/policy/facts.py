"""From a parse tree to `Facts`: no catalog, no session, nothing guessed. In doubt a relation counts.

Names are as the parser folds them. Source: PostgreSQL's parsenodes.h, as libpg_query's protobuf has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

from postgast import pg_query_pb2 as pb

from taprail.schemas.guard import Facts, Transaction
from taprail.schemas.records import RelationUse
from taprail.streams.policy.tags import UNMARKABLE, tag_of
from taprail.streams.policy.tree import children

_WRITING = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
_BODIES = {"SelectStmt", *_WRITING}
_QUERIES = ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")
_TRANSACTIONS: dict[int, Transaction] = {
    1: "begin",
    2: "begin",
    3: "commit",
    4: "rollback",
    5: "savepoint",
    6: "release",
    7: "rollback_to",
    8: "two_phase",
    9: "two_phase",
    10: "two_phase",
}
_READ_ONLY_UTILITIES = {
    "variable_show_stmt", "variable_set_stmt", "explain_stmt", "fetch_stmt", "close_portal_stmt", "transaction_stmt",
    "deallocate_stmt", "prepare_stmt", "declare_cursor_stmt", "discard_stmt", "listen_stmt", "unlisten_stmt",
    "notify_stmt", "check_point_stmt", "constraints_set_stmt", "lock_stmt", "execute_stmt",
}  # fmt: skip
# Code whose effects aren't in the text, and what would give existing code another name.
_OPAQUE = {
    "do_stmt", "call_stmt", "create_function_stmt", "create_trig_stmt", "create_event_trig_stmt", "rule_stmt",
    "create_cast_stmt", "create_op_class_stmt", "create_plang_stmt", "create_conversion_stmt", "create_transform_stmt",
    "create_am_stmt", "alter_function_stmt", "alter_operator_stmt",
}  # fmt: skip
_CODE = {
    pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE, pb.OBJECT_AGGREGATE, pb.OBJECT_OPERATOR, pb.OBJECT_TYPE,
}  # fmt: skip
# After these a name may stand for something else; a new table or index takes no other's place with data in it.
_RESHAPING = {
    "alter_table_stmt", "rename_stmt", "drop_stmt", "alter_object_schema_stmt", "view_stmt", "drop_owned_stmt",
    "alter_type_stmt", "alter_domain_stmt", "create_extension_stmt", "alter_extension_stmt",
    "alter_extension_contents_stmt", "import_foreign_schema_stmt", "drop_user_mapping_stmt",
}  # fmt: skip
_BETWEEN = {pb.AEXPR_BETWEEN, pb.AEXPR_NOT_BETWEEN, pb.AEXPR_BETWEEN_SYM, pb.AEXPR_NOT_BETWEEN_SYM}


class _Walk:
    """One pass over a statement's tree."""

    def __init__(self) -> None:
        self.relations: dict[tuple[str, str, str], RelationUse] = {}
        self.functions: dict[str, None] = {}
        self.operators: dict[str, None] = {}
        self.settings: list[tuple[str, str]] = []
        self.writes = False
        self.has_where = True

    def add(self, relation: Any, access: str) -> None:
        use = RelationUse(relation.schemaname, relation.relname, "write" if access == "write" else "read")
        self.relations[use.schema, use.name, use.access] = use

    def node(self, message: Any, hidden: frozenset[str], skip: str = "") -> None:
        """`skip` is a field that names what the statement makes, changes or drops."""
        kind = type(message).__name__
        if kind == "TypeName":
            return
        if kind == "LockingClause":  # FOR UPDATE OF names what FROM has named already, by its alias
            return
        if kind == "RangeVar":
            if message.schemaname or message.relname not in hidden:
                self.add(message, "read")
            return
        if kind in _BODIES:
            hidden = self._with(message, hidden)
        if kind in _WRITING:
            self.writes = True
            self.add(message.relation, "write")
            skip = "relation"
            if kind in ("UpdateStmt", "DeleteStmt") and not message.HasField("where_clause"):
                self.has_where = False
        elif kind == "IntoClause":
            self.writes = True
            self.add(message.rel, "write")
            skip = "rel"
        elif kind == "FuncCall":
            self._function(message)
        else:
            self.operators.update(dict.fromkeys(operators_of(message)))
        for which, child in children(message, (skip, "with_clause")):
            if which != "column_ref":
                self.node(getattr(child, which) if which else child, hidden)

    def _with(self, message: Any, hidden: frozenset[str]) -> frozenset[str]:
        """Names of a WITH hide relations in the statement's body, and in the queries that come after them."""
        if not message.HasField("with_clause"):
            return hidden
        clause = message.with_clause
        names = [item.common_table_expr.ctename for item in clause.ctes]
        if clause.recursive:
            hidden = hidden | frozenset(names)
        for item, name in zip(clause.ctes, names, strict=True):
            self.node(item.common_table_expr.ctequery, hidden)
            hidden = hidden | {name}
        return hidden

    def _function(self, call: Any) -> None:
        name = ".".join(part.string.sval for part in call.funcname)
        self.functions[name] = None
        if name.rpartition(".")[2] == "set_config":
            constants = [argument.a_const.sval.sval if argument.HasField("a_const") else "" for argument in call.args]
            setting = constants[0].lower() if constants else ""
            self.settings.append((setting, constants[1] if len(constants) > 1 else ""))


def operators_of(message: Any) -> tuple[str, ...]:
    """The operators that a node of an expression applies by itself, without their schemas."""
    kind = type(message).__name__
    if kind == "A_Expr":
        return ("<", "<=", ">", ">=") if message.kind in _BETWEEN else (message.name[-1].string.sval,)
    names = message.oper_name if kind == "SubLink" else message.use_op if kind == "SortBy" else ()
    return (names[-1].string.sval,) if names else ()


def facts_of(node: Any) -> Facts:
    """Facts of one statement; `node` is its RawStmt's `stmt`."""
    kind = str(node.WhichOneof("node") or "")
    statement = getattr(node, kind) if kind else node
    walk = _Walk()
    walk.node(statement, frozenset(), _target_of(kind))
    for use in _named_objects(kind, statement):
        walk.relations[use.schema, use.name, use.access] = use
    body = kind in _QUERIES
    writes = walk.writes or (not body and kind not in _READ_ONLY_UTILITIES)
    opaque = kind in _OPAQUE or _renames_code(kind, statement)
    if kind == "create_schema_stmt":
        opaque = any(facts_of(element).opaque for element in statement.schema_elts)
    facts = Facts(
        tag=tag_of(kind, statement),
        relations=tuple(walk.relations.values()),
        functions=tuple(walk.functions),
        operators=tuple(walk.operators),
        writes=writes,
        utility=not body,
        opaque=opaque,
        reshapes=opaque or kind in _RESHAPING,
        has_where=walk.has_where,
        settings=tuple(walk.settings),
    )
    special = _SPECIAL.get(kind)
    facts = special(facts, statement) if special else facts
    return replace(facts, markable=_markable(kind, statement, facts))


def _renames_code(kind: str, statement: Any) -> bool:
    """New operators, aggregates and base types, code under another name, and a table made of what EXECUTE gives."""
    if kind == "define_stmt":
        return statement.kind in _CODE
    if kind == "rename_stmt":
        return statement.rename_type in _CODE
    if kind == "alter_object_schema_stmt":
        return statement.object_type in _CODE
    return kind == "create_table_as_stmt" and bool(statement.query.HasField("execute_stmt"))


def _target_of(kind: str) -> str:
    """The field of a utility that names what it writes; '' where there is none, or `_Walk` knows it."""
    if kind in _QUERIES or kind in _READ_ONLY_UTILITIES:
        return ""
    special = {
        "truncate_stmt": "relations",
        "view_stmt": "view",
        "create_seq_stmt": "sequence",
        "alter_seq_stmt": "sequence",
        "create_policy_stmt": "table",
        "alter_policy_stmt": "table",
    }
    return special.get(kind, "relation")


def _named_objects(kind: str, statement: Any) -> Iterator[RelationUse]:
    """What DROP, TRUNCATE, ALTER and their like name: always as something that is written."""
    if kind == "drop_stmt":
        for item in statement.objects:
            names = [part.string.sval for part in item.list.items if part.HasField("string")]
            if not names and item.HasField("string"):
                names = [item.string.sval]
            if names:
                yield RelationUse(names[-2] if len(names) > 1 else "", names[-1], "write")
    elif kind == "truncate_stmt":
        for item in statement.relations:
            yield RelationUse(item.range_var.schemaname, item.range_var.relname, "write")
    elif (target := _target_of(kind)) and _has(statement, target):
        named = getattr(statement, target)
        reads = kind == "copy_stmt" and not statement.is_from
        yield RelationUse(named.schemaname, named.relname, "read" if reads else "write")


def _has(message: Any, field: str) -> bool:
    return field in message.DESCRIPTOR.fields_by_name and bool(message.HasField(field))


def _markable(kind: str, statement: Any, facts: Facts) -> bool:
    if kind in UNMARKABLE or facts.transaction:
        return False
    if kind == "index_stmt" and statement.concurrent:
        return False
    if kind == "drop_stmt" and statement.concurrent:
        return False
    if kind == "alter_table_stmt":  # DETACH PARTITION … CONCURRENTLY
        return not any(getattr(each.alter_table_cmd, "def").partition_cmd.concurrent for each in statement.cmds)
    if kind == "do_stmt":
        body = " ".join(argument.def_elem.arg.string.sval for argument in statement.args).lower()
        return "commit" not in body and "rollback" not in body
    return kind != "call_stmt"  # a procedure may commit, and its body isn't in the text


def _copy(facts: Facts, statement: Any) -> Facts:
    functions = facts.functions
    if statement.is_program:
        functions = (*functions, "copy program")
    elif statement.filename:
        functions = (*functions, "copy file")
    direction: Literal["in", "out"] = "in" if statement.is_from else "out"
    writes = statement.is_from or (facts.writes and _writes_inside(statement))
    return replace(facts, copy=direction, functions=functions, writes=writes)


def _writes_inside(statement: Any) -> bool:
    walk = _Walk()
    walk.node(statement, frozenset())
    return walk.writes


def _explain(facts: Facts, statement: Any) -> Facts:
    analyze = any(_is_on(option.def_elem) for option in statement.options if option.def_elem.defname == "analyze")
    inner = replace(facts_of(statement.query), tag="EXPLAIN", utility=True, explain_analyze=analyze)
    return inner if analyze else replace(inner, writes=False, has_where=True, opaque=False, reshapes=False)


def _is_on(option: Any) -> bool:
    if not option.HasField("arg"):
        return True
    value = option.arg
    text = (
        value.string.sval if value.HasField("string") else str(value.integer.ival) if value.HasField("integer") else ""
    )
    return text.lower() not in ("off", "false", "0", "no")


def _set(facts: Facts, statement: Any) -> Facts:
    kind, name = statement.kind, statement.name.lower()
    if kind == pb.VAR_RESET_ALL:
        return replace(facts, tag="RESET ALL", settings=(*facts.settings, ("", "")))
    if kind in (pb.VAR_SET_DEFAULT, pb.VAR_RESET):
        return replace(facts, tag="RESET", settings=(*facts.settings, (name, "")))
    if kind == pb.VAR_SET_MULTI:  # SET TRANSACTION, SET SESSION CHARACTERISTICS: no setting that a rule knows
        return facts
    return replace(facts, settings=(*facts.settings, (name, ", ".join(map(_constant, statement.args)))))


def _constant(argument: Any) -> str:
    constant = argument.type_cast.arg.a_const if argument.HasField("type_cast") else argument.a_const
    for field, read in (("sval", "sval"), ("ival", "ival"), ("fval", "fval"), ("boolval", "boolval")):
        if constant.HasField(field):
            return str(getattr(getattr(constant, field), read))
    return "0"


def _discard(facts: Facts, statement: Any) -> Facts:
    if facts.tag != "DISCARD ALL":
        return facts
    return replace(facts, settings=(("", ""),), deallocates="")


def _prepare(facts: Facts, statement: Any) -> Facts:
    inner = facts_of(statement.query)
    return replace(inner, tag="PREPARE", utility=True, prepares=statement.name)


def _declare(facts: Facts, statement: Any) -> Facts:
    return replace(facts, declares=statement.portalname)


_SPECIAL: dict[str, Callable[[Facts, Any], Facts]] = {
    "copy_stmt": _copy,
    "explain_stmt": _explain,
    "variable_set_stmt": _set,
    "discard_stmt": _discard,
    "prepare_stmt": _prepare,
    "declare_cursor_stmt": _declare,
    "execute_stmt": lambda facts, s: replace(facts, executes=s.name),
    "fetch_stmt": lambda facts, s: replace(facts, fetches=s.portalname),
    "deallocate_stmt": lambda facts, s: replace(facts, deallocates="" if s.isall else s.name),
    "transaction_stmt": lambda facts, s: replace(
        facts, transaction=_TRANSACTIONS.get(s.kind, "two_phase"), savepoint=s.savepoint_name
    ),
}
