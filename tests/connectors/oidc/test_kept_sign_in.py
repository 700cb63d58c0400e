"""The file with a person's tokens: nobody else's to read, whole at any moment, one program at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from taprail.connectors.oidc.device import Client, Granted
from taprail.connectors.oidc.kept import Kept, locked, path_of, read, write
from taprail.schemas.errors import RefusedError, SettingsError

KEPT = Kept(Client("https://idp.example", "cli"), Granted("access", 1.0, "refresh"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return path_of("default")


def test_it_comes_back_and_is_its_owners_alone(path: Path) -> None:
    assert read(path) is None
    before = os.umask(0)
    try:
        write(path, KEPT)
    finally:
        os.umask(before)
    assert read(path) == KEPT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["default.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_could_touch_is_refused(path: Path, mode: int) -> None:
    write(path, KEPT)
    path.chmod(mode)
    with pytest.raises(RefusedError, match="isn't only yours"):
        read(path)


def test_a_link_isnt_followed_and_rubbish_is_damage(path: Path, tmp_path: Path) -> None:
    write(path, KEPT)
    other = tmp_path / "other.json"
    path.rename(other)
    path.symlink_to(other)
    with pytest.raises(RefusedError, match="can't read"):
        read(path)
    path.unlink()
    other.write_bytes(b'{"client": 7}')
    other.chmod(0o600)
    other.rename(path)
    with pytest.raises(RefusedError, match="damaged"):
        read(path)


@pytest.mark.parametrize("name", ["", ".", "..", "../default", "a/b", "a\0b", "x" * 64, "-x"])
def test_a_profile_is_no_path(name: str) -> None:
    with pytest.raises(SettingsError):
        path_of(name)


def test_a_relative_state_directory_is_ignored_as_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert path_of("default").is_relative_to(Path.home() / ".local" / "state")


def test_two_programs_take_turns(path: Path) -> None:
    held = "import sys; from pathlib import Path; from taprail.connectors.oidc.kept import locked\n"
    held += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read(1); print('over', flush=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", held, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    assert child.stdout.readline() == "held\n"
    child.stdin.write("x")
    child.stdin.flush()
    with locked(path):
        assert child.stdout.readline() == "over\n"
    assert child.wait(10) == 0
