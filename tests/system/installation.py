"""An installation of its own, for tests of the whole: started, asked and stopped by the command line, as by people."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import psycopg

from taprail.connectors.local.identity import access_token
from taprail.connectors.local.process import Child
from taprail.streams import settings
from taprail.streams.audit import questions
from taprail.streams.supervise import ROLES

TAPRAIL = (sys.executable, "-m", "taprail.streams.cli")
COMMAND_SECONDS_MAX = 110
UP_SECONDS_MAX = 110


def taprail(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command of `taprail`, to its end, without a terminal."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TAPRAIL_")} | environment
    command = [*TAPRAIL, *map(str, arguments)]
    return subprocess.run(command, env=env, text=True, capture_output=True, timeout=COMMAND_SECONDS_MAX, check=False)


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that has this home in its command line or works in it, zombies left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if str(home) in " ".join(process.cmdline()) or process.cwd().startswith(str(home)):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def eventually(holds: Callable[[], Any], seconds_max: float, what: str = "") -> Any:
    """Ask until the answer is true, and return it; AssertionError with the last answer when the time is up."""
    deadline = time.monotonic() + seconds_max
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"not within {seconds_max} s: {what or holds}: {answer!r}"
        time.sleep(0.1)
    return answer


class Installation:
    """`taprail up` in `home`, with the questions that tests ask it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """One command on this home, to its end."""
        return taprail(*arguments, "--home", self.home, **environment)

    def status(self) -> dict[str, Any]:
        answer = self.run("status", "--json")
        assert answer.stdout, answer.stderr
        found: dict[str, Any] = json.loads(answer.stdout)
        assert answer.returncode == (1 if found["missing"] else 0)
        return found

    def pid(self, name: str) -> int:
        """The process of a role or a part; 0 where it doesn't run."""
        return next((int(p["pid"]) for p in self.status()["processes"] if p["name"] == name), 0)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill a role or a part of the stack, and wait until the supervisor has it back, a role until it is ready."""
        before = self.pid(name)
        os.kill(before, number)
        eventually(lambda: self.pid(name) not in (0, before), 45, f"{name} is back")
        if name in ROLES:
            eventually((self.home / "run" / f"{name}.ready").exists, 45, f"{name} is ready")

    @cached_property
    def loaded(self) -> settings.Loaded:
        return settings.load(self.home / "taprail.toml")

    def token(self, person: str) -> str:
        return access_token(self.loaded.settings.identity.issuer, person)

    def connect(self, person: str, database: str = "prod") -> psycopg.Connection[Any]:
        """Through the tap, with a new token."""
        tap = self.loaded.settings.tap
        return psycopg.connect(
            host=tap.host,
            port=tap.port,
            user=person,
            dbname=database,
            password=self.token(person),
            sslmode="require",
            autocommit=True,
            connect_timeout=10,
        )

    def directly(self, database: str = "prod") -> psycopg.Connection[Any]:
        """Round the tap, as the superuser."""
        found = self.loaded.database(database)
        assert found is not None and found.admin_password is not None
        return psycopg.connect(
            host=found.host,
            port=found.port,
            user=found.admin_role,
            dbname=found.upstream,
            password=self.loaded.secret(found.admin_password),
            autocommit=True,
        )

    @property
    def log(self) -> Path:
        return self.loaded.path(self.loaded.settings.ledger.directory)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """A question to the log."""
        return questions.sql(self.log, query)[1]


@contextmanager
def new_home(prefix: str = "taprail-test-") -> Iterator[Path]:
    """An empty directory that PostgreSQL's own user may pass through, which pytest's directories don't allow."""
    home = Path(tempfile.mkdtemp(prefix=prefix))
    home.chmod(0o711)
    try:
        yield home
    finally:
        for process in processes_of(home):
            process.kill()
        shutil.rmtree(home)


@contextmanager
def installed(home: Path) -> Iterator[Installation]:
    """An installation that is up. It ends with the block, and with this process, however that ends."""
    child = Child("taprail up", [*TAPRAIL, "up", "--home", str(home)], log=home / "up.log").start()
    try:
        child.wait_ready((home / "run" / "up.json").exists, UP_SECONDS_MAX)
        yield Installation(home)
    finally:
        child.stop(timeout_s=60)
