"""A statement of the log, found by its id, and why it went as it did."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from taprail.schemas.errors import RefusedError
from taprail.streams.audit.questions import ask
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.explain import Explained
from taprail.streams.policy.explain import why as explained
from taprail.streams.policy.policy import Policy
from taprail.streams.policy.replay import FIELDS, STATEMENTS, Recorded

_ONE = f"""
SELECT {", ".join(FIELDS)}, time_us, estimated_rows, action, rule, reason FROM {STATEMENTS} WHERE statement = ?"""


def why(directory: Path, policies: Iterable[Policy], statement: str, zone: str) -> Explained:
    """Raises RefusedError where the log has no such statement, or its record doesn't tell what it was."""
    rows = ask(directory, _ONE, [statement]).rows
    if not rows:
        hint = "its id is tap/epoch/sequence, as the column `statement` of `taprail audit sql` has it"
        raise RefusedError(f"the log has no statement {statement}", hint=hint)
    values, (time_us, expected, action, rule, reason) = rows[0][: len(FIELDS)], rows[0][len(FIELDS) :]
    recorded = Recorded(values, time_us, expected)
    decided = Explained(recorded["normalized"], action, rule, reason, "", (), ())
    return explained(policies, recorded, RuleSettings(clear_groups=("data-owners",)), zone, decided)
