"""A pytest plugin that the suites are run with: one JSON line for each test, in the file that OUTCOMES names.

It's loaded in the suites' own environment, so it imports nothing of taprail.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

_worst: dict[str, tuple[str, str]] = {}
_RANK = ("passed", "xpassed", "xfailed", "skipped", "failed")


@pytest.hookimpl
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    outcome, why = str(report.outcome), ""
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    elif report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message if crash is not None else str(report.longrepr)[-600:]
    before = _worst.get(report.nodeid, ("passed", ""))
    _worst[report.nodeid] = max(before, (outcome, why), key=lambda each: _RANK.index(each[0]))
    if report.when == "teardown":
        outcome, why = _worst.pop(report.nodeid)
        line = json.dumps({"test": report.nodeid, "outcome": outcome, "why": why[:600]})
        with Path(os.environ["OUTCOMES"]).open("a") as file:
            file.write(line + "\n")


@pytest.hookimpl
def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that can't be collected is a test that failed: it must not vanish from one of the two counts."""
    if report.failed:
        line = json.dumps({"test": report.nodeid, "outcome": "failed", "why": str(report.longrepr)[-600:]})
        with Path(os.environ["OUTCOMES"]).open("a") as file:
            file.write(line + "\n")
