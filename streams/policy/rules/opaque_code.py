"""opaque-code: code whose effects can't be seen in its text waits for an approver.

Why: DO, CALL and CREATE FUNCTION can do anything that their role may, loops and dynamic SQL included; no rule can judge
what a text doesn't say. The approver reads the body. Outside of protected environments it is asked of those who see
personal data masked, where there is some: their code could copy it. CALL of a procedure that is there is left to them.
"""

from __future__ import annotations

from taprail.streams.policy.decision import Case, Decision

RULE = "opaque-code"


def judge(case: Case) -> Decision | None:
    facts = case.facts
    if not facts.opaque or not (case.protected or (case.masked and facts.tag != "CALL")):
        return None
    return Decision(
        "hold",
        RULE,
        f"what {facts.tag} does can't be judged by its text",
        "write plain statements, or wait for an approver",
    )
