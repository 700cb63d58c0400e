"""What an installation on this machine decides before it starts anything: its ports, and whether it runs already."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil
import pytest
from msgspec import json

from taprail.connectors.local.ports import LOOPBACK
from taprail.schemas.errors import StackError
from taprail.streams.local import LocalInstallation, Running, _claim, running_in


def _free() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def test_a_port_is_claimed_once_and_free_again_afterwards() -> None:
    """Two that start at once see nobody listen yet: the claim decides."""
    port = _free()
    claim = _claim(port)
    assert claim is not None and _claim(port) is None
    claim.close()
    again = _claim(port)
    assert again is not None
    again.close()


def test_a_port_that_is_listened_on_is_not_claimed() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert _claim(port) is None
        assert _claim(port) is None


def test_other_ports_are_taken_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        taken, free = server.getsockname()[1], _free()
        monkeypatch.setattr("taprail.streams.local.PORTS", {"tap": taken, "approvals": free})
        said: list[str] = []
        installation = LocalInstallation(tmp_path, said.append)
        ports = installation._ports()
        assert ports["approvals"] == free and ports["tap"] not in (taken, free)
        assert said == [f"port {taken} is taken: tap listens on {ports['tap']}"]
        assert installation._ports()["tap"] == ports["tap"], "the same one again"
        installation.stop()


def _state(home: Path, pid: int, started: float) -> None:
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "up.json").write_bytes(json.encode(Running(pid, started, "127.0.0.1:1", "http://127.0.0.1:2")))


def test_a_process_is_known_by_its_start_not_its_id_alone(tmp_path: Path) -> None:
    own = psutil.Process().create_time()
    _state(tmp_path, os.getpid(), own)
    assert running_in(tmp_path).pid == os.getpid()
    _state(tmp_path, os.getpid(), own - 10)
    with pytest.raises(StackError, match="no stack runs"):
        running_in(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"pid": "x"}', "\x00"])
def test_a_state_that_cannot_be_read_is_no_stack(text: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "up.json").write_text(text)
    with pytest.raises(StackError, match="no stack runs"):
        running_in(tmp_path)


def test_who_stops_takes_back_only_his_own_word(tmp_path: Path) -> None:
    _state(tmp_path, os.getppid(), psutil.Process(os.getppid()).create_time())
    LocalInstallation(tmp_path, print).stop()
    assert running_in(tmp_path).pid == os.getppid(), "another's installation runs on"
