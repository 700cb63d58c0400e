"""Policies that ship with taprail: `base` is in force unless an installation names its own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from taprail.streams.policy.load import load
from taprail.streams.policy.ruling import PolicySet

BASE = Path(__file__).parent / "base"


@cache
def shipped() -> PolicySet:
    return PolicySet(load(BASE))
