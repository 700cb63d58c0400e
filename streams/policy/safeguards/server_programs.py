"""server-programs: nothing that leaves the database: programs, files, other servers, replication, the tap's own marks.

Why: what happens there isn't recorded and isn't masked, nor is the text that query_to_xml and its like run. Event
triggers and publications are what makes changes seen.
"""

from __future__ import annotations

from taprail.streams.masking.readers import RUNNERS
from taprail.streams.policy.decision import Case, Decision

RULE = "server-programs"
_FUNCTIONS = frozenset(
    {
        "copy program",
        "copy file",
        "pg_logical_emit_message",
        "pg_read_file",
        "pg_read_binary_file",
        "pg_ls_dir",
        "pg_stat_file",
        "lo_import",
        "lo_export",
        "pg_reload_conf",
        "pg_rotate_logfile",
        "pg_promote",
        "pg_terminate_backend",
    }
)
_PREFIXES = ("dblink", "pg_ls_", "pg_replication_", "pg_create_logical_", "pg_create_physical_", "pg_drop_replication_",
             "pg_logical_slot_", "pg_copy_", "pg_file_", "pg_replication_origin_")  # fmt: skip
_TAGS = frozenset(
    {
        "ALTER SYSTEM",
        "CREATE EXTENSION",
        "LOAD",
        "CREATE EVENT TRIGGER",
        "ALTER EVENT TRIGGER",
        "DROP EVENT TRIGGER",
        "CREATE PUBLICATION",
        "ALTER PUBLICATION",
        "DROP PUBLICATION",
        "CREATE SUBSCRIPTION",
        "ALTER SUBSCRIPTION",
        "CREATE FOREIGN SERVER",
        "CREATE USER MAPPING",
        "CREATE FDW",
        "IMPORT FOREIGN SCHEMA",
        "CREATE FOREIGN TABLE",
        "ALTER FOREIGN TABLE",
        "ALTER FOREIGN SERVER",
        "ALTER FDW",
        "ALTER USER MAPPING",
        "ALTER EXTENSION",
        "ALTER EXTENSION CONTENTS",
    }
)


def reaches_out(function: str) -> bool:
    """Of a name without a schema."""
    return function in _FUNCTIONS or function.startswith(_PREFIXES)


def judge(case: Case) -> Decision | None:
    for function in case.facts.functions:
        name = function.rpartition(".")[2]
        if name in RUNNERS:
            return _denied(f"{name} runs a text, or reads a relation, that only a value names")
        if reaches_out(name):
            return _denied(f"{name} reaches outside of what is recorded and masked")
    if case.facts.tag in _TAGS:
        return _denied(f"{case.facts.tag} reaches outside of what is recorded and masked")
    if any(relation is not None and relation.schema == "taprail" for relation in case.relations) and case.facts.writes:
        return _denied("the schema taprail belongs to the change feed")
    return None


def _denied(reason: str) -> Decision:
    return Decision("deny", RULE, reason, "an administrator does this on the server itself")
