"""What people's statements may do to the terminal of who reads them: nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.streams.commands.audit import show
from taprail.streams.commands.text import visible


@given(st.text())
def test_what_is_shown_is_printable_and_what_was_stays(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\nb\r", "a\\nb\\r"),
        ("DROP \u202eelbat", "DROP \\u202eelbat"),  # right-to-left override: the rest reads backwards
        ("naïve 表", "naïve 表"),
    ],
)
def test_controls_are_named(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_table_that_is_too_wide_stands_row_by_row_and_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300 + "\x1b[31m[bold]"
    show(["name", "value"], [("first", long), ("second", None)], "table")
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "-- 1",
        "name   first",
        f"value  {'x' * 300}\\x1b[31m[bold]",
        "-- 2",
        "name   second",
        "value",
    ]


def test_a_narrow_table_has_a_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(["rule", "count"], [("no-drop-in-prod", 3), ("[red]", 1)], "table")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["rule", "count"], ["no-drop-in-prod", "3"], ["[red]", "1"]]
