"""Read topics as they grow, without a group: for live views and for the demo's evidence."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition
from msgspec import Struct

from taprail.schemas.errors import RecordError, StackError

FRAME_BYTES = 5  # Confluent wire format: 00, int32 schema id, body
LIST_TIMEOUT_S = 10.0
_log = logging.getLogger("taprail.kafka")


class Followed(Struct, frozen=True):
    """A record that was committed, with its topic and the time (microseconds) that Kafka has for it."""

    topic: str
    time_us: int
    record: Any


class Follower:
    """Reads committed records of `decoders`' topics from their end, or from `since_us` (microseconds, 1970 UTC)."""

    def __init__(
        self,
        config: Mapping[str, str | int],
        decoders: Mapping[str, Callable[[bytes], Any]],
        *,
        since_us: int | None = None,
    ) -> None:
        self._decoders = decoders
        self._consumer = Consumer(
            {
                **config,
                "group.id": f"taprail-{config.get('sasl.username', 'viewer')}-follow",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,  # a transaction's end has an offset, but no record: see `behind`
                "fetch.wait.max.ms": 20,
            },
            logger=_log,
        )
        self._ends: dict[tuple[str, int], int] = {}
        self._eof: dict[tuple[str, int], int] = {}  # where a partition's end was reached; transactions end in no record
        self._consumer.assign(self._start(since_us))

    def _start(self, since_us: int | None) -> list[TopicPartition]:
        try:
            topics = self._consumer.list_topics(timeout=LIST_TIMEOUT_S).topics
        except KafkaException as error:
            raise StackError(f"Kafka doesn't answer: {error}", hint="is the stack up? `taprail status`") from error
        partitions = [(name, p) for name in self._decoders if name in topics for p in topics[name].partitions]
        if since_us is None:
            # The end of now, not of the first fetch: nothing that comes from here on is missed.
            ends = [self._consumer.get_watermark_offsets(TopicPartition(*p), LIST_TIMEOUT_S)[1] for p in partitions]
            return [TopicPartition(name, p, end) for (name, p), end in zip(partitions, ends, strict=True)]
        asked = [TopicPartition(name, p, since_us // 1000) for name, p in partitions]
        for name, p in partitions:
            first, end = self._consumer.get_watermark_offsets(TopicPartition(name, p), LIST_TIMEOUT_S)
            if first < end:
                self._ends[name, p] = end
        found: Sequence[TopicPartition] = self._consumer.offsets_for_times(asked, LIST_TIMEOUT_S)
        return [TopicPartition(p.topic, p.partition, p.offset if p.offset >= 0 else OFFSET_END) for p in found]

    def poll(self, timeout_s: float) -> Followed | None:
        """The next record, or None. A record that its schema doesn't fit is logged and passed over."""
        message = self._consumer.poll(timeout_s)
        if message is None:
            return None
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                place = message.topic() or "", message.partition() or 0
                self._eof[place] = message.offset() or 0
                self._at_end(place, self._eof[place])
                return None
            raise StackError(f"Kafka: {error.str()}", hint="`taprail status` says what runs")
        topic, value = message.topic() or "", message.value() or b""
        try:
            record = self._decoders[topic](value[FRAME_BYTES:])
        except RecordError as unfit:
            _log.warning("%s/%s/%s: %s", topic, message.partition(), message.offset(), unfit)
            return None
        return Followed(topic, message.timestamp()[1] * 1000, record)

    def behind(self) -> bool:
        """Whether something that stood there at the beginning hasn't been polled yet."""
        for place in self._consumer.position([TopicPartition(*key) for key in self._ends]):
            self._at_end((place.topic, place.partition), place.offset)
        return bool(self._ends)

    def at_end(self, timeout_s: float) -> bool:
        """Whether everything that Kafka has now has been polled: it is asked. Raises StackError without an answer."""
        try:
            places = self._consumer.position(self._consumer.assignment())
            for place in places:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), timeout_s)
                reached = max(place.offset, self._eof.get((place.topic, place.partition), 0))
                if reached < end:
                    return False
        except KafkaException as error:
            raise StackError(f"Kafka doesn't answer: {error}", hint="is the stack up? `taprail status`") from error
        return True

    def _at_end(self, place: tuple[str, int], offset: int) -> None:
        if place in self._ends and offset >= self._ends[place]:
            del self._ends[place]

    def until(self, wanted: Callable[[Followed], bool], timeout_s: float) -> Followed | None:
        """The first record that is wanted, or None when the time is up."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            followed = self.poll(min(left, 0.1))
            if followed is not None and wanted(followed):
                return followed
        return None

    def __iter__(self) -> Iterator[Followed]:
        while True:
            if (followed := self.poll(0.2)) is not None:
                yield followed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()
