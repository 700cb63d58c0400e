"""Keys that clients get for CancelRequest: the tap's own, so that a client never learns the server's."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections.abc import Callable


class CancelKeys:
    """(pid, key) of open sessions; `take` is limited to `per_second` requests, all sessions together."""

    def __init__(self, per_second: float) -> None:
        self._open: dict[int, tuple[bytes, Callable[[], None]]] = {}
        self._per_second = per_second
        self._allowance = per_second
        self._at = time.monotonic()

    def add(self, minor: int, cancel: Callable[[], None]) -> tuple[int, bytes]:
        """A new key: 4 bytes in protocol 3.0, 32 from 3.2 on. `cancel` is called when somebody shows it."""
        while (pid := secrets.randbelow((1 << 31) - 1) + 1) in self._open:
            pass
        key = os.urandom(32 if minor >= 2 else 4)
        self._open[pid] = key, cancel
        return pid, key

    def remove(self, pid: int) -> None:
        self._open.pop(pid, None)

    def take(self, pid: int, key: bytes) -> Callable[[], None] | None:
        """What cancels the session's statement; None for a wrong key, or too many requests."""
        now = time.monotonic()
        self._allowance = min(self._per_second, self._allowance + (now - self._at) * self._per_second)
        self._at = now
        if self._allowance < 1:
            return None
        self._allowance -= 1
        expected, cancel = self._open.get(pid, (b"", None))
        return cancel if cancel is not None and hmac.compare_digest(expected, key) else None
