"""Command tags, as the server says them, from libpg_query's node names.

Source: PostgreSQL documentation, 54.7 "CommandComplete"; src/include/tcop/cmdtaglist.h.
"""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

# Statements that can't run inside a transaction block, so no mark can share their transaction. Some can in some cases,
# which the text alone doesn't tell: REINDEX and CLUSTER where the table has no partitions.
UNMARKABLE = frozenset(
    {
        "vacuum_stmt",
        "createdb_stmt",
        "dropdb_stmt",
        "alter_system_stmt",
        "alter_database_stmt",
        "cluster_stmt",
        "reindex_stmt",
        "create_table_space_stmt",
        "drop_table_space_stmt",
        "create_subscription_stmt",
        "drop_subscription_stmt",
        "alter_subscription_stmt",
    }
)
_TAGS = {
    "select_stmt": "SELECT",
    "insert_stmt": "INSERT",
    "update_stmt": "UPDATE",
    "delete_stmt": "DELETE",
    "merge_stmt": "MERGE",
    "create_stmt": "CREATE TABLE",
    "index_stmt": "CREATE INDEX",
    "view_stmt": "CREATE VIEW",
    "truncate_stmt": "TRUNCATE TABLE",
    "variable_set_stmt": "SET",
    "variable_show_stmt": "SHOW",
    "create_function_stmt": "CREATE FUNCTION",
    "create_trig_stmt": "CREATE TRIGGER",
    "create_event_trig_stmt": "CREATE EVENT TRIGGER",
    "alter_event_trig_stmt": "ALTER EVENT TRIGGER",
    "create_role_stmt": "CREATE ROLE",
    "alter_role_stmt": "ALTER ROLE",
    "alter_role_set_stmt": "ALTER ROLE",
    "alter_database_set_stmt": "ALTER DATABASE",
    "drop_role_stmt": "DROP ROLE",
    "createdb_stmt": "CREATE DATABASE",
    "dropdb_stmt": "DROP DATABASE",
    "declare_cursor_stmt": "DECLARE CURSOR",
    "close_portal_stmt": "CLOSE CURSOR",
    "create_schema_stmt": "CREATE SCHEMA",
    "create_extension_stmt": "CREATE EXTENSION",
    "drop_owned_stmt": "DROP OWNED",
    "rule_stmt": "CREATE RULE",
    "check_point_stmt": "CHECKPOINT",
    "drop_table_space_stmt": "DROP TABLESPACE",
    "load_stmt": "LOAD",
}
_TRANSACTION_TAGS = {
    1: "BEGIN", 2: "START TRANSACTION", 3: "COMMIT", 4: "ROLLBACK", 5: "SAVEPOINT", 6: "RELEASE", 7: "ROLLBACK",
    8: "PREPARE TRANSACTION", 9: "COMMIT PREPARED", 10: "ROLLBACK PREPARED",
}  # fmt: skip


def tag_of(kind: str, statement: Any) -> str:
    """The tag of a statement; '' for an empty one. A kind that isn't listed is named after its node."""
    if kind == "select_stmt" and statement.HasField("into_clause"):
        return "SELECT INTO"
    if kind == "drop_stmt":
        return f"DROP {_object(statement.remove_type)}"
    if kind == "alter_table_stmt":
        return f"ALTER {_object(statement.objtype)}"
    if kind == "rename_stmt":
        return f"ALTER {_object(statement.rename_type)}"
    if kind == "create_table_as_stmt":
        return "CREATE MATERIALIZED VIEW" if _object(statement.objtype) == "MATERIALIZED VIEW" else "CREATE TABLE AS"
    if kind == "alter_owner_stmt":
        return f"ALTER {_object(statement.object_type)}"
    if kind in ("grant_stmt", "grant_role_stmt") and not statement.is_grant:
        return "REVOKE" if kind == "grant_stmt" else "REVOKE ROLE"
    if kind == "discard_stmt":
        return f"DISCARD {pb.DiscardMode.Name(statement.target).removeprefix('DISCARD_')}"
    if kind == "transaction_stmt":
        return _TRANSACTION_TAGS.get(statement.kind, "TRANSACTION")
    return _TAGS.get(kind) or kind.removesuffix("_stmt").replace("_", " ").upper()


def _object(number: int) -> str:
    name: str = pb.ObjectType.Name(number)
    spaced = {"MATVIEW": "MATERIALIZED VIEW", "COLUMN": "TABLE", "TABCONSTRAINT": "TABLE"}
    short: str = name.removeprefix("OBJECT_")
    return spaced.get(short, short.replace("_", " "))
