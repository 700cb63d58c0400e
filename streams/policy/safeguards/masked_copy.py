"""masked-copy: who sees personal data masked can't copy it to where it wouldn't be.

Why: INSERT … SELECT, CREATE TABLE AS, a view, an UPDATE of another column, a default or a notification would put the
clear values where their column no longer says what they are. COPY TO STDOUT has a row format that isn't masked, nor has
a notification's payload.
"""

from __future__ import annotations

from taprail.streams.masking.clean import Proof, Scope
from taprail.streams.masking.flow import Flow
from taprail.streams.policy.decision import Case, Decision

RULE = "masked-copy"
HINT = "take only columns without personal data, or ask for access to it"
HINT_RESHAPED = "commit first: before that the tap can't know what the changed schema holds"


def judge(case: Case) -> Decision | None:
    facts = case.facts
    if not case.masked or (facts.tag == "EXPLAIN" and not facts.explain_analyze):
        return None
    if facts.copy == "out":
        return _denied(case, "COPY TO would send personal data unmasked")
    if facts.tag == "LISTEN":
        return _denied(case, "notifications may hold personal data, and can't be masked")
    proof = Proof(case.node, case.session, case.catalog, case.calls)
    if not all(proof.clean(argument, Scope()) for argument in case.arguments):
        return _denied(case, "EXECUTE would pass personal data to a statement that could keep it")
    reason = next(Flow(proof).reasons(case.node), "")
    return _denied(case, reason) if reason else None


def _denied(case: Case, reason: str) -> Decision:
    return Decision("deny", RULE, reason, HINT_RESHAPED if case.session.reshaped else HINT)
