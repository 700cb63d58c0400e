"""no-drop-in-prod: DROP and TRUNCATE are denied in protected environments.

Why: they can't be taken back. A migration does it, under a role and a review of its own. ALTER TABLE … DROP COLUMN
loses data just as well, so it counts.
"""

from __future__ import annotations

from postgast import pg_query_pb2 as pb

from taprail.streams.policy.decision import Case, Decision

RULE = "no-drop-in-prod"
_DROPPING = frozenset({pb.AT_DropColumn, pb.AT_DetachPartition})


def judge(case: Case) -> Decision | None:
    if not case.protected:
        return None
    tag = case.facts.tag
    drops_column = case.node.WhichOneof("node") == "alter_table_stmt" and any(
        command.alter_table_cmd.subtype in _DROPPING for command in case.node.alter_table_stmt.cmds
    )
    if not (tag.startswith(("DROP", "TRUNCATE")) or drops_column):
        return None
    return Decision(
        "deny",
        RULE,
        f"{'dropping a column' if drops_column else tag} is denied in {case.session.environment}",
        "put it into a reviewed migration, or run it in another environment",
    )
