"""Keys are made once, private, and never overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from taprail.schemas.errors import SettingsError
from taprail.streams import keys


def test_a_pair_signs_and_verifies(tmp_path: Path) -> None:
    keys.new_pair(tmp_path / "a.pem", tmp_path / "a.pub")
    private = keys.private_key((tmp_path / "a.pem").read_text(), "keys.control_private")
    keys.public_key(tmp_path / "a.pub", "keys.control_public").verify(private.sign(b"x"), b"x")
    assert stat.S_IMODE((tmp_path / "a.pem").stat().st_mode) == 0o600


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    keys.new_symmetric(tmp_path / "mark")
    before = (tmp_path / "mark").read_bytes()
    with pytest.raises(SettingsError, match="is there already"):
        keys.new_symmetric(tmp_path / "mark")
    assert (tmp_path / "mark").read_bytes() == before
    assert len(keys.symmetric(before.decode().strip(), "keys.mark")) == keys.SYMMETRIC_BYTES


@pytest.mark.parametrize("text", ["", "zz", "abcd", "not hex at all"])
def test_a_secret_that_is_no_key_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"keys\.mark is not 32 bytes"):
        keys.symmetric(text, "keys.mark")


def test_another_kind_of_pem_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(SettingsError, match="is not a PEM public key"):
        keys.public_key(tmp_path / "x", "keys.control_public")
