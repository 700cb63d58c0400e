"""What statements other than queries name: DDL, GRANT, COPY, roles, transactions. For `reading.py`.

Source: PostgreSQL's parsenodes.h, as libpg_query's protobuf has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from postgast import pg_query_pb2 as pb

from taprail.streams.policy.named import STAR, Column, Reading, Touch

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
# DROP of what hangs on a relation: its name is the last of the list, the relation's stand before it.
_ON_RELATION = {pb.OBJECT_TRIGGER, pb.OBJECT_RULE, pb.OBJECT_POLICY}
# The field that names what a utility works on.
TARGETS = {
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
    "create_stats_stmt": "relations",
}
_CREATING = {"create_stmt", "create_table_as_stmt", "view_stmt", "create_seq_stmt", "create_foreign_table_stmt"}
_VERBS = {"truncate_stmt": "truncate", "lock_stmt": "lock", "vacuum_stmt": "maintain", "cluster_stmt": "maintain",
          "reindex_stmt": "maintain", "refresh_mat_view_stmt": "maintain"}  # fmt: skip


def targets(kind: str, statement: Any) -> Iterable[tuple[Any, str]]:
    """The relations that a utility works on, each with what it does to it."""
    field = TARGETS.get(kind, "")
    if field and has(statement, field):
        verb = _verb(kind, statement)
        for relation in _relations(getattr(statement, field)):
            yield relation, verb


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


def has(message: Any, field: str) -> bool:
    descriptor = message.DESCRIPTOR.fields_by_name.get(field)
    if descriptor is None:
        return False
    return bool(getattr(message, field)) if descriptor.is_repeated else bool(message.HasField(field))


def is_on(option: Any) -> bool:
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
        command = item.alter_table_cmd
        name = pb.AlterTableType.Name(command.subtype).removeprefix("AT_")
        found.alters[_ALTERS.get(name) or _WORDS.sub(" ", name).upper()] = None
        _role(found.grantees, command.newowner)
        if command.name and "Column" in name and name != "AddColumn":
            found.written[Column(statement.relation.relname, command.name)] = None


_ALTERS = {"DetachPartitionFinalize": "DETACH PARTITION", "DropInherit": "NO INHERIT"}


def _rename(found: Reading, statement: Any) -> None:
    if statement.rename_type == pb.OBJECT_COLUMN:
        found.written[Column(statement.relation.relname, statement.subname)] = None


def _index(found: Reading, statement: Any) -> None:
    names = [item.index_elem.name for item in (*statement.index_params, *statement.index_including_params)]
    found.written.update(dict.fromkeys(Column(statement.relation.relname, name) for name in names if name))


def _statistics(found: Reading, statement: Any) -> None:
    found.written.update(dict.fromkeys(Column("", item.stats_elem.name) for item in statement.exprs))


def _grant(found: Reading, statement: Any) -> None:
    names = [item.access_priv.priv_name.upper() for item in statement.privileges]
    found.privileges.update(dict.fromkeys(names or ["ALL"]))
    for item in statement.grantees:
        _role(found.grantees, item.role_spec)
    if statement.objtype != pb.OBJECT_TABLE or statement.targtype != pb.ACL_TARGET_OBJECT:
        return
    columns = [column.string.sval for item in statement.privileges for column in item.access_priv.cols]
    for item in statement.objects:
        relation = item.range_var
        found.touches[Touch(relation.schemaname, relation.relname, "grant", True)] = None
        found.written.update(dict.fromkeys(Column(relation.relname, name) for name in columns))


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


def _drop(found: Reading, statement: Any) -> None:
    """Of DROP's objects, by their names without arguments."""
    for item in statement.objects:
        if names := _object_names(item):
            schema = names[-2] if len(names) > 1 else ""
            if statement.remove_type == pb.OBJECT_SCHEMA:  # all that is in it
                found.touches[Touch(names[-1], "", "drop", True)] = None
            elif statement.remove_type in _ON_RELATION:
                found.touches[Touch("", names[-1], "drop", True)] = None
                found.touches[Touch(names[-3] if len(names) > 2 else "", schema, "alter", True)] = None
            else:
                found.touches[Touch(schema, names[-1], "drop", True)] = None


def _object_names(item: Any) -> list[str]:
    if item.HasField("string"):
        return [item.string.sval]
    parts = (*item.list.items, *item.object_with_args.objname, *item.type_name.names)
    return [part.string.sval for part in parts if part.HasField("string")]


def _transaction(found: Reading, statement: Any) -> None:
    """READ WRITE switches a setting that keeps a session from writing."""
    options = statement.options if statement.DESCRIPTOR.name == "TransactionStmt" else statement.args
    for item in options:
        option = item.def_elem
        if option.defname == "transaction_read_only" and option.arg.a_const.ival.ival:
            continue
        if option.defname:
            lasting = getattr(statement, "name", "") == "SESSION CHARACTERISTICS"
            found.settings["default_" + option.defname if lasting else option.defname] = None


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


UTILITIES: dict[str, Callable[[Reading, Any], None]] = {
    "copy_stmt": _copy,
    "alter_table_stmt": _alter_table,
    "grant_stmt": _grant,
    "grant_role_stmt": _grant_role,
    "alter_default_privileges_stmt": lambda found, statement: _grant(found, statement.action),
    "create_role_stmt": _role_options,
    "alter_role_stmt": _role_options,
    "create_function_stmt": _function,
    "alter_owner_stmt": _owner,
    "rename_stmt": _rename,
    "index_stmt": _index,
    "create_stats_stmt": _statistics,
    "drop_stmt": _drop,
    "transaction_stmt": _transaction,
    "variable_set_stmt": _transaction,
    "dropdb_stmt": _drop_named("dbname"),
    "drop_role_stmt": _drop_named("roles"),
    "drop_table_space_stmt": _drop_named("tablespacename"),
    "drop_subscription_stmt": _drop_named("subname"),
}
