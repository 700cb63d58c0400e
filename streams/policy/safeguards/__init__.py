"""What no policy may allow, a file each: its docstring is its documentation, its cases lie in `cases.toml`.

A safeguard keeps the tap what it is: nobody becomes another role, nothing leaves unrecorded or unmasked. Everything
else is a policy (`packs/`). It is a plain function from a `Case` to a `Decision`, or None where it has nothing to say.
The order here is the order in which they are asked; the first that answers decides, but a denial of any comes before a
hold of another.
"""

from __future__ import annotations

from collections.abc import Callable

from taprail.streams.policy.decision import Case, Decision
from taprail.streams.policy.safeguards import masked_code, masked_copy, server_programs, session_identity

# With what else decides without a policy: a text that can't be parsed, a catalog that isn't there.
RULES_OF_SAFEGUARDS = frozenset(
    {session_identity.RULE, server_programs.RULE, masked_copy.RULE, masked_code.RULE, "syntax", "catalog", "speaks-for"}
)
Safeguard = Callable[[Case], Decision | None]
SAFEGUARDS: tuple[Safeguard, ...] = (
    session_identity.judge,
    server_programs.judge,
    masked_copy.judge,
    masked_code.judge,
)
