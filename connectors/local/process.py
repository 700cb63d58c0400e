"""Child processes that never outlive this one, even when it is killed with SIGKILL."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from taprail.schemas.errors import StackError

_SHIM = Path(__file__).with_name("shim.py")
_TAIL_BYTES = 4_000


class _Launcher:
    """One thread, alive as long as this process, that forks every child.

    Linux sends the parent-death signal when the *thread* that forked ends (prctl(2)), so a child that was started from
    a worker thread would die with that thread.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._jobs = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def popen(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # not alive: we are a fork of the first process
                self._thread = threading.Thread(target=self._run, name="child-launcher", daemon=True)
                self._thread.start()
        answer: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((start, answer))
        return answer.result()

    def _run(self) -> None:
        while True:
            start, answer = self._jobs.get()
            try:
                answer.set_result(start())
            except BaseException as error:  # it belongs to the caller, whatever it is
                answer.set_exception(error)


_launcher = _Launcher()


class Child:
    """A running program: its own session and process group, its output in a log file.

    `stop_signal` asks it to end; `death_signal` is what the kernel sends it when this process dies first.
    `user` is (uid, gid) to run as, or None for our own.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: tuple[int, int] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._env = dict(os.environ if env is None else env)
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._death_signal = death_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id; -1 before the start."""
        return self._process.pid if self._process else -1

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Child:
        """Start the program. The log of the run before is kept once, as `<log>.1`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_name(self.log.name + ".1"))
        uid, gid = self._user or (-1, -1)
        shim = [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), str(int(self._death_signal))]
        with self.log.open("ab") as output:
            self.log.chmod(0o600)
            self._process = _launcher.popen(
                lambda: subprocess.Popen(
                    [*shim, str(uid), str(gid), "--", *self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                )
            )
        return self

    def wait_ready(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll `ready` until it is true; StackError with the log's tail when the program ends or time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise self._failure(f"{self.name} was not ready within {timeout_s:.0f} s")
            time.sleep(0.05)

    def check(self) -> None:
        """StackError with the log's tail when the program has ended."""
        if not self.running:
            raise self._failure(f"{self.name} ended with code {self._process and self._process.returncode}")

    def wait_end(self, timeout_s: float) -> None:
        """Wait for a program that ends by itself; StackError unless it ends with code 0 in time."""
        assert self._process is not None, "start() comes first"
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failure(f"{self.name} did not end within {timeout_s:.0f} s") from None
        if code != 0:
            raise self._failure(f"{self.name} ended with code {code}")

    def stop(self, timeout_s: float = 15.0) -> None:
        """Ask it to end, wait, and kill its whole process group when it doesn't."""
        if self._process is None:
            return
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole process group, and reap it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self) -> str:
        """The end of its log, a few kilobytes."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def _failure(self, message: str) -> StackError:
        tail = "\n    ".join(self.tail().splitlines()[-15:])
        return StackError(f"{message}; the end of its log:\n    {tail}\n", hint=f"the whole log is {self.log}")
