"""What `make conformance` makes of two runs: this decides whether the tap is called transparent."""

from __future__ import annotations

import json

import pytest

from taprail.schemas.errors import TaprailError
from tests.conformance import comparing
from tests.conformance.__main__ import REVIEWED
from tests.conformance.comparing import Difference, Outcome, Reviewed
from tests.conformance.suites import SUITES

PASSED, FAILED, MISSING = Outcome("passed"), Outcome("failed", "boom"), Outcome("missing")


def test_a_test_that_ends_in_another_way_differs():
    assert comparing.differences({"a": PASSED, "b": PASSED}, {"a": FAILED, "b": PASSED}) == (
        Difference("a", PASSED, FAILED),
    )


def test_a_test_that_ran_on_one_side_only_differs():
    found = comparing.differences({"a": PASSED}, {"b": PASSED})
    assert found == (Difference("a", PASSED, MISSING), Difference("b", MISSING, PASSED))


def test_failures_are_alike_whatever_they_say():
    assert comparing.differences({"a": FAILED}, {"a": Outcome("failed", "another port")}) == ()


def test_only_the_whole_name_in_the_same_suite_is_reviewed():
    found = (Difference("a[1]", PASSED, FAILED), Difference("a[1]b", PASSED, FAILED))
    entry, other = Reviewed("one", r"a\[.\]", "by design"), Reviewed("two", ".*", "another suite's")
    judged = comparing.judge("one", found, (entry, other))
    assert judged.reviewed == ((found[0], "by design"),)
    assert judged.new == (found[1],)
    assert judged.unused == ()


def test_an_entry_that_nothing_needs_is_told():
    entry = Reviewed("one", "a", "by design")
    assert comparing.judge("one", (), (entry,)).unused == (entry,)


def test_the_last_run_of_a_test_counts(tmp_path):
    lines = [{"test": "a", "outcome": "failed", "why": "x"}, {"test": "a", "outcome": "passed", "why": ""}]
    (tmp_path / "o.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert comparing.read_outcomes(tmp_path / "o.jsonl") == {"a": PASSED}
    assert comparing.read_outcomes(tmp_path / "none.jsonl") == {}


def test_counts_name_every_outcome():
    assert comparing.counts({"a": PASSED, "b": FAILED, "c": PASSED}) == "1 failed, 2 passed"
    assert comparing.counts({}) == "no test ran"


@pytest.mark.parametrize("entry", ['suite = "s"\ntests = "a"', 'suite = "s"\ntests = "["\nreason = "r"'])
def test_an_entry_without_a_reason_or_a_pattern_is_refused(tmp_path, entry):
    (tmp_path / "list.toml").write_text(f"[[difference]]\n{entry}\n")
    with pytest.raises(TaprailError):
        comparing.read_reviewed(tmp_path / "list.toml")


def test_the_list_that_is_shipped_names_suites_that_exist():
    assert {entry.suite for entry in comparing.read_reviewed(REVIEWED)} <= {suite.name for suite in SUITES}
