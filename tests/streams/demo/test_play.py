"""The player reports what held, what didn't, and goes on."""

from __future__ import annotations

from taprail.streams.demo.play import Evidence, Step, expect, play


def test_a_step_that_does_not_hold_is_reported_and_the_next_is_played() -> None:
    def fails() -> Evidence:
        expect(False, "saw nothing")
        return {}

    played = list(play([Step("first", fails), Step("second", lambda: {"rows": 3})]))
    assert [(p.step, p.held, p.evidence) for p in played] == [(1, False, {}), (2, True, {"rows": 3})]
    assert played[0].error == "NotHeld: saw nothing"


def test_a_crash_in_a_step_is_a_step_that_did_not_hold() -> None:
    (played,) = play([Step("crashes", lambda: {"x": 1 // 0})])
    assert not played.held
    assert "ZeroDivisionError" in played.error
