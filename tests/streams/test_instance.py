"""Two processes of one installation never have the same name; one that was killed gets its name back."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taprail.schemas.errors import StackError
from taprail.streams import instance as names
from taprail.streams.instance import instance


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_names_differ_while_both_run_and_come_back_afterwards(tmp_path: Path) -> None:
    with instance("stream", tmp_path) as first:
        with instance("stream", tmp_path) as second:
            assert first != second
        with instance("stream", tmp_path) as third:
            assert third == second
    with instance("stream", tmp_path) as again:
        assert again == first


def test_installations_and_roles_count_by_themselves(tmp_path: Path) -> None:
    with (
        instance("stream", tmp_path / "a") as one,
        instance("stream", tmp_path / "b") as other,
        instance("tap", tmp_path / "a") as role,
    ):
        assert one == other == role


def test_a_killed_process_gives_its_name_back(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from taprail.streams.instance import instance
with instance("stream", Path({str(tmp_path)!r})) as name:
    print(name, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = process.stdout.readline().strip()
        with instance("stream", tmp_path) as ours:
            assert ours != theirs
        process.send_signal(signal.SIGKILL)
        process.wait()
        with instance("stream", tmp_path) as ours:
            assert ours == theirs


def test_where_all_names_are_taken_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "INSTANCES_MAX", 1)
    with instance("stream", tmp_path), pytest.raises(StackError, match="1 processes"), instance("stream", tmp_path):
        pass
