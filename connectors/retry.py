"""Trying again, politely: exponential back-off with jitter, and the service's own Retry-After where it gives one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from msgspec import Struct

from taprail.schemas.errors import TaprailError


class Busy(Exception):
    """The service can't take it now; `retry_after_s` where it says when it can."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeliveryError(TaprailError):
    """A message that wasn't delivered, and won't be."""


class Retry(Struct, frozen=True):
    """How often and how patiently. The whole wait is under five minutes: an alert that is older is a record.

    `most_s` bounds each wait, the service's Retry-After included.
    """

    attempts: int = 7
    first_s: float = 0.5
    most_s: float = 45.0


async def with_retry(attempt: Callable[[], Awaitable[None]], retry: Retry, what: str) -> None:
    """Until `attempt` doesn't raise Busy. Raises DeliveryError when it is given up; other errors pass."""
    wait_s = retry.first_s
    for number in range(1, retry.attempts + 1):
        try:
            await attempt()
            return
        except Busy as busy:
            if number == retry.attempts:
                raise DeliveryError(
                    f"{what} was given up after {number} attempts: {busy}",
                    hint="is the service up, and the address right?",
                ) from busy
            # Retry-After is the least that the service wants: a 0 there doesn't make us hurry.
            wanted_s = max(busy.retry_after_s or 0.0, wait_s * random.uniform(0.5, 1.5))
            await asyncio.sleep(min(retry.most_s, wanted_s))
            wait_s = min(retry.most_s, wait_s * 2)
