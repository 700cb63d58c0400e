"""The policies that ship: each does what its own tests say, and has some of both kinds."""

from __future__ import annotations

import pytest

from taprail.streams.policy.load import files, parse, read
from taprail.streams.policy.packs import BASE, shipped
from taprail.streams.policy.trial import Tried, try_all

TRIED = list(try_all(shipped().policies))


@pytest.mark.parametrize("tried", TRIED, ids=[f"{each.policy}-{each.must}-{each.sql}" for each in TRIED])
def test_a_policy_does_what_its_tests_say(tried: Tried) -> None:
    assert tried.wrong == ""


@pytest.mark.parametrize("path", files(BASE), ids=lambda path: path.stem)
def test_a_file_is_a_whole_policy(path) -> None:
    policy = parse(path.name, read(path))
    assert policy.id == path.stem and policy.acts
    assert policy.description and policy.tags and any(tag.startswith("soc2.") for tag in policy.tags)
    if policy.correlation is None:
        assert len(policy.tests.match) >= 1 and len(policy.tests.passes) >= 2
    if policy.verdict in ("deny", "hold"):
        assert policy.message and policy.hint, "whoever is stopped is told why, and what to do next"
