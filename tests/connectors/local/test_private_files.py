"""Passwords: generated once, private, and refused when others can read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from taprail.connectors.local.private import password, write_private
from taprail.schemas.errors import StackError


def test_password_is_random_and_kept(tmp_path: Path) -> None:
    first = password(tmp_path / "secrets", "tap")
    assert password(tmp_path / "secrets", "tap") == first
    assert password(tmp_path / "secrets", "stream") != first
    assert len(first) >= 32
    assert (tmp_path / "secrets" / "tap").stat().st_mode & 0o777 == 0o600


def test_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    password(tmp_path, "tap")
    (tmp_path / "tap").chmod(0o644)
    with pytest.raises(StackError, match="others can read"):
        password(tmp_path, "tap")


def test_an_open_file_becomes_private_when_it_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o666)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
