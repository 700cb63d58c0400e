"""Alerts to send: one that is as they are, and a Hypothesis strategy for any that could be."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st
from msgspec.structs import replace

from taprail.schemas.records import Alert, Severity

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
# What is dear to somebody who wants to mention, link, or leave half of something behind.
NASTY = ("<!channel>", "<@U123>", "<https://evil.example|ok>", "&amp;", "&", "<", ">", "🟠", "\n*Who*\nann", "\0", "`")
_text = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from([*NASTY, "x", " "]), max_size=30).map("".join),
    st.builds(lambda piece, times: piece * times, st.sampled_from([*NASTY, "x", " ", "\u202e"]), st.integers(0, 4000)),
)


def alert(**changes: Any) -> Alert:
    made = Alert(
        alert_id="alert-0123456789abcdef0123456789abcdef",
        time_us=1_767_323_045_678_901,
        detection_id="0123456789abcdef0123456789abcdef",
        rule="large-read",
        severity="high",
        title="ann read 60000 rows of public.customers",
        summary="SELECT on public.customers returned 60000 rows; the limit is 50000.",
        environment="prod",
        server="main",
        database="shop",
        person="ann",
        statement="tap-1/7/42",
    )
    return replace(made, **changes)


def alerts() -> st.SearchStrategy[Alert]:
    """Any alert that Avro can carry, and some that are long."""
    return st.builds(
        alert,
        alert_id=_text.filter(bool),
        time_us=st.integers(-(2**63), 2**63 - 1),
        rule=_text,
        severity=st.sampled_from(SEVERITIES),
        title=_text,
        summary=_text,
        environment=_text,
        server=_text,
        database=_text,
        person=_text,
        statement=_text,
        link=st.one_of(st.just(""), _text, _text.map("https://taprail.example/approvals/".__add__)),
    )
