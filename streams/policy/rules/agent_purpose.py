"""agent-purpose: an agent says what for before it may do anything.

Why: an agent acts for somebody, with a task. A statement that names no purpose can't be reviewed, nor limited to it.
"""

from __future__ import annotations

from taprail.streams.policy.decision import Case, Decision

RULE = "agent-purpose"
PURPOSE_CHARACTERS_MIN = 3


def judge(case: Case) -> Decision | None:
    session, facts = case.session, case.facts
    if session.person.kind != "agent" or len(session.purpose.strip()) >= PURPOSE_CHARACTERS_MIN:
        return None
    states_it = facts.tag == "SET" and all(name == "taprail.purpose" for name, _ in facts.settings)
    if states_it or facts.transaction or facts.tag in ("SHOW", "SET", "RESET", "RESET ALL", "DISCARD ALL"):
        return None
    return Decision(
        "deny",
        RULE,
        "an agent must state its purpose first",
        "SET taprail.purpose = 'what this is for, with its ticket'",
    )
