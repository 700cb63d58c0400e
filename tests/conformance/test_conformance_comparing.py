"""What `make conformance` makes of two runs: this decides whether the tap is called transparent."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from taprail.schemas.errors import TaprailError
from tests.conformance import comparing, regress, suites
from tests.conformance.__main__ import REVIEWED
from tests.conformance.comparing import Difference, Outcome, Reviewed
from tests.conformance.suites import SUITES, Command, NotHereError, Place

PASSED, FAILED = Outcome("passed"), Outcome("failed", "boom\nand more")


def test_a_test_that_ends_in_another_way_differs():
    assert comparing.differences({"a": PASSED, "b": PASSED}, {"a": FAILED, "b": PASSED}) == (
        Difference("a", "passed, then failed: boom"),
    )


def test_a_test_that_ran_on_one_side_only_differs():
    found = comparing.differences({"a": PASSED}, {"b": PASSED})
    assert found == (Difference("a", "passed, then missing: "), Difference("b", "missing, then passed: "))


def test_failures_are_alike_whatever_they_say():
    assert comparing.differences({"a": FAILED}, {"a": Outcome("failed", "another port")}) == ()


def test_only_the_whole_name_and_the_whole_line_in_the_same_suite_are_reviewed():
    shows = "passed, then failed: boom"
    names = ("a[1]", "a[1]b")
    found = (*(Difference(name, shows) for name in names), Difference("a[2]", shows + " and bang"))
    entry = Reviewed("one", r"a\[.\]", "by design", shows)
    judged = comparing.judge("one", found, (entry, Reviewed("two", ".*", "another suite's", ".*")))
    assert judged.reviewed == ((found[0], "by design"),)
    assert judged.new == found[1:]
    assert judged.unused == ()


def test_lines_are_reviewed_as_they_are():
    entry = Reviewed("s", "strings", "by design", lines=("-a.c\n+d",))
    found = (Difference("strings", "-a.c\n+d"), Difference("strings", "-abc\n+d"), Difference("other", "-a.c\n+d"))
    assert comparing.judge("s", found, (entry,)).new == found[1:]


def test_what_is_reviewed_for_marks_differs_with_marks_only():
    entry, found = Reviewed("s", "a", "a mark stands there", "x", marks=True), (Difference("a", "x"),)
    assert comparing.judge("s", found, (entry,), marks=True).new == ()
    judged = comparing.judge("s", found, (entry,))
    assert judged.new == found and judged.unused == ()


def test_an_entry_that_nothing_needs_is_told():
    entry = Reviewed("one", "a", "by design", "x")
    assert comparing.judge("one", (), (entry,)).unused == (entry,)


def test_lines_that_differ_between_direct_runs_are_noise_and_nothing_beside_them_is():
    direct = {"t": ["one", "at 12:00", "two", "three"], "u": ["same"]}
    again = {"t": ["one", "at 12:01", "two", "three"], "u": ["same"]}
    tap = {"t": ["one", "at 12:02", "two", "four", "more"], "u": ["same"]}
    assert comparing.line_differences(direct, again, tap) == (Difference("t", "-three\n+four\n+more"),)
    wider = {"t": ["ONE", "at 12:02", "two", "three"], "u": ["same"]}
    assert comparing.line_differences(direct, again, wider) == (Difference("t", "-one\n-at 12:00\n+ONE\n+at 12:02"),)


def test_a_file_that_wasnt_run_through_the_tap_differs():
    assert comparing.line_differences({"t": ["a"]}, {"t": ["a"]}, {}) == (Difference("t", "-a"),)


def test_the_last_run_of_a_test_counts(tmp_path):
    lines = [{"test": "a", "outcome": "failed", "why": "x"}, {"test": "a", "outcome": "passed", "why": ""}]
    (tmp_path / "o.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert comparing.read_outcomes(tmp_path / "o.jsonl") == {"a": PASSED}
    assert comparing.read_outcomes(tmp_path / "none.jsonl") == {}


def test_counts_name_every_outcome():
    assert comparing.counts({"a": PASSED, "b": FAILED, "c": PASSED}) == "1 failed, 2 passed"
    assert comparing.counts({}) == "no test ran"


@pytest.mark.parametrize(
    "entry",
    [
        'suite = "s"\ntests = "a"\nshows = "x"',
        'suite = "s"\ntests = "["\nreason = "r"\nshows = "x"',
        'suite = "s"\ntests = "a"\nreason = "r"',
        'suite = "s"\ntests = "a"\nreason = "r"\nshows = "x"\nlines = ["+y"]',
        'suite = "s"\ntests = "a"\nreason = "r"\nshows = "x"\nmark = true',
    ],
)
def test_an_entry_that_is_incomplete_or_says_too_much_is_refused(tmp_path, entry):
    (tmp_path / "list.toml").write_text(f"[[difference]]\n{entry}\n")
    with pytest.raises(TaprailError):
        comparing.read_reviewed(tmp_path / "list.toml")


def test_the_list_that_is_shipped_names_suites_that_exist():
    entries = comparing.read_reviewed(REVIEWED)
    assert {entry.suite for entry in entries} <= {regress.NAME, *(suite.name for suite in SUITES)}


@pytest.mark.parametrize(("code", "raises"), [(0, False), (1, False), (2, True), (5, True), (-9, True)])
def test_a_pytest_that_did_not_come_to_its_end_is_no_run(tmp_path, code, raises):
    ends = f"import os, signal; os.kill(os.getpid(), 9) if {code} < 0 else os._exit({code})"
    command = Command(tmp_path, ("-c", ends), (), {})
    place = Place(Path(sys.executable), tmp_path)
    if raises:
        with pytest.raises(TaprailError, match="exit code"):
            suites.run(place, command, tmp_path / "o", tmp_path / "log", ())
    else:
        suites.run(place, command, tmp_path / "o", tmp_path / "log", ())


def test_a_source_that_nobody_named_is_not_here(monkeypatch, tmp_path):
    monkeypatch.delenv(regress.SOURCE, raising=False)
    with pytest.raises(NotHereError):
        suites.checkout(regress.SOURCE, regress.NEEDED)
    monkeypatch.setenv(regress.SOURCE, str(tmp_path))
    with pytest.raises(NotHereError):
        suites.checkout(regress.SOURCE, regress.NEEDED)


def test_the_schedule_is_read_in_order(tmp_path):
    (tmp_path / "src/test/regress").mkdir(parents=True)
    (tmp_path / regress.NEEDED).write_text("# groups\ntest: one\n\ntest: two three\nignore: four\n")
    assert regress.schedule(tmp_path) == ("one", "two", "three")
