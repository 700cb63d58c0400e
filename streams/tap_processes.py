"""One tap in several processes, one a core: they share the addresses (SO_REUSEPORT) and nothing else.

Each has an id, a spool and a numbering of its own, as if it were a tap of its own: the first has the tap's, the others
`<id>.<number>`. The parent forks them before it does anything else, starts again what dies, and passes signals on.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from taprail.schemas.errors import StackError, TaprailError
from taprail.streams.settings import Loaded

log = logging.getLogger("taprail.tap")
RESTART_SECONDS_MIN, RESTART_SECONDS_MAX, STEADY_SECONDS = 0.2, 15.0, 30.0
WATCH_SECONDS = 0.1
STOP_SECONDS_MAX = 20.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
Work = Callable[[Loaded, int, threading.Event, Callable[[], None]], None]  # the whole tap's settings, and a number


def of_process(loaded: Loaded, process: int) -> Loaded:
    """The settings as one of the processes has them: its own id and spool."""
    if process == 0:
        return loaded
    tap = loaded.settings.tap
    own = replace(tap, id=f"{tap.id}.{process}", spool=f"{tap.spool}.{process}")
    return replace(loaded, settings=replace(loaded.settings, tap=own))


def ids(loaded: Loaded) -> list[str]:
    """What the processes of a tap are called in records."""
    return [of_process(loaded, process).settings.tap.id for process in range(loaded.settings.tap.processes)]


def admin_socket(loaded: Loaded, process: int) -> Path:
    """Where a process is asked for something. `loaded` are the settings of the whole tap."""
    spool = loaded.path(of_process(loaded, process).settings.tap.spool)
    return spool.with_name(spool.name + ".sock")


def left_over(loaded: Loaded) -> list[int]:
    """Processes that there are no more of, whose spool still holds something: the tap had more of them once."""
    spool, processes = loaded.path(loaded.settings.tap.spool), loaded.settings.tap.processes
    found = []
    for path in spool.parent.glob(f"{spool.name}.*/"):
        number = path.name.removeprefix(f"{spool.name}.")
        if (
            number.isdecimal()
            and int(number) >= processes
            and any(segment.stat().st_size for segment in path.glob("*.seg"))
        ):
            found.append(int(number))
    return sorted(found)


class _Process:
    """A forked child. `ready` is the reading end of a pipe that it writes to when it serves."""

    def __init__(self, number: int, work: Work) -> None:
        self.number, self._work = number, work
        self.pid, self.ready, self.is_ready = 0, -1, False
        self._started, self._delay, self.due = 0.0, RESTART_SECONDS_MIN, 0.0

    def start(self, loaded: Loaded, stop: threading.Event) -> None:
        self.ready, writing = os.pipe()
        self._started, self.is_ready = time.monotonic(), False
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid:
            os.close(writing)
            return
        code = 1
        try:
            _die_with(parent)
            os.close(self.ready)
            self._work(loaded, self.number, stop, lambda: _say_ready(writing))
            code = 0
        except TaprailError as error:
            print(f"taprail: {error}", file=sys.stderr)
        except BaseException:
            log.exception("process %d of the tap failed", self.number)
        finally:
            logging.shutdown()
            os._exit(code)  # the parent's exit handlers are the parent's

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if not self.pid:
            return None
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        self.pid = 0
        os.close(self.ready)
        steady = time.monotonic() - self._started > STEADY_SECONDS
        self._delay = RESTART_SECONDS_MIN if steady else min(self._delay * 2, RESTART_SECONDS_MAX)
        self.due = time.monotonic() + self._delay
        return os.waitstatus_to_exitcode(status)

    def look(self) -> None:
        if self.pid and not self.is_ready and select.select([self.ready], [], [], 0)[0]:
            self.is_ready = os.read(self.ready, 1) == b"r"

    def signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def serve_all(loaded: Loaded, stop: threading.Event, ready: Callable[[], None], serve: Work, drain: Work) -> None:
    """Run every process until `stop`. Raises StackError where one ends before it has ever served.

    `serve` is what a process does; `drain` empties the spool of one that there is no more of.
    """
    serving = [_Process(number, serve) for number in range(loaded.settings.tap.processes)]
    draining = [_Process(number, drain) for number in left_over(loaded)]
    every = serving + draining

    def hang_up(*_: object) -> None:
        for each in serving:
            each.signal(signal.SIGHUP)

    signal.signal(signal.SIGHUP, hang_up)
    told = False
    try:
        for each in every:
            each.start(loaded, stop)
        while not stop.wait(WATCH_SECONDS):
            _watch(every, draining, loaded, stop, told)
            if not told and all(each.is_ready for each in serving):
                told = True
                ready()
    finally:
        _stop(every)


def _watch(every: list[_Process], draining: list[_Process], loaded: Loaded, stop: threading.Event, told: bool) -> None:
    for each in every:
        each.look()
        code = each.ended()
        if code is not None:
            if each in draining and code == 0:
                log.info("the spool of process %d, which there is no more, is empty", each.number)
                each.due = float("inf")
            elif not told and each not in draining:
                raise StackError(f"process {each.number} of the tap ended with code {code}", hint="its log says why")
            else:
                log.error("process %d of the tap ended with code %d; it starts again", each.number, code)
        if not each.pid and time.monotonic() >= each.due:
            each.start(loaded, stop)


def _stop(every: list[_Process]) -> None:
    for each in every:
        each.signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while any(each.pid for each in every):
        for each in every:
            each.ended()
            if time.monotonic() > deadline:
                each.signal(signal.SIGKILL)
        time.sleep(0.02)


def _say_ready(writing: int) -> None:
    os.write(writing, b"r")
    os.close(writing)


def _die_with(parent: int) -> None:
    """The kernel ends us when the parent dies, however it does; where there is no prctl(2) the parent must do so."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
