"""Correlations over the matches of policies, with the policies that are in force at this moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from msgspec import convert, to_builtins

from taprail.schemas.records import Match
from taprail.streams.agents.app import Outbox, consume, table
from taprail.streams.detections.correlations import Counted, concerned, counted, detection_of, is_met, stale
from taprail.streams.detections.matched import TOLD
from taprail.streams.policy.ruling import PolicySet

SWEEP_SECONDS = 60.0


def watch_correlations(app: Any, outbox: Outbox, in_force: Callable[[], PolicySet]) -> None:
    """A table of each group's matches, as far back as its correlation looks."""
    kept = table(app, "correlations")
    one_by_one = asyncio.Lock()  # between reading and writing back others have their turn

    async def matched(match: Match, _: Any) -> None:
        async with one_by_one:
            for policy, correlation, key in concerned(in_force().correlations, match):
                matches = counted(convert(kept.get(key) or [], list[Counted]), match, correlation)
                if is_met(matches, correlation):
                    told = policy.acts and policy.level in TOLD
                    await outbox.detected(detection_of(policy, matches, match), alert=told)
                    kept.pop(key, None)
                else:
                    kept[key] = to_builtins(matches)

    @app.timer(SWEEP_SECONDS)  # type: ignore[untyped-decorator]
    async def sweep() -> None:
        async with one_by_one:
            policies, now_us = in_force().correlations, time.time_ns() // 1000
            for key, value in list(kept.items()):
                if stale(key, convert(value, list[Counted]), policies, now_us):
                    del kept[key]

    consume(app, "taprail.matches", "correlations", Match, matched, outbox.dead_letter)
