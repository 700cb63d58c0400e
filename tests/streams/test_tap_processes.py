"""Several processes of one tap on one port: who gets a connection, whose cancel it is, who dies and what is left."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from taprail.streams import settings
from taprail.streams.tap_processes import admin_socket, left_over, of_process
from tests.fakes.running_tap import RunningTap


def test_connections_are_shared_and_a_cancel_finds_its_process(tmp_path, stack, fresh_database):
    with RunningTap(tmp_path, stack, fresh_database, tap="processes = 2") as tap:
        connections = [tap.connect() for _ in range(16)]
        assert {process_of(tap, each) for each in connections} == {0, 1}
        for each in connections[:6]:
            threading.Timer(0.2, each.cancel_safe).start()
            with pytest.raises(psycopg.errors.QueryCanceled):
                each.execute("SELECT pg_sleep(20)")
        for each in connections:
            each.close()
        assert tap.stop() == 0
    spools = {path.name for path in tmp_path.glob("spool*/")}
    assert spools == {"spool", "spool.1", "spool.history"} and not list(tmp_path.glob("*.sock"))


def test_a_process_that_dies_is_started_again_and_the_others_serve(tmp_path, stack, fresh_database):
    with RunningTap(tmp_path, stack, fresh_database, tap="processes = 2") as tap:
        connections = [tap.connect() for _ in range(12)]
        before = tap.children()
        alive = [each for each in connections if process_of(tap, each) == 0]
        os.kill(before[1], signal.SIGKILL)
        tap.said("process 1 of the tap ended with code -9")
        assert alive and all(each.execute("SELECT 1").fetchone() == (1,) for each in alive)
        deadline = time.monotonic() + 20
        while {connection_process(tap) for _ in range(8)} != {0, 1}:
            assert time.monotonic() < deadline
        assert before[0] in tap.children()


def test_no_process_outlives_its_parent(tmp_path, stack, fresh_database):
    with RunningTap(tmp_path, stack, fresh_database, tap="processes = 2") as tap:
        children = tap.children()
        os.kill(tap.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while any(alive(pid) for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_process_left_that_is_no_more_is_published(tmp_path, stack, fresh_database):
    """With fewer processes than before, a spool would be nobody's: its records are sent all the same."""
    with RunningTap(tmp_path, stack, fresh_database, tap="processes = 2") as tap:
        while {connection_process(tap) for _ in range(8)} != {0, 1}:
            pass
        for pid in (tap.pid, *tap.children()):
            os.kill(pid, signal.SIGKILL)
    tap.write(tap="processes = 1")
    assert left_over(settings.load(tap.config)) == [1]
    with tap:
        tap.said("the spool of process 1, which there is no more, is empty")
        with tap.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def connection_process(tap):
    with tap.connect() as connection:
        return process_of(tap, connection)


def process_of(tap, connection):
    """The number of the process that has the other end of a connection."""
    port = socket.socket(fileno=os.dup(connection.fileno())).getsockname()[1]
    for number, pid in enumerate(tap.children()):
        if any(each.raddr and each.raddr.port == port for each in psutil.Process(pid).net_connections("tcp")):
            return number
    raise AssertionError(f"no process of the tap has a connection to port {port}")


def test_a_tap_that_can_not_start_says_why_and_ends(tmp_path, stack, fresh_database):
    tap = RunningTap(tmp_path, stack, fresh_database, tap='processes = 2\ncertificate = "x"\nprivate_key = "y"')
    with pytest.raises(AssertionError, match="No such file"):
        tap.start()


def test_each_process_has_its_own_id_spool_and_socket(tmp_path, stack):
    loaded = settings.load(RunningTap(tmp_path, stack, "d", tap="processes = 3").config)
    own = [of_process(loaded, number).settings.tap for number in range(3)]
    assert [tap.spool for tap in own] == ["spool", "spool.1", "spool.2"]
    assert [tap.id.removeprefix(own[0].id) for tap in own] == ["", ".1", ".2"]
    assert admin_socket(loaded, 2) == tmp_path / "spool.2.sock"
    for number in (1, 2, 3, 5):
        (tmp_path / f"spool.{number}").mkdir()
        (tmp_path / f"spool.{number}" / "1.seg").write_text("records")
    (tmp_path / "spool.7").mkdir()
    (tmp_path / "spool.7" / "1.seg").touch()
    (tmp_path / "spool.old").mkdir()
    assert left_over(loaded) == [3, 5]
