"""The list of defences is as old as the code: each text stands exactly once, and each test is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.defences import Mutant
from tests.mutants.run import MUTANTS

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies_and_is_still_python(mutant: Mutant) -> None:
    text = (ROOT / mutant.path).read_text()
    assert text.count(mutant.source) == 1
    ast.parse(text.replace(mutant.source, mutant.replacement))
    assert mutant.why and mutant.tests
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text()


def test_names_are_unique_and_the_defences_many() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40
