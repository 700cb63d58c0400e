"""The shipped policy, a rule a file: its docstring is its documentation, its cases lie in `cases.toml`.

A rule is a plain function from a `Case` to a `Decision`, or None where it has nothing to say. The order here is the
order in which they are asked; the first that answers decides, but a denial of any comes before a hold of another.
"""

from __future__ import annotations

from collections.abc import Callable

from taprail.streams.policy.decision import Case, Decision
from taprail.streams.policy.rules import (
    agent_purpose,
    masked_copy,
    no_drop_in_prod,
    opaque_code,
    server_programs,
    session_identity,
    unbounded_write,
)

Rule = Callable[[Case], Decision | None]
RULES: tuple[Rule, ...] = (
    session_identity.judge,
    server_programs.judge,
    no_drop_in_prod.judge,
    agent_purpose.judge,
    masked_copy.judge,
    unbounded_write.judge,
    opaque_code.judge,
)
