"""A role that dies is started again, slower each time it dies young."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from taprail.connectors.local.process import Child
from taprail.schemas.errors import StackError
from taprail.streams.supervise import ROLES, Supervised, Supervisor

SLEEPER = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"


def _sleeper(tmp_path: Path) -> Supervised:
    supervised = Supervised("tap", tmp_path / "taprail.toml", tmp_path)
    supervised.child = Child("tap", [sys.executable, "-c", SLEEPER, supervised.ready_file], log=tmp_path / "tap.log")
    return supervised


def test_a_killed_role_is_started_again(tmp_path: Path) -> None:
    supervised = _sleeper(tmp_path)
    try:
        supervised.start()
        supervised.wait_ready()
        first = supervised.child.pid
        os.kill(first, signal.SIGKILL)
        told = []
        deadline = time.monotonic() + 10
        while supervised.restarts == 0 and time.monotonic() < deadline:
            told.append(supervised.check(time.monotonic()))
            time.sleep(0.02)
        assert supervised.child.running
        assert supervised.child.pid != first
        assert any("ended" in line for line in told)
        assert any("started again" in line for line in told)
    finally:
        supervised.child.kill()


def test_a_part_that_somebody_else_started_is_started_again(tmp_path: Path) -> None:
    part = Child("Kafka", [sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "kafka.log").start()
    supervisor = Supervisor(tmp_path / "taprail.toml", tmp_path / "run", roles=())
    supervisor.adopt([part])
    first = part.pid
    try:
        os.kill(first, signal.SIGKILL)
        told: list[str] = []
        deadline = time.monotonic() + 10
        while not (part.running and part.pid != first) and time.monotonic() < deadline:
            supervisor.watch(told.append)
            time.sleep(0.02)
        time.sleep(0.5)  # a program that can't run would have ended by now
        assert part.running and part.pid != first
        assert len(told) == 2
        assert told[0].startswith("Kafka ended; it starts again in ") and told[1].startswith("Kafka started again")
    finally:
        part.kill()


def test_a_role_that_dies_young_waits_longer_each_time(tmp_path: Path) -> None:
    supervised = Supervised("tap", tmp_path / "taprail.toml", tmp_path)
    supervised.child = Child("tap", [sys.executable, "-c", "raise SystemExit(3)"], log=tmp_path / "tap.log")
    supervised.start()
    delays = []
    for _ in range(3):
        while supervised.child.running:
            time.sleep(0.01)
        now = time.monotonic()
        delays.append(supervised.check(now))
        supervised.check(now + 60)
    supervised.child.kill()
    assert [line.split(" again in ")[1][:3] for line in delays] == ["0.4", "0.8", "1.6"]


def test_a_role_that_never_gets_ready_is_an_error_with_its_log(tmp_path: Path) -> None:
    supervised = Supervised("tap", tmp_path / "taprail.toml", tmp_path)
    supervised.child = Child("tap", [sys.executable, "-c", "print('no such file'); exit(1)"], log=tmp_path / "tap.log")
    supervised.start()
    with pytest.raises(StackError, match="no such file"):
        supervised.wait_ready()


def test_every_role_has_a_name_and_an_order(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "taprail.toml", tmp_path / "run")
    assert [s.role for s in supervisor.roles] == list(ROLES)
    assert ROLES.index("signer") < ROLES.index("ledger") < ROLES.index("tap")
    with pytest.raises(StackError, match="no role is called"):
        supervisor["nobody"]
