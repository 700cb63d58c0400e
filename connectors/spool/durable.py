"""Waits until what was appended to a spool is on the disk, or in Kafka. One flush serves all who wait."""

from __future__ import annotations

import asyncio

from taprail.connectors.spool.files import Position
from taprail.connectors.spool.spool import Spool
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Durability

KAFKA_SECONDS = 10.0  # a statement that waits longer for Kafka is refused


class Durable:
    """One spool's waits, all in one event loop."""

    def __init__(self, spool: Spool, *, kafka_seconds: float = KAFKA_SECONDS) -> None:
        self._spool, self._kafka_seconds = spool, kafka_seconds
        self._on_disk = self._in_kafka = Position()
        self._flushing: asyncio.Task[None] | None = None
        self._waiting: list[tuple[Position, asyncio.Future[None]]] = []  # for Kafka

    async def wait(self, durability: Durability) -> None:
        """Until all that is appended by now is that durable. Raises RefusedError where it can't be."""
        place = self._spool.end
        if durability == "machine":
            while self._on_disk < place:
                await asyncio.shield(self._flush())
        elif durability == "kafka" and self._in_kafka < place:
            await self._published(place)

    def advanced(self, acknowledged: Position) -> None:
        """Kafka has everything up to here."""
        self._in_kafka = acknowledged
        waiting, self._waiting = self._waiting, []
        for place, future in waiting:
            if place > acknowledged:
                self._waiting.append((place, future))
            elif not future.done():
                future.set_result(None)

    def _flush(self) -> asyncio.Task[None]:
        """The flush that is under way, or a new one: who came too late for the first waits for the second."""
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._to_disk())
        return self._flushing

    async def _to_disk(self) -> None:
        place = self._spool.end
        try:
            await asyncio.to_thread(self._spool.sync())
            self._on_disk = place
        except OSError as error:
            raise RefusedError(f"the disk doesn't take it: {error.strerror}", hint="check the spool's disk") from error
        finally:
            self._flushing = None

    async def _published(self, place: Position) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((place, future))
        try:
            async with asyncio.timeout(self._kafka_seconds):
                await future
        except TimeoutError:
            raise RefusedError(
                f"Kafka didn't take its record within {self._kafka_seconds:.0f} s",
                hint="is the broker up? `durability` says whether statements wait for it",
            ) from None
