"""Give memory back to the system that a burst of sign-ins has left in the C library's heap.

A TLS handshake needs some 60 KB for a moment; after hundreds at once the heap is full of holes that nobody uses again.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from functools import cache

GIVE_BACK_SECONDS = 20.0


class GiveBack:
    """Once some seconds after sign-ins, however many there were."""

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        self._give_back = give_back or trim
        self._due: asyncio.TimerHandle | None = None

    def later(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(GIVE_BACK_SECONDS, self._now)

    def cancel(self) -> None:
        if self._due is not None:
            self._due.cancel()

    def _now(self) -> None:
        self._due = None
        self._give_back()


def trim() -> None:
    """malloc_trim(3) of glibc, a few milliseconds; nothing where the C library has none."""
    if (function := _malloc_trim()) is not None:
        function(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
