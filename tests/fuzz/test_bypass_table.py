"""docs/bypasses.md names tests that exist: a row whose tests have gone is a way in that nobody tries any more."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_row_names_tests_that_exist() -> None:
    rows = [line for line in (ROOT / "docs/bypasses.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 16
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
        assert named, row
        for path, test in named:
            found = ROOT / (path if path.startswith("tests/") else f"tests/connectors/postgres/{path}")
            assert re.search(rf"^(async )?def {test}\(", found.read_text(), re.MULTILINE), f"{path}::{test}"
