"""Texts of megabytes: judged like any other, at a cost that is counted before it is paid."""

from __future__ import annotations

import time

import postgast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.errors import RefusedError
from taprail.streams.policy import sizes, sql
from tests.streams.policy.small_world import guard, judge

ROW = "(12345, 'some text of a customer''s', '2024-01-01', 1.25, NULL),"
LARGE = "INSERT INTO public.orders VALUES " + (ROW * 40_000)[:-1]


def test_an_insert_of_megabytes_is_judged_by_all_of_it():
    judged = guard()
    assert len(LARGE) > 2 << 20
    assert judge(judged, LARGE).action == "allow"
    tail = LARGE + " ON CONFLICT DO NOTHING RETURNING pg_read_file('/etc/passwd')"
    assert judge(judged, tail).action == "deny"
    assert judge(judged, LARGE).action == "allow" and judged.kept == 0


def test_what_is_shown_of_a_large_text_holds_no_value():
    shown = judge(guard(), LARGE).normalized
    assert "customer" not in shown and "2024-01-01" not in shown and f"{len(LARGE)} characters" in shown
    assert len(shown) < 4 * sizes.LONG_CHARACTERS


def test_a_large_text_that_waits_for_an_approval_is_denied_since_nobody_could_see_it():
    text = "UPDATE public.orders SET note = '" + "x" * sizes.TEXT_BYTES_KEPT + "'"
    small, large = judge(guard(), "UPDATE public.orders SET note = 'x'"), judge(guard(), text)
    assert (small.action, large.action) == ("hold", "deny") and "approves" in large.hint


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1" + ",1" * 600_000,
        "SELECT 'x" + "y" * sizes.TEXT_BYTES_MAX,
        "SELECT " + "/**/" * 1_000_001 + "1",
        "SELECT E'" + "\\''" * 1_000_001,
    ],
    ids=["tokens", "bytes", "comments", "quotes"],
)
def test_what_costs_too_much_is_refused_before_it_is_parsed(text):
    began = time.monotonic()
    with pytest.raises(RefusedError, match=r"isn't judged|at or near|unterminated"):
        sql.parse(text)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "unit", ["'", "/*", "/* ", "$", "$a$", "e'", "--", "--\n", " ", "/**/ ", '"', "\\", "é", "$a$b"]
)
def test_counting_takes_no_longer_than_the_text_is_long(unit):
    began = time.monotonic()
    text = unit * (2_000_000 // len(unit))
    try:
        sizes.check(text)
    except RefusedError as error:
        assert "tokens" in error.message
    sizes.beginning(text)
    assert time.monotonic() - began < 5


@given(
    st.lists(
        st.sampled_from(["a", " ", "'b''c'", "E'\\''", "1.5", "$$x$$", "$q$'$q$", '"d"', "--x\n", ",", "(", "/*y*/"])
    )
)
def test_no_token_of_the_server_is_missed(parts):
    text = " ".join(parts)
    found = len(postgast.scan(text).tokens)
    assert sum(1 for _ in sizes._TOKEN.finditer(text)) >= found


@given(st.text("ab'\"$E\\ -/*\n,", max_size=200))
def test_the_beginning_is_a_beginning(text):
    assert text.startswith(sizes.beginning(text))
