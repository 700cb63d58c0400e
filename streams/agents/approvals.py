"""Approvals' notices and timers: approvers are told at once and with a link, and what nobody decides on runs out."""

from __future__ import annotations

import logging
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import convert, structs, to_builtins

from taprail.connectors.kafka.topics import AGENTS_PREFIX
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import SignatureError
from taprail.schemas.records import Approval
from taprail.streams.agents.app import Outbox, consume, table
from taprail.streams.approvals import notices
from taprail.streams.approvals.decide import open_decision
from taprail.streams.approvals.notices import Watched

TICK_SECONDS = 1.0
_log = logging.getLogger(AGENTS_PREFIX)


def watch_approvals(app: Any, outbox: Outbox, public_keys: dict[str, Ed25519PublicKey], url: str) -> None:
    """Tables over both topics; a decision counts here as it does in the tap: signed, and the first one."""
    watched = table(app, "approvals")

    def get(approval_id: str) -> Watched | None:
        value = watched.get(approval_id)
        return convert(value, Watched) if value is not None else None

    async def held(approval: Approval, _: Any) -> None:
        approval = structs.replace(approval, values=None)
        after, decision, tell = notices.asked(get(approval.approval_id), approval)
        if tell:
            await outbox.alert(notices.requested_alert(approval, url))
        if decision is not None:
            await outbox.alert(notices.decided_alert(approval, decision))
        watched[approval.approval_id] = to_builtins(after)

    async def answered(record: SignedRecord, _: Any) -> None:
        try:
            decision = open_decision(record, public_keys)
        except SignatureError as error:
            _log.error("%s", error)
            return
        after, counts = notices.decided(get(decision.approval_id), decision)
        if counts and after.approval is not None:
            await outbox.alert(notices.decided_alert(after.approval, decision))
        watched[decision.approval_id] = to_builtins(after)

    @app.timer(TICK_SECONDS)  # type: ignore[untyped-decorator]
    async def tick() -> None:
        now_us = time.time_ns() // 1000
        for approval_id, value in list(watched.items()):
            before = convert(value, Watched)
            if (after := notices.ran_out(before, now_us)) is not None and after.approval is not None:
                await outbox.detected(notices.expired_detection(after.approval), alert=True)
                watched[approval_id] = to_builtins(after)
            elif notices.is_over(before, now_us):
                del watched[approval_id]

    consume(app, "taprail.approvals", "approvals-held", Approval, held, outbox.dead_letter)
    consume(app, "taprail.decisions", "approvals-answered", SignedRecord, answered, outbox.dead_letter)
