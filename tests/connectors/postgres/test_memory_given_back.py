"""After a burst the C library's heap is trimmed once, not for every sign-in."""

from __future__ import annotations

import asyncio

from taprail.connectors.postgres import memory


async def test_once_after_many_and_again_after_more(monkeypatch):
    monkeypatch.setattr(memory, "GIVE_BACK_SECONDS", 0.01)
    given = []
    back = memory.GiveBack(lambda: given.append(1))
    for _ in range(2):
        for _ in range(100):
            back.later()
        await asyncio.sleep(0.05)
    assert len(given) == 2
    back.later()
    back.cancel()
    await asyncio.sleep(0.05)
    assert len(given) == 2


def test_trimming_works_here():
    memory.trim()
