"""What differs between two sets of policies, policy by policy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

import msgspec
import yaml
from msgspec import Struct

from taprail.streams.policy.policy import Policy


class Changed(Struct, frozen=True):
    """`lines` are those of a unified diff, without its head."""

    action: Literal["added", "changed", "removed"]
    policy: str
    lines: tuple[str, ...] = ()


def differences(before: Iterable[Policy], after: Iterable[Policy]) -> list[Changed]:
    """By id. Tests don't count: they change nothing that is judged."""
    old, new = ({policy.id: _lines(policy) for policy in each} for each in (before, after))
    found = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            found.append(Changed("added", name, tuple(new[name])))
        elif name not in new:
            found.append(Changed("removed", name))
        elif old[name] != new[name]:
            lines = list(difflib.unified_diff(old[name], new[name], n=0, lineterm=""))[2:]
            found.append(Changed("changed", name, tuple(line for line in lines if not line.startswith("@@"))))
    return found


def _lines(policy: Policy) -> list[str]:
    said = msgspec.to_builtins(policy)
    said.pop("tests", None)
    text: str = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)
    return text.splitlines()
