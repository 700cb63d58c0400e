"""unbounded-write: UPDATE and DELETE without WHERE wait for an approver in protected environments.

Why: nearly always a WHERE was forgotten, or the selection in an editor was too short. The few that are meant are worth
a second look. A WHERE that is always true is not seen by this rule.
"""

from __future__ import annotations

from taprail.streams.policy.decision import Case, Decision

RULE = "unbounded-write"


def judge(case: Case) -> Decision | None:
    if case.facts.has_where or not case.protected:
        return None
    return Decision(
        "hold",
        RULE,
        f"{case.facts.tag} without WHERE changes every row",
        "add a WHERE, or wait for an approver",
    )
