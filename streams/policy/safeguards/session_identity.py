"""session-identity: nobody becomes another role, or changes how the tap and the server read a statement.

Why: the tap signs in as the role that the person's groups map to; SET ROLE would leave that. Settings that change how
text is read (encoding, backslashes) would let the server run something else than what was judged.
"""

from __future__ import annotations

from functools import partial

from taprail.schemas.guard import RelationInfo
from taprail.schemas.records import RelationUse
from taprail.streams.policy.decision import Case, Decision

RULE = "session-identity"
_SETTINGS = "pg_settings"
_ROLES = frozenset({"role", "session_authorization"})
_READING = frozenset({"standard_conforming_strings", "client_encoding", "backslash_quote", "names"})
_OTHER = frozenset({
    "session_replication_role", "event_triggers", "row_security", "local_preload_libraries",
    "client_connection_check_interval",  # or a statement outlives its session
})  # fmt: skip
_FINE = {"standard_conforming_strings": ("on", "true", "1", "yes"), "client_encoding": ("utf8", "utf-8", "unicode")}
HINT = "your groups decide on your role; ask whoever manages them"


def judge(case: Case) -> Decision | None:
    for name, value in case.facts.settings:
        reason = _refused(case, name.lower(), value)
        if reason:
            return Decision("deny", RULE, reason, HINT)
    if any(map(partial(_is_settings, case), case.facts.relations, case.relations)):
        return Decision("deny", RULE, "pg_settings is written by SET, which the tap understands", HINT)
    if case.facts.tag in ("ALTER ROLE", "ALTER DATABASE") and case.node.WhichOneof(
        "node",
    ) in (
        "alter_role_set_stmt",
        "alter_database_set_stmt",
    ):
        return Decision("deny", RULE, f"{case.facts.tag} … SET changes other sessions' settings", HINT)
    return None


def _is_settings(case: Case, use: RelationUse, info: RelationInfo | None) -> bool:
    """Whether it writes pg_settings, whose UPDATE is a set_config, or a view of it; or makes such a view."""
    if use.access != "write" and case.facts.tag != "CREATE VIEW":
        return False
    if info is None:
        return use.name == _SETTINGS and use.schema in ("", "pg_catalog")
    below = [case.catalog.by_oid(oid) for oid in info.reads]
    return any(each.name == _SETTINGS and each.schema == "pg_catalog" for each in (info, *below) if each is not None)


def _refused(case: Case, name: str, value: str) -> str:
    by_function = "set_config" in {f.rpartition(".")[2] for f in case.facts.functions}
    if name == "" and by_function:
        return "set_config with a name that isn't a constant can't be judged"
    resets = case.facts.tag.startswith(("RESET", "DISCARD"))
    if name in _ROLES and not resets:
        return f"changing {name} is denied: it would leave the role that you were given"
    if name in _READING and not resets and value.lower() not in _FINE.get(name, ()):
        return f"another {name} is denied: the server would read statements otherwise than the tap"
    if name in _OTHER and not resets:
        return f"changing {name} is denied: it switches off what keeps the record whole"
    if name.startswith("taprail.") and name != "taprail.purpose":
        return f"{name} is the tap's own setting"
    if name == "taprail.purpose" and by_function:
        return "the purpose is stated by SET, not by set_config"
    return ""
