"""The alarm for what never came: coverage records are merged in a table, and a timer looks for gaps that stay."""

from __future__ import annotations

import time
from typing import Any

from msgspec import convert, to_builtins

from taprail.schemas.records import Coverage
from taprail.streams.agents.app import Outbox, consume, table
from taprail.streams.detections.gaps import Epoch, Gaps, Seen, filled_detection, gap_detection

TICK_SECONDS = 1.0


def watch_coverage(app: Any, outbox: Outbox) -> None:
    kept = table(app, "coverage")
    gaps: list[Gaps] = []  # made when the table has been read back

    def current() -> Gaps:
        if not gaps:
            gaps.append(Gaps({_epoch(key): convert(value, Seen) for key, value in kept.items()}, time.monotonic()))
        return gaps[0]

    def keep(epoch: Epoch) -> None:
        kept[_key(epoch)] = to_builtins(current().seen[epoch])

    async def covered(coverage: Coverage, _: Any) -> None:
        epoch = (coverage.tap, coverage.epoch)
        is_new = epoch not in current().seen
        for hole in current().take(coverage, time.monotonic()):
            await outbox.detected(filled_detection(hole, coverage.time_us), alert=False)
        if epoch in current().seen:
            keep(epoch)
        for old in current().forget_old(coverage.tap) if is_new else ():
            del kept[_key(old)]

    @app.timer(TICK_SECONDS)  # type: ignore[untyped-decorator]
    async def tick() -> None:
        for hole in current().due(time.monotonic()):
            await outbox.detected(gap_detection(hole, time.time_ns() // 1000), alert=True)
            keep((hole.tap, hole.epoch))

    consume(app, "taprail.coverage", "coverage", Coverage, covered, outbox.dead_letter)


def _key(epoch: Epoch) -> str:
    return f"{epoch[0]}/{epoch[1]}"


def _epoch(key: str) -> Epoch:
    tap, _, number = key.rpartition("/")
    return tap, int(number)
