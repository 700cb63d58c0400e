"""The shipped rules, a file each: its docstring is its documentation, `detect` its one function.

A rule reads a record (its Avro fields by name), and answers with what it found or None. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from taprail.streams.detections.found import Found
from taprail.streams.detections.rules import (
    agent_purpose,
    denied_destructive,
    held_statement,
    large_read,
    outcome_unknown,
    refused_sign_in,
)

Rule = Callable[[Mapping[str, Any]], Found | None]
STATEMENT_RULES: tuple[Rule, ...] = (denied_destructive.detect, agent_purpose.detect, held_statement.detect)
SESSION_RULES: tuple[Rule, ...] = (refused_sign_in.detect,)


def outcome_rules(large_read_rows: int) -> tuple[Rule, ...]:
    return (large_read.rule(large_read_rows), outcome_unknown.detect)
