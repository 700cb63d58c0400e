"""A signed-in session on its two connections: bytes through the state machine, waits, cancels, back-pressure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.channel import Channel
from taprail.connectors.postgres.estimate import rows_expected
from taprail.connectors.postgres.session import (
    ApprovalWait,
    CatalogWait,
    RecordWait,
    RowsWait,
    Session,
    Wait,
    WaitResult,
)
from taprail.connectors.postgres.upstream import Opened, Target, send_cancel
from taprail.schemas.errors import ProtocolError, RefusedError, TaprailError
from taprail.schemas.guard import Gate, Release

log = logging.getLogger(__name__)


class Relay:
    """Runs until either side closes; `closed` is called once, with the reason."""

    def __init__(
        self,
        session: Session,
        client: Channel,
        opened: Opened,
        target: Target,
        gate: Gate,
        closed: Callable[[str], None],
    ) -> None:
        self._session = session
        self._client, self._server = client, opened.channel
        self._opened, self._target = opened, target
        self._gate = gate
        self._closed: Callable[[str], None] | None = closed
        self._waiting: asyncio.Task[None] | None = None
        self._cancels: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._server.relay(self._from_server, self._server_lost, self._server_full)
        self._client.relay(self._from_client, self._client_lost, self._client_full)
        self._flush()

    def cancel(self) -> None:
        """A CancelRequest: end the wait of a held statement, or ask the server."""
        if self._waiting is not None and self._session.wait is not None:
            self._waiting.cancel()
            self._resume(
                _failed(self._session.wait, TaprailError("canceling statement due to user request"), "cancelled")
            )
            return
        self._cancel_running()

    def _cancel_running(self) -> None:
        task = asyncio.get_running_loop().create_task(self._cancel_upstream())
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)

    def stop(self, sqlstate: str, text: str) -> None:
        """End the session from the tap's side."""
        self._end(text, wire.error(sqlstate, text, severity="FATAL"))

    async def _cancel_upstream(self) -> None:
        try:
            await asyncio.wait_for(
                send_cancel(self._target, self._opened.pid, self._opened.key, self._session.limits),
                self._session.limits.startup_seconds,
            )
        except (TaprailError, OSError, TimeoutError) as error:
            log.warning("a cancel request didn't reach server %s: %s", self._target.server, error)

    # Bytes ------------------------------------------------------------------------------------------------------------

    def _from_client(self, data: bytes) -> None:
        try:
            self._session.from_client(data)
        except Exception as error:
            return self._broken(error)
        self._flush()

    def _from_server(self, data: bytes) -> None:
        try:
            self._session.from_server(data)
        except Exception as error:
            return self._broken(error)
        self._flush()

    def _flush(self) -> None:
        """Send what is ready, start a wait, and read only from sides whose bytes there is room for."""
        if self._closed is None:
            return
        session = self._session
        if data := session.take_to_client():
            self._client.write(data)
        if data := session.take_to_server():
            self._server.write(data)
        if session.ended:
            return self._end("the client said goodbye", b"")
        if (failed := session.failure) is not None:
            if failed.cancels:
                self._cancel_running()
            words = wire.error(failed.sqlstate, failed.text, hint=failed.hint, severity="FATAL")
            return self._end(failed.text, words)
        if session.wait is not None and self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_task(self._wait(session.wait))
        self._flow()

    def _flow(self) -> None:
        session, limits = self._session, self._session.limits
        room = session.waiting_bytes <= limits.waiting_bytes and session.in_flight <= limits.statements_in_flight
        self._client.read(room and not self._server.full)
        self._server.read(not self._client.full)

    def _client_full(self, full: bool) -> None:
        self._server.read(not full)

    def _server_full(self, full: bool) -> None:
        self._flow()

    # Waits ------------------------------------------------------------------------------------------------------------

    async def _wait(self, wait: Wait) -> None:
        result: WaitResult = None
        try:
            if isinstance(wait, CatalogWait):
                await self._gate.catalog(wait.request)
            elif isinstance(wait, RecordWait):
                await self._gate.recorded(wait.durability)
            elif isinstance(wait, RowsWait):
                result = await rows_expected(self._target, wait.requests, self._session.limits)
            else:
                result = await self._gate.approval(wait.request, wait.verdict, wait.held.ticket, wait.requests)
        except TaprailError as error:
            result = _failed(wait, error)
        except Exception:
            log.exception("the gate failed")
            result = _failed(wait, TaprailError("the tap failed; its log says why"))
        self._resume(result)

    def _resume(self, result: WaitResult) -> None:
        self._waiting = None
        try:
            self._session.resume(result)
        except Exception as error:
            return self._broken(error)
        self._flush()

    # The end ----------------------------------------------------------------------------------------------------------

    def _broken(self, error: Exception) -> None:
        if isinstance(error, ProtocolError):
            return self._end(str(error), wire.error("08P01", error.message, hint=error.hint, severity="FATAL"))
        log.error("a session failed", exc_info=error)
        self._end("internal error", wire.error("XX000", "the tap failed; its log says why", severity="FATAL"))

    def _client_lost(self) -> None:
        self._end("the client closed the connection", b"")

    def _server_lost(self) -> None:
        text = f"server {self._target.server} closed the connection"
        told = self._session.fatal or self._session.ended
        self._end(text, b"" if told else wire.error("08006", text, hint="connect again", severity="FATAL"))

    def _end(self, reason: str, last_words: bytes) -> None:
        if self._closed is None:
            return
        closed, self._closed = self._closed, None
        session = self._session
        waiting, self._waiting = self._waiting, None
        if waiting is not None and isinstance(session.wait, ApprovalWait):
            session.resume(Release(False, reason=reason, status="cancelled"))
        if waiting is not None:
            waiting.cancel()
        if last_words and not session.half_sent:
            self._client.write(last_words)
        self._client.close()
        if not session.ended:
            self._server.write(wire.TERMINATE_MESSAGE)
        self._server.close()
        session.close()
        closed(reason)


def _failed(wait: Wait, error: TaprailError, status: Literal["denied", "cancelled"] = "denied") -> WaitResult:
    """How a wait ends that brought nothing."""
    if isinstance(wait, ApprovalWait):
        return Release(False, reason=str(error), status=status)
    return RefusedError(error.message, hint=error.hint)
