"""opaque-code: code whose effects can't be seen in its text waits for an approver in protected environments.

Why: DO, CALL and CREATE FUNCTION can do anything that their role may, loops and dynamic SQL included; no rule can judge
what a text doesn't say. The approver reads the body.
"""

from __future__ import annotations

from taprail.streams.policy.decision import Case, Decision

RULE = "opaque-code"


def judge(case: Case) -> Decision | None:
    if not case.facts.opaque or not case.protected:
        return None
    return Decision(
        "hold",
        RULE,
        f"what {case.facts.tag} does can't be judged by its text",
        "write plain statements, or wait for an approver",
    )
