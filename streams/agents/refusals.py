"""Bursts of refusals, counted in a tumbling window for each person and database."""

from __future__ import annotations

from typing import Any

from taprail.schemas.records import Detection
from taprail.streams.agents.app import Outbox, consume, table
from taprail.streams.detections.bursts import WINDOW_SECONDS, burst, counted, who

EXPIRES_SECONDS = 3600.0


def watch_refusals(app: Any, outbox: Outbox) -> None:
    """A window is a minute of the records' own time, so a replay counts into the same one."""
    windows = table(app, "refusals", default=list).tumbling(WINDOW_SECONDS, expires=EXPIRES_SECONDS)

    async def detected(detection: Detection, event: Any) -> None:
        if not (key := who(detection)):
            return
        ids = counted(windows[key].current(event), detection)
        start_s = event.message.timestamp // WINDOW_SECONDS * WINDOW_SECONDS
        if (alarm := burst(ids, detection, start_s)) is not None:
            await outbox.detected(alarm, alert=True)
        windows[key] = ids

    consume(app, "taprail.detections", "refusals", Detection, detected, outbox.dead_letter)
