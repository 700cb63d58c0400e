"""The alarm for a change feed that has failed; it is started again, which Connect never does by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from taprail.schemas.errors import TaprailError
from taprail.streams.agents.app import Outbox
from taprail.streams.detections.feeds import Feeds

TICK_SECONDS = 5.0


def watch_feeds(app: Any, outbox: Outbox, restart_failed: Callable[[], Mapping[str, str]]) -> None:
    """`restart_failed` gives the feeds that had failed, each with its cause; it may block, and raise."""
    feeds = Feeds()

    @app.timer(TICK_SECONDS)  # type: ignore[untyped-decorator]
    async def tick() -> None:
        failed: Mapping[str, str] | None
        try:
            failed = await asyncio.to_thread(restart_failed)
        except (TaprailError, OSError):
            failed = None
        new, back = feeds.judge(failed, time.time_ns() // 1000)
        for detection in new:
            await outbox.detected(detection, alert=True)
        for detection in back:
            await outbox.detected(detection, alert=False)
