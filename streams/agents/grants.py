"""Emergencies: whoever answers for the data is told at once, and every day again until somebody has looked at it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import convert, to_builtins

from taprail.connectors.kafka.topics import AGENTS_PREFIX
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import SignatureError
from taprail.streams.agents.app import Outbox, consume, table
from taprail.streams.approvals.emergencies import Emergency, changed, reminder
from taprail.streams.approvals.grants import open_grant

TICK_SECONDS = 30.0
_log = logging.getLogger(AGENTS_PREFIX)


def watch_grants(app: Any, outbox: Outbox, public_keys: dict[str, Ed25519PublicKey], url: str) -> None:
    """A table of the emergencies whose review is open, by grant."""
    kept = table(app, "emergencies")
    one_by_one = asyncio.Lock()  # between reading and writing back others have their turn

    async def given(record: SignedRecord, _: Any) -> None:
        try:
            grant = open_grant(record, public_keys)
        except SignatureError as error:
            _log.error("%s", error)
            return
        if grant.kind != "break_glass":
            return
        async with one_by_one:
            before = kept.get(grant.grant_id)
            after, detection = changed(convert(before, Emergency) if before is not None else None, grant)
            if detection is not None:
                await outbox.detected(detection, alert=True)
            if after is not None:
                kept[grant.grant_id] = to_builtins(after)
            else:
                kept.pop(grant.grant_id, None)

    @app.timer(TICK_SECONDS)  # type: ignore[untyped-decorator]
    async def tick() -> None:
        async with one_by_one:
            for grant_id, value in list(kept.items()):
                after, detection = reminder(convert(value, Emergency), time.time_ns() // 1000, url)
                if detection is not None:
                    await outbox.detected(detection, alert=True)
                    kept[grant_id] = to_builtins(after)

    consume(app, "taprail.grants", "emergencies", SignedRecord, given, outbox.dead_letter)
