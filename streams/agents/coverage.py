"""The alarm for what never came: coverage records fill bitmaps in a table, and a timer judges what is old enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from taprail.schemas.records import Coverage
from taprail.streams.agents.app import Outbox, consume, table
from taprail.streams.detections.gaps import Epoch, Gaps, gap_detection, late_detection

TICK_SECONDS = 1.0
JUDGED = "judged"


def watch_coverage(app: Any, outbox: Outbox, read_until: Callable[[float], float]) -> None:
    """`read_until(now_s)` says until when everything that stood in Kafka has been read; it may block.

    The table's keys are `tap/epoch/block` for a bitmap (hexadecimal), `tap/epoch/judged` for the last number judged.
    """
    kept = table(app, "coverage")
    loaded: list[Gaps] = []

    def current() -> Gaps:
        """Read back from the table when it is first asked for: then Faust has recovered it."""
        if not loaded:
            loaded.append(_restored(dict(kept.items())))
        return loaded[0]

    async def covered(coverage: Coverage, _: Any) -> None:
        epoch = (coverage.tap, coverage.epoch)
        is_new = epoch not in current().seen
        changed, late = current().take(coverage)
        if late:
            await outbox.detected(late_detection(epoch, late, coverage.time_us), alert=False)
        for block in changed:
            kept[_key(epoch, block)] = f"{current().seen[epoch].blocks[block]:x}"
        for old, seen in current().drop_epochs(coverage.tap) if is_new else ():
            for key in (_key(old, JUDGED), *(_key(old, block) for block in seen.blocks)):
                kept.pop(key, None)

    @app.timer(TICK_SECONDS)  # type: ignore[untyped-decorator]
    async def tick() -> None:
        gaps, now_s = current(), time.monotonic()
        if not gaps.is_waiting:
            return
        until_s = await asyncio.to_thread(read_until, now_s)
        for epoch, missing in gaps.judge(now_s, until_s).items():
            if missing:
                await outbox.detected(gap_detection(epoch, missing, time.time_ns() // 1000), alert=True)
            kept[_key(epoch, JUDGED)] = gaps.seen[epoch].judged
            for block in gaps.drop_blocks(epoch):
                del kept[_key(epoch, block)]

    consume(app, "taprail.coverage", "coverage", Coverage, covered, outbox.dead_letter)


def _restored(kept: dict[str, Any]) -> Gaps:
    judged: dict[Epoch, int] = {}
    blocks: dict[Epoch, dict[int, int]] = {}
    for key, value in kept.items():
        tap, number, part = key.rsplit("/", 2)
        epoch = (tap, int(number))
        blocks.setdefault(epoch, {})
        if part == JUDGED:
            judged[epoch] = value
        else:
            blocks[epoch][int(part)] = int(value, 16)
    gaps = Gaps()
    for epoch, bits in blocks.items():
        gaps.restore(epoch, judged.get(epoch, 0), bits)
    return gaps


def _key(epoch: Epoch, part: int | str) -> str:
    return f"{epoch[0]}/{epoch[1]}/{part}"
