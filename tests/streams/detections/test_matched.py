"""Policies that only alert, and those being tried, become detections; those that stopped a statement have others."""

from __future__ import annotations

from typing import Any

import pytest

from taprail.streams.detections.matched import matched


def record(*matches: tuple[str, str, bool]) -> dict[str, Any]:
    return {
        "matched": [
            {"policy": f"p-{n}", "verdict": verdict, "level": level, "title": "A title", "trial": trial}
            for n, (verdict, level, trial) in enumerate(matches)
        ],
        "person": {"name": "Ann"},
        "database": "shop",
        "tag": "SELECT",
        "relations": [{"schema": "public", "name": "orders"}],
    }


@pytest.mark.parametrize(
    ("level", "told"),
    [("informational", False), ("low", False), ("medium", True), ("high", True), ("critical", True)],
)
def test_people_are_told_from_medium_on(level: str, told: bool) -> None:
    [found] = matched(record(("alert", level, False)))
    assert (found.rule, found.severity, found.alert) == ("p-0", level, told)
    assert (found.title, found.summary) == ("A title: Ann in shop", "SELECT on public.orders.")


def test_a_policy_that_is_tried_says_what_it_would_do_and_wakes_nobody() -> None:
    [found] = matched(record(("deny", "critical", True)))
    assert found.title == "would be denied by p-0: Ann in shop" and not found.alert


def test_what_stopped_the_statement_is_told_elsewhere() -> None:
    assert matched(record(("deny", "high", False), ("hold", "high", False), ("allow", "low", False))) == []
    assert matched(record()) == []
