"""A session that changes is judged anew: no verdict of before its change is given again."""

from __future__ import annotations

import copy

import pytest

from taprail.schemas.guard import Request
from tests.streams.policy.small_world import guard, session


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("search_path", "decoy"),
        ("purpose", "support"),
        ("reshaped", True),
        ("role", "other"),
        ("database", "other"),
        ("environment", "dev"),
    ],
)
def test_a_change_of_one_field_is_seen(field: str, value: object) -> None:
    judging, before = guard(), session()
    after = copy.copy(before)  # the same session of the same person
    setattr(after, field, value)
    judging.judge(Request("SELECT id FROM orders", before, "simple"))
    judging.judge(Request("SELECT id FROM orders", before, "simple"))
    assert judging.kept == 1
    judging.judge(Request("SELECT id FROM orders", after, "simple"))
    assert judging.kept == 2
