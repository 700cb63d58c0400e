"""Functions of PostgreSQL's own that give more than what is computed from their arguments.

Source: PostgreSQL documentation, chapter 9 (functions), 28.2 (statistics), 33.4 (large objects).
"""

from __future__ import annotations

# They run the SQL text that they are given, or read the relations that a value names, which nobody has judged.
RUNNERS = frozenset(
    {
        "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "cursor_to_xml", "cursor_to_xmlschema",
        "table_to_xml", "table_to_xml_and_xmlschema", "schema_to_xml", "schema_to_xml_and_xmlschema",
        "database_to_xml", "database_to_xml_and_xmlschema",
        "ts_stat", "ts_rewrite",
        "crosstab", "crosstab2", "crosstab3", "crosstab4", "connectby", "xpath_table",  # contrib: tablefunc, xml2
    }
)  # fmt: skip
# They read what their arguments name, large objects, or other sessions' statements.
READERS = frozenset(
    {
        "lo_get", "loread", "lo_open", "lo_tell", "lo_tell64", "lo_lseek", "lo_lseek64",
        "pg_stat_get_activity", "pg_stat_get_backend_activity", "pg_stat_get_backend_client_addr", "pg_mcv_list_items",
        "pg_cursor", "pg_prepared_statement",
    }
)  # fmt: skip
# They put their arguments to where others, or a later statement, can read them.
SENDERS = frozenset(
    {
        "pg_notify", "set_config", "lo_from_bytea", "lo_put", "lowrite", "lo_creat", "lo_create", "setval", "setseed",
        "lo_lseek", "lo_lseek64", "lo_truncate", "lo_truncate64", "lo_open", "lo_unlink",
        "pg_create_restore_point", "pg_restore_attribute_stats", "pg_restore_relation_stats",
    }
)  # fmt: skip
_SENDING_PREFIXES = ("pg_advisory_", "pg_try_advisory_")


def reads_by_itself(function: str) -> bool:
    name = function.rpartition(".")[2]
    return name in READERS or name in RUNNERS


def sends(function: str) -> bool:
    name = function.rpartition(".")[2]
    return name in SENDERS or name.startswith(_SENDING_PREFIXES)
