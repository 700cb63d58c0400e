"""Approvals' notices and timers: approvers are told at once and with a link, and what nobody decides on runs out."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import convert, structs, to_builtins

from taprail.connectors.kafka.topics import AGENTS_PREFIX
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import SignatureError
from taprail.schemas.records import Approval, ApprovalState
from taprail.streams.agents.app import Outbox, consume, table
from taprail.streams.approvals import notices
from taprail.streams.approvals.decide import open_decision
from taprail.streams.approvals.notices import Watched
from taprail.streams.approvals.pending import is_repeated

TICK_SECONDS = 1.0
_log = logging.getLogger(AGENTS_PREFIX)


def watch_approvals(app: Any, outbox: Outbox, public_keys: dict[str, Ed25519PublicKey], url: str) -> None:
    """A table over three topics; a decision counts here as it does in the tap: signed, and the first ones."""
    kept = table(app, "approvals")
    one_by_one = asyncio.Lock()  # what is read of an approval is written back after others had their turn

    def get(approval_id: str) -> Watched:
        value = kept.get(approval_id)
        return convert(value, Watched) if value is not None else Watched()

    async def held(approval: Approval, _: Any) -> None:
        async with one_by_one:
            watched = get(approval.approval_id)
            if watched.course.approval is None:
                watched.course.approval = structs.replace(approval, values=None)
                await go_on(approval.approval_id, watched)

    async def answered(record: SignedRecord, _: Any) -> None:
        try:
            decision = open_decision(record, public_keys)
        except SignatureError as error:
            _log.error("%s", error)
            return
        async with one_by_one:
            watched = get(decision.approval_id)
            watched.course.vote(decision)
            await go_on(decision.approval_id, watched)

    async def ended(state: ApprovalState, _: Any) -> None:
        async with one_by_one:
            watched = get(state.approval_id)
            watched.course.end(state.status)
            await go_on(state.approval_id, watched)

    async def go_on(approval_id: str, watched: Watched) -> None:
        for state in notices.steps(watched, time.time_ns() // 1000):
            await tell(state, watched)
        kept[approval_id] = to_builtins(watched)

    async def tell(state: ApprovalState, watched: Watched) -> None:
        """Write it down, and tell people of it. Where somebody waits, his tap says by itself that nobody decided."""
        course = watched.course
        assert course.approval is not None
        if state.status != "expired" or not course.waits:
            await outbox.approval_state(state)
        if state.status == "requested":
            if course.status() == "requested" and not is_asked_already(course.approval):
                await outbox.alert(notices.requested_alert(course.approval, url))
        elif state.status == "expired":
            await outbox.detected(notices.expired_detection(course.approval), alert=True)
        elif (vote := course.counted().deciding) is not None:
            await outbox.alert(notices.decided_alert(course.approval, vote))

    def is_asked_already(approval: Approval) -> bool:
        """Who runs a statement again before anybody has decided isn't worth another message."""
        if approval.terms.mode != "retry" or not approval.binding:
            return False
        others = (get(other) for other in list(kept) if other != approval.approval_id)
        return any(
            other.course.approval is not None
            and other.course.status() == "requested"
            and is_repeated(other.course.approval, approval)
            for other in others
        )

    @app.timer(TICK_SECONDS)  # type: ignore[untyped-decorator]
    async def tick() -> None:
        now_us = time.time_ns() // 1000
        async with one_by_one:
            for approval_id, value in list(kept.items()):
                watched = convert(value, Watched)
                if notices.is_over(watched, now_us):
                    del kept[approval_id]
                elif watched.course.expire(now_us):
                    await go_on(approval_id, convert(value, Watched))

    consume(app, "taprail.approvals", "approvals-held", Approval, held, outbox.dead_letter)
    consume(app, "taprail.decisions", "approvals-answered", SignedRecord, answered, outbox.dead_letter)
    consume(app, "taprail.approval-states", "approvals-ended", ApprovalState, ended, outbox.dead_letter)
