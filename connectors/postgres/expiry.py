"""The end of a session's proof: a token holds until its `exp`, and so does the session that was opened with it.

At that moment a session that does nothing ends; one whose statement runs, or whose transaction is open, may go on for a
grace, and ends as soon as it is idle. The clock on the wall decides, not the time that the process has run: a machine
that was asleep doesn't lengthen anybody's session.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LOOK_SECONDS, STEP_SECONDS_MAX = 0.25, 60.0


class Expiry:
    """Calls `end` once, at `expires_us` (microseconds since 1970 UTC) or within the grace after it, unless stopped."""

    __slots__ = ("_busy", "_end", "_expires", "_grace", "_handle", "_loop")

    def __init__(
        self, expires_us: int, grace_seconds: float, busy: Callable[[], bool], end: Callable[[], object]
    ) -> None:
        self._expires, self._grace = expires_us / 1_000_000, grace_seconds
        self._busy, self._end = busy, end
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        if expires_us:
            self._later(self._expires - time.time())

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _later(self, seconds: float) -> None:
        self._handle = self._loop.call_later(min(max(seconds, 0.0), STEP_SECONDS_MAX), self._look)

    def _look(self) -> None:
        left = self._expires - time.time()
        if left > 0:
            self._later(left)
        elif left + self._grace > 0 and self._busy():
            self._later(min(LOOK_SECONDS, left + self._grace))
        else:
            self._handle = None
            self._end()
