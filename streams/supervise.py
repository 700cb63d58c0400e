"""The roles as child processes: started in order, restarted when they die, never outliving the supervisor."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from taprail.connectors.local.process import Child
from taprail.schemas.errors import StackError

ROLES = ("signer", "ledger", "stream", "agents", "tap")  # in the order of their start
READY_SECONDS_MAX = 60.0
RESTART_SECONDS_MIN, RESTART_SECONDS_MAX = 0.2, 15.0
STEADY_SECONDS = 30.0  # a role that ran this long starts again at once


class Supervised:
    """One role: its process, and how long to wait before it is started again."""

    def __init__(self, role: str, config: Path, run: Path) -> None:
        self.role = role
        self.ready_file = run / f"{role}.ready"
        command = [sys.executable, "-m", "taprail.streams.cli", "run", role, "--config", str(config)]
        self.child = Child(role, [*command, "--ready-file", str(self.ready_file)], log=run / f"{role}.log")
        self.restarts = 0
        self._started = 0.0
        self._delay = RESTART_SECONDS_MIN
        self._due: float | None = None

    def start(self) -> None:
        self.ready_file.unlink(missing_ok=True)
        self._started, self._due = time.monotonic(), None
        self.child.start()

    def wait_ready(self) -> None:
        self.child.wait_ready(self.ready_file.exists, READY_SECONDS_MAX)

    def check(self, now: float) -> str:
        """Start the role again where it died and its wait is over; returns what happened, '' for nothing."""
        if self.child.running:
            return ""
        if self._due is None:
            steady = now - self._started > STEADY_SECONDS
            self._delay = RESTART_SECONDS_MIN if steady else min(self._delay * 2, RESTART_SECONDS_MAX)
            self._due = now + self._delay
            return f"{self.role} ended; it starts again in {self._delay:.1f} s (its log: {self.child.log})"
        if now < self._due:
            return ""
        self.restarts += 1
        self.start()
        return f"{self.role} started again (pid {self.child.pid})"


class Supervisor:
    def __init__(self, config: Path, run: Path, roles: tuple[str, ...] = ROLES) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.roles = [Supervised(role, config, run) for role in roles]

    def start(self, progress: Callable[[str], None]) -> None:
        """Start all of them, wait until each is ready. Raises StackError with the log's tail where one isn't."""
        for supervised in self.roles:
            supervised.start()
        for supervised in self.roles:
            supervised.wait_ready()
            progress(f"{supervised.role} is ready")

    def watch(self, progress: Callable[[str], None]) -> None:
        """One round of the watch: call it several times a second."""
        now = time.monotonic()
        for supervised in self.roles:
            if told := supervised.check(now):
                progress(told)

    def stop(self) -> None:
        """Stop them in the reverse order, so that what a tap wrote is drained by those behind it."""
        for supervised in reversed(self.roles):
            supervised.child.stop()

    def __getitem__(self, role: str) -> Supervised:
        for supervised in self.roles:
            if supervised.role == role:
                return supervised
        raise StackError(f"no role is called {role!r}", hint=f"there are {', '.join(ROLES)}")
