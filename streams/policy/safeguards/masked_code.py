"""masked-code: code of somebody who sees personal data masked waits for an approver.

Why: DO and CREATE FUNCTION can do anything that their role may, loops and dynamic SQL included, and no text tells what:
they could copy personal data to where it wouldn't be masked. The approver reads the body. CALL of a procedure that is
there already is left to policies, as is code of those who see everything.
"""

from __future__ import annotations

from taprail.streams.policy.decision import Case, Decision

RULE = "masked-code"


def judge(case: Case) -> Decision | None:
    facts = case.facts
    if not facts.opaque or not case.masked or facts.tag == "CALL":
        return None
    return Decision(
        "hold",
        RULE,
        f"what {facts.tag} does can't be judged by its text",
        "write plain statements, or wait for an approver",
    )
