"""An approval for one run is used once, whoever comes first."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from taprail.schemas.errors import RefusedError, SpoolError
from taprail.streams.approvals.spent import KEPT_SECONDS, Spent


def test_it_is_used_once_and_others_know(tmp_path: Path) -> None:
    one, other = Spent(tmp_path / "spent"), Spent(tmp_path / "spent")
    assert not one.holds("a/../b")
    one.spend("a/../b")
    assert other.holds("a/../b") and not other.holds("a")
    with pytest.raises(RefusedError, match="was used already"):
        other.spend("a/../b")


def spends(folder: Path) -> bool:
    try:
        Spent(folder).spend("a")
    except RefusedError:
        return False
    return True


def test_of_many_processes_one_uses_it(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        assert sum(pool.map(spends, [tmp_path / "spent"] * 40)) == 1


def test_what_can_not_be_remembered_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "spent").write_text("a file where the folder should be")
    with pytest.raises(SpoolError, match="can't be remembered"):
        Spent(tmp_path / "spent").spend("a")


def test_old_ones_are_forgotten(tmp_path: Path) -> None:
    spent = Spent(tmp_path)
    spent.spend("old")
    (file,) = tmp_path.iterdir()
    os.utime(file, (time.time() - KEPT_SECONDS - 1,) * 2)
    spent.spend("new")
    assert (spent.holds("old"), spent.holds("new")) == (False, True)
