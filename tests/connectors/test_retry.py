"""Trying again: how often, how long, and what isn't tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from taprail.connectors.retry import Busy, DeliveryError, Retry, with_retry


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every wait that was asked for, in seconds; none of them takes time."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", record)
    return found


def busy(times: int, retry_after_s: float | None = None) -> tuple[Callable[[], object], list[int]]:
    """An attempt that is Busy so often, and the list that it counts its calls in."""
    calls: list[int] = []

    async def attempt() -> None:
        calls.append(1)
        if len(calls) <= times:
            raise Busy("status 503", retry_after_s)

    return attempt, calls


async def run(times: int, retry: Retry, retry_after_s: float | None = None) -> int:
    attempt, calls = busy(times, retry_after_s)
    await with_retry(attempt, retry, "a message")  # type: ignore[arg-type]
    return len(calls)


async def test_success_is_not_tried_twice(waits: list[float]) -> None:
    assert (await run(0, Retry()), waits) == (1, [])


async def test_waits_double_with_jitter_up_to_the_most(waits: list[float]) -> None:
    assert await run(5, Retry(attempts=6, first_s=1.0, most_s=4.0)) == 6
    for wait, middle in zip(waits, (1, 2, 4, 4, 4), strict=True):
        assert middle * 0.5 <= wait <= min(4.0, middle * 1.5)


async def test_it_gives_up_and_says_what_and_why(waits: list[float]) -> None:
    with pytest.raises(DeliveryError, match=r"a message was given up after 3 attempts: status 503") as caught:
        await run(3, Retry(attempts=3))
    assert caught.value.hint
    assert len(waits) == 2


async def test_a_longer_retry_after_is_obeyed(waits: list[float]) -> None:
    await run(1, Retry(first_s=0.5), retry_after_s=30.0)
    assert waits == [30.0]


@pytest.mark.parametrize("asked", [0.0, 0.001])
async def test_a_retry_after_of_nothing_does_not_become_a_hammer(waits: list[float], asked: float) -> None:
    await run(6, Retry(first_s=0.5), retry_after_s=asked)
    assert min(waits) >= 0.25
    assert sum(waits) >= 0.5 * 63 * 0.5


@pytest.mark.parametrize("asked", [3600.0, float("inf")])
async def test_the_whole_wait_stays_under_five_minutes(waits: list[float], asked: float) -> None:
    with pytest.raises(DeliveryError):
        await run(7, Retry(), retry_after_s=asked)
    assert sum(waits) < 300


async def test_other_errors_are_not_tried_again(waits: list[float]) -> None:
    calls = []

    async def attempt() -> None:
        calls.append(1)
        raise DeliveryError("refused")

    with pytest.raises(DeliveryError, match="refused"):
        await with_retry(attempt, Retry(), "a message")
    assert (len(calls), waits) == (1, [])


async def test_a_cancelled_wait_ends_at_once() -> None:
    task = asyncio.create_task(run(9, Retry(first_s=60.0)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
