"""Keys that clients get for CancelRequest: the server's process id, and a secret that is the tap's own.

The process id is the server's, since clients compare it with what notifications and pg_backend_pid() say. It names no
session of the tap by itself: several servers may give the same one. The secret does, and the server's own secret stays
in the tap, so that nobody can cancel at the server what the tap hasn't looked at.

Several processes may serve one port, and a CancelRequest comes on a connection of its own, which may reach any of them.
From protocol 3.2 on the secret's first byte says whose it is; in 3.0 all of its 32 bits are random, so every sibling is
asked.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable

from taprail.schemas.errors import StackError

PROCESSES_MAX = 64
_SHORT, _LONG = 4, 33  # bytes of a secret: protocol 3.0; 3.2 allows 4 to 256
_PID_MAX = 0x7FFF_FFFF

Forward = Callable[[int | None, int, bytes], None]


class CancelKeys:
    """(pid, secret) of open sessions. `per_second` limits the requests that are looked at, all sessions together.

    `forward(process, pid, secret)` hands a request on to the process whose it is, or to all others where `process` is
    None; they know whether it is right.
    """

    def __init__(self, per_second: float, process: int = 0, forward: Forward | None = None) -> None:
        if not 0 <= process < PROCESSES_MAX:
            raise StackError(f"process {process} of a tap", hint=f"a tap has at most {PROCESSES_MAX} processes")
        self._open: dict[int, dict[bytes, Callable[[], None]]] = {}
        self._per_second, self._process, self._forward = per_second, process, forward
        self._allowance = per_second
        self._at = time.monotonic()

    def limit(self, per_second: float) -> None:
        """Another limit from now on."""
        self._per_second = per_second

    def add(self, minor: int, server_pid: int, cancel: Callable[[], None]) -> tuple[int, bytes]:
        """A new key; `cancel` is called when somebody shows it. A server that tells no process id gets one here."""
        pid = server_pid or 1 + secrets.randbelow(_PID_MAX)
        opened = self._open.setdefault(pid, {})
        while (secret := self._secret(minor)) in opened:
            pass
        opened[secret] = cancel
        return pid, secret

    def remove(self, pid: int, secret: bytes) -> None:
        opened = self._open.get(pid, {})
        opened.pop(secret, None)
        if not opened:
            self._open.pop(pid, None)

    def request(self, pid: int, secret: bytes) -> None:
        """A CancelRequest of anybody: carry it out or hand it on. A wrong one, or one too many, does nothing."""
        if not self._allowed() or self.carry_out(pid, secret) or self._forward is None:
            return
        if len(secret) == _SHORT:
            self._forward(None, pid, secret)
        elif len(secret) == _LONG and secret[0] < PROCESSES_MAX and secret[0] != self._process:
            self._forward(secret[0], pid, secret)

    def carry_out(self, pid: int, secret: bytes) -> bool:
        """Cancel what runs under this key, if it is one: also for a request that another process handed on."""
        found: Callable[[], None] | None = None
        for known, cancel in self._open.get(pid, {}).items():
            if hmac.compare_digest(known, secret):
                found = cancel
        if found is not None:
            found()
        return found is not None

    def _secret(self, minor: int) -> bytes:
        if minor < 2:
            return secrets.token_bytes(_SHORT)
        return bytes([self._process]) + secrets.token_bytes(_LONG - 1)

    def _allowed(self) -> bool:
        now = time.monotonic()
        self._allowance = min(self._per_second, self._allowance + (now - self._at) * self._per_second)
        self._at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
