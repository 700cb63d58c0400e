"""How many rows the planner expects a statement to give or to change: EXPLAIN, on a connection of its own.

Planning runs functions that are called immutable, so only a statement is explained that calls nothing but PostgreSQL's
own; and it is in a read-only transaction that soon times out. Source: PostgreSQL documentation, EXPLAIN; chapter 36.7.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from msgspec import MsgspecError, json

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.upstream import Target, sign_in
from taprail.schemas.errors import TaprailError
from taprail.schemas.guard import UNKNOWN_ROWS, Request

SECONDS_MAX = 2.0
SETTINGS = {"statement_timeout": "1000", "lock_timeout": "200", "default_transaction_read_only": "on"}
_log = logging.getLogger(__name__)


async def rows_expected(target: Target, requests: tuple[Request, ...], limits: Limits) -> int:
    """Of all these statements together; `UNKNOWN_ROWS` where the planner can't be asked of one."""
    total = 0
    try:
        async with asyncio.timeout(SECONDS_MAX):
            for request in requests:
                rows = _rows(await _explain(target, request, limits))
                if rows < 0:
                    return UNKNOWN_ROWS
                total += rows
    except (TaprailError, OSError, TimeoutError) as error:
        _log.info("the planner of %s isn't asked: %s", target.server, error)
        return UNKNOWN_ROWS
    return total


async def _explain(target: Target, request: Request, limits: Limits) -> bytes:
    """The plan as JSON, b"" where the server gives none: a temporary table is the session's own, say.

    Values are left out, where they are bound: `$1` is planned as any value (GENERIC_PLAN, from PostgreSQL 16 on).
    """
    settings = {**SETTINGS, "search_path": request.session.search_path, "application_name": "taprail estimate"}
    opened = await sign_in(target, settings, limits)
    channel = opened.channel
    try:
        options = "GENERIC_PLAN, FORMAT JSON" if request.parameters else "FORMAT JSON"
        text = f"EXPLAIN ({options}) {request.text}"
        channel.write(wire.message(wire.QUERY, text.encode() + b"\0"))
        plan = b""
        while True:
            kind, body = await channel.message(limits.answer_bytes)
            if kind == wire.DATA_ROW:
                reader = wire.Reader(body, "DataRow")
                if reader.int16() == 1:
                    size = reader.int32()
                    plan += reader.rest()[: max(size, 0)]
            elif kind == wire.ERROR:
                plan = b""
            elif kind == wire.READY:
                channel.write(wire.TERMINATE_MESSAGE)
                return plan
    finally:
        channel.close()


def _rows(plan: bytes) -> int:
    """Rows of the topmost node; of what changes rows, those that it is given."""
    try:
        node: dict[str, Any] = json.decode(plan)[0]["Plan"]
        while node["Node Type"] == "ModifyTable":
            node = node["Plans"][0]
        return int(node["Plan Rows"])
    except (MsgspecError, LookupError, TypeError, ValueError):
        return UNKNOWN_ROWS
