"""Keys that clients get for CancelRequest: the tap's own, so that a client never learns the server's.

Several processes may serve one port, and a CancelRequest comes on a connection of its own, which may reach another of
them. So the process id of a key says whose it is: six bits of its number and 25 random ones, below 2^31 as a real one.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections.abc import Callable

from taprail.schemas.errors import StackError

PROCESSES_MAX = 64
_PROCESS_SHIFT = 25
_KEY_BYTES = {False: 4, True: 32}  # protocol 3.0; 3.2 allows 4 to 256

Forward = Callable[[int, int, bytes], None]


class CancelKeys:
    """(pid, key) of open sessions. `per_second` limits the requests that are looked at, all sessions together.

    `forward(process, pid, key)` hands a request on to the process whose it is; that one knows whether it is right.
    """

    def __init__(self, per_second: float, process: int = 0, forward: Forward | None = None) -> None:
        if not 0 <= process < PROCESSES_MAX:
            raise StackError(f"process {process} of a tap", hint=f"a tap has at most {PROCESSES_MAX} processes")
        self._open: dict[int, tuple[bytes, Callable[[], None]]] = {}
        self._per_second, self._process, self._forward = per_second, process, forward
        self._allowance = per_second
        self._at = time.monotonic()

    def limit(self, per_second: float) -> None:
        """Another limit from now on."""
        self._per_second = per_second

    def add(self, minor: int, cancel: Callable[[], None]) -> tuple[int, bytes]:
        """A new key: 4 bytes in protocol 3.0, 32 from 3.2 on. `cancel` is called when somebody shows it."""
        first = self._process << _PROCESS_SHIFT
        while (pid := first | secrets.randbelow(1 << _PROCESS_SHIFT)) in self._open or pid == 0:
            pass
        key = os.urandom(_KEY_BYTES[minor >= 2])
        self._open[pid] = key, cancel
        return pid, key

    def remove(self, pid: int) -> None:
        self._open.pop(pid, None)

    def request(self, pid: int, key: bytes) -> None:
        """A CancelRequest of anybody: carry it out or hand it on. A wrong one, or one too many, does nothing."""
        if not self._allowed():
            return
        owner = pid >> _PROCESS_SHIFT
        if owner == self._process:
            self.carry_out(pid, key)
        elif self._forward is not None and owner < PROCESSES_MAX:
            self._forward(owner, pid, key)

    def carry_out(self, pid: int, key: bytes) -> None:
        """Cancel what runs under this key, if it is one: also for a request that another process handed on."""
        expected, cancel = self._open.get(pid, (b"", None))
        if cancel is not None and hmac.compare_digest(expected, key):
            cancel()

    def _allowed(self) -> bool:
        now = time.monotonic()
        self._allowance = min(self._per_second, self._allowance + (now - self._at) * self._per_second)
        self._at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
