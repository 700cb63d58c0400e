"""A child ends with its parent, however the parent ends; and a child that dies says why."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from taprail.connectors.local.process import Child
from taprail.schemas.errors import StackError

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT = """
import sys, time
from pathlib import Path
from taprail.connectors.local.process import Child
child = Child("sleeper", [sys.executable, "-c", {program!r}], log=Path(sys.argv[1])).start()
child.wait_ready(lambda: child.tail() == "up", 10)
print(child.pid, flush=True)
time.sleep(60)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_dead(pid: int, timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def test_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = PARENT.format(program=STUBBORN)
    with subprocess.Popen([sys.executable, "-c", program, tmp_path / "log"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    assert wait_dead(child)


def test_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    child = Child("sleeper", SLEEP, log=tmp_path / "log")
    thread = threading.Thread(target=child.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert child.running
    child.kill()


def test_stop_kills_what_ignores_the_signal(tmp_path: Path) -> None:
    child = Child("stubborn", [sys.executable, "-c", STUBBORN], log=tmp_path / "log").start()
    child.wait_ready(lambda: child.tail() == "up", 10)
    child.stop(timeout_s=0.2)
    assert not is_alive(child.pid)


def test_stop_takes_the_grandchildren_along(tmp_path: Path) -> None:
    program = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin = None; "
    child = Child("parent", [sys.executable, "-c", program + "import time; time.sleep(60)"], log=tmp_path / "log")
    child.start()
    child.wait_ready(lambda: child.tail().isdigit(), 10)
    grandchild = int(child.tail())
    child.stop(timeout_s=2)
    assert wait_dead(grandchild)


def test_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    child = Child("broken", [sys.executable, "-c", "raise SystemExit('no disk left')"], log=tmp_path / "log").start()
    with pytest.raises(StackError, match="no disk left") as caught:
        child.wait_ready(lambda: False, 10)
    assert str(tmp_path / "log") in caught.value.hint


def test_wait_ready_ends_in_time(tmp_path: Path) -> None:
    child = Child("slow", SLEEP, log=tmp_path / "log").start()
    with pytest.raises(StackError, match="was not ready"):
        child.wait_ready(lambda: False, 0.2)
    child.kill()


def test_log_is_private_and_the_one_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "echo.log"
    for word in ("first", "second"):
        Child("echo", ["/bin/echo", word], log=log).start().wait_end(5)
    assert (log.read_text(), log.with_name("echo.log.1").read_text()) == ("second\n", "first\n")
    assert log.stat().st_mode & 0o077 == 0


def test_terminal_interrupt_does_not_reach_children(tmp_path: Path) -> None:
    child = Child("sleeper", SLEEP, log=tmp_path / "log").start()
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    child.kill()
    assert not child.running
