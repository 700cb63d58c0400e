"""Drains a spool to Kafka: in order, as often as it takes, and never in the tap's way.

What Kafka has acknowledged is remembered in a file; after a crash the rest is sent again, and the stream drops what it
has seen before, by (tap, epoch, sequence). That needs order: in no partition may a record stand before one of a lower
number that comes later. So where Kafka refuses a record, nothing behind it may be sent: the producer is fatally at its
end (`enable.gapless.guarantee`), and a new one begins at the record that was refused.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer
from msgspec import MsgspecError, json

from taprail.connectors.kafka.registry import frame
from taprail.connectors.spool.files import Position
from taprail.connectors.spool.frames import Frame, Kind
from taprail.schemas import records
from taprail.schemas.errors import TaprailError

RECORDS: dict[Kind, type] = {"statement": records.Statement, "outcome": records.Outcome, "session": records.Session}
TOPICS: dict[Kind, str] = {
    "statement": "taprail.statements",
    "outcome": "taprail.outcomes",
    "session": "taprail.sessions",
}
IDLE_SECONDS = 0.5  # how long to sleep where nobody wakes us
# A round takes what came meanwhile: small ones would take the processors that statements need, ours and the broker's.
GATHER_SECONDS, GATHER_BUSY_SECONDS = 0.005, 0.05
BUSY_RECORDS = 50
RETRY_SECONDS = 1.0
ACKNOWLEDGE_SECONDS = 0.2  # how often the position is written down: a crash repeats at most that much
IN_FLIGHT_MAX = 20_000
PRODUCER = {
    "enable.idempotence": True,
    "enable.gapless.guarantee": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 2,
    "message.timeout.ms": 0,  # Kafka may be away for any time
    "queue.buffering.max.messages": IN_FLIGHT_MAX * 2,
}
_log = logging.getLogger("taprail.spool")


class Drained(Protocol):
    """What a publisher needs of a spool.

    read     the records after a position, each with the position after it
    wait     until there is something new, or so many seconds
    release  Kafka has everything up to here
    """

    @property
    def directory(self) -> Path: ...
    def read(self, position: Position) -> Iterator[tuple[Position, Frame]]: ...
    def wait(self, seconds: float) -> None: ...
    def release(self, acknowledged: Position) -> None: ...


class Publisher:
    """Publishes what stands in a spool. `schema_ids` may raise TaprailError: it is asked again."""

    def __init__(
        self, spool: Drained, tap: str, config: Mapping[str, str | int], schema_ids: Callable[[], dict[Kind, int]]
    ) -> None:
        self._spool, self._tap = spool, tap
        self._file = spool.directory / "acknowledged.json"
        self.acknowledged = _load(self._file)
        self._saved = self._sent = self.acknowledged
        self._in_flight: deque[tuple[Position, list[bool]]] = deque()
        self._failed: KafkaError | None = None
        self._advanced_at = time.monotonic()  # when Kafka last took something
        self._config = {**config, **PRODUCER}
        self._producer = Producer(self._config, logger=_log)
        self._schema_ids = schema_ids
        self._stop = threading.Event()

    def stop(self) -> None:
        """`run` ends soon; what Kafka has not taken by then stays in the spool."""
        self._stop.set()

    def run(self) -> None:
        """Until `stop`."""
        frames = self._frames()
        if frames is None:
            return
        saved_at = time.monotonic()
        while not self._stop.is_set():
            before, sent = self._sent, 0
            try:
                sent = self._send_more(frames)
            except OSError as error:
                _log.error("the spool can't be read: %s; trying again in %.0f s", error, RETRY_SECONDS)
                self._stop.wait(RETRY_SECONDS)
            self._poll(0)
            self._settle()
            self._spool.release(self.acknowledged)
            if self._failed is not None:
                self._again()
            if time.monotonic() - saved_at > ACKNOWLEDGE_SECONDS:
                self._save()
                saved_at = time.monotonic()
            if self._sent == before:
                self._rest()
            else:
                self._stop.wait(GATHER_SECONDS if sent < BUSY_RECORDS else GATHER_BUSY_SECONDS)
        self._send_more(frames)
        self._flush(2)
        self._settle()
        self._save()

    def _send_more(self, frames: dict[Kind, bytes]) -> int:
        """Hand over what has not been, as far as Kafka keeps up; how many records that were."""
        count = 0
        if len(self._in_flight) < IN_FLIGHT_MAX:
            for place, record in self._spool.read(self._sent):
                self._send(place, record, frames)
                if self._failed is not None:
                    break
                self._sent = place
                count += 1
                if len(self._in_flight) >= IN_FLIGHT_MAX:
                    break
        return count

    def _rest(self) -> None:
        """Until there is something to do: an answer of Kafka's, or a new record. Where Kafka is away, seldom."""
        if self._in_flight:
            since = time.monotonic() - self._advanced_at
            self._poll(0.005 if since < 1 else 0.1)
        else:
            self._spool.wait(IDLE_SECONDS)

    def _frames(self) -> dict[Kind, bytes] | None:
        while not self._stop.is_set():
            try:
                return {kind: frame(schema_id) for kind, schema_id in self._schema_ids().items()}
            except TaprailError as error:
                _log.warning("%s; the spool keeps what comes", error)
                self._stop.wait(RETRY_SECONDS)
        return None

    def _send(self, place: Position, record: Frame, frames: dict[Kind, bytes]) -> None:
        done = [False]
        self._in_flight.append((place, done))

        def delivered(error: KafkaError | None, _message: Any) -> None:
            if error is None:
                done[0] = True
            else:
                self._failed = self._failed or error

        name = f"{self._tap}/{place.epoch}/{record.sequence}".encode()
        while True:
            try:
                self._producer.produce(
                    TOPICS[record.kind],
                    frames[record.kind] + record.body,
                    record.key.encode(),
                    on_delivery=delivered,
                    headers=[("ce_id", name), ("ce_type", b"taprail." + record.kind.encode())],
                )
                return
            except BufferError:  # librdkafka's queue is full: let it drain
                self._poll(0.05)
                if self._failed is not None:
                    return
            except KafkaException as refused:  # it can't even be handed over
                self._failed = self._failed or refused.args[0]
                return

    def _poll(self, seconds: float) -> None:
        """Take Kafka's answers. A producer at its end raises here; what to do about it is the loop's."""
        try:
            self._producer.poll(seconds)
        except KafkaException as fatal:
            self._failed = self._failed or fatal.args[0]

    def _flush(self, seconds: float) -> None:
        with contextlib.suppress(KafkaException):
            self._producer.flush(seconds)

    def _settle(self) -> None:
        """Everything up to the first record that Kafka hasn't confirmed."""
        while self._in_flight and self._in_flight[0][1][0]:
            self.acknowledged = self._in_flight.popleft()[0]
            self._advanced_at = time.monotonic()

    def _again(self) -> None:
        """A record was refused. Begin again behind the last one that Kafka has, with a new producer."""
        _log.error("Kafka refused a record: %s; trying again in %.0f s", self._failed, RETRY_SECONDS)
        self._producer.purge()
        self._flush(1)
        self._settle()
        self._in_flight.clear()
        self._failed = None
        self._producer = Producer(self._config, logger=_log)
        self._sent = self.acknowledged
        self._stop.wait(RETRY_SECONDS)

    def _save(self) -> None:
        self._spool.release(self.acknowledged)  # first of all: it makes the room that the file may need
        if self.acknowledged == self._saved:
            return
        part = self._file.with_name(self._file.name + ".part")
        with contextlib.suppress(OSError):  # a full disk: what isn't written down is sent again
            part.write_bytes(json.encode(self.acknowledged))
            part.replace(self._file)
            self._saved = self.acknowledged


def _load(path: Path) -> Position:
    try:
        return json.decode(path.read_bytes(), type=Position)
    except (FileNotFoundError, MsgspecError):
        return Position()  # from the beginning: repeating is safe, leaving out isn't
