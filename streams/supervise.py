"""The roles as child processes: started in order, restarted when they die, never outliving the supervisor."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from taprail.connectors.local.process import Child
from taprail.schemas.errors import StackError

ROLES = ("signer", "ledger", "stream", "agents", "tap")  # in the order of their start
READY_SECONDS_MAX = 60.0
RESTART_SECONDS_MIN, RESTART_SECONDS_MAX = 0.2, 15.0
STEADY_SECONDS = 30.0  # a role that ran this long starts again at once


class Restarted:
    """A process that is started again when it has died, and how long to wait before that."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.restarts = 0
        self._started = time.monotonic()
        self._delay = RESTART_SECONDS_MIN
        self._due: float | None = None

    @property
    def name(self) -> str:
        return self.child.name

    def start(self) -> None:
        self._started, self._due = time.monotonic(), None
        self.child.start()

    def check(self, now: float) -> str:
        """Start it again where it died and its wait is over; returns what happened, '' for nothing."""
        if self.child.running:
            return ""
        if self._due is None:
            steady = now - self._started > STEADY_SECONDS
            self._delay = RESTART_SECONDS_MIN if steady else min(self._delay * 2, RESTART_SECONDS_MAX)
            self._due = now + self._delay
            return f"{self.name} ended; it starts again in {self._delay:.1f} s (its log: {self.child.log})"
        if now < self._due:
            return ""
        self.restarts += 1
        self.start()
        return f"{self.name} started again (pid {self.child.pid})"


class Supervised(Restarted):
    """One role; `ready_file` is there while it serves."""

    def __init__(self, role: str, config: Path, run: Path) -> None:
        self.role = role
        self.ready_file = run / f"{role}.ready"
        command = [sys.executable, "-m", "taprail.streams.cli", "run", role, "--config", str(config)]
        super().__init__(Child(role, [*command, "--ready-file", str(self.ready_file)], log=run / f"{role}.log"))

    def start(self) -> None:
        self.ready_file.unlink(missing_ok=True)
        super().start()

    def wait_ready(self) -> None:
        self.child.wait_ready(self.ready_file.exists, READY_SECONDS_MAX)


class Supervisor:
    def __init__(self, config: Path, run: Path, roles: tuple[str, ...] = ROLES) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.roles = [Supervised(role, config, run) for role in roles]
        self._parts: list[Restarted] = []

    def adopt(self, parts: Iterable[Child]) -> None:
        """Watch these running processes as well; who made them stops them."""
        self._parts = [Restarted(part) for part in parts]

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
        for each in (*self._parts, *self.roles):
            if told := each.check(now):
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
