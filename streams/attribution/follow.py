"""Reading beside the main loop: what was accepted before, what taps say now, and the last of a change feed.

None of these readers has a place in the consumer group: each start reads anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from taprail.connectors.debezium.decode import FeedDecoder
from taprail.schemas import avro
from taprail.schemas.errors import RecordError, StackError
from taprail.schemas.records import AcceptedMark
from taprail.streams.attribution.join import Feed, Join
from taprail.streams.attribution.memory import MarkMemory
from taprail.streams.attribution.statements import Statements

MARKS, STATEMENTS, OUTCOMES = "taprail.marks", "taprail.statements", "taprail.outcomes"
FRAME_BYTES = 5  # Confluent wire format
TIMEOUT_S = 10.0
READ_BACK_RECORDS = 20_000  # of a change feed: what a connector that starts again may repeat
LOOK_BACK_S = 900  # of statements: the change feed keeps ten minutes
LOOK_BACK_RECORDS = 250_000  # of each partition
_log = logging.getLogger("taprail.attribution")


def reader(kafka: Mapping[str, str | int], group: str) -> Consumer:
    """A consumer that is given its partitions, sees their ends, and reads committed records only."""
    return Consumer(
        {
            **kafka,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 10,
            "queued.max.messages.kbytes": 16_384,
        },
        logger=_log,
    )


def partitions(consumer: Consumer, topics: Iterable[str]) -> list[TopicPartition]:
    """Every partition of the topics. Raises StackError where one isn't there."""
    found = consumer.list_topics(timeout=TIMEOUT_S).topics
    if missing := [topic for topic in topics if topic not in found]:
        raise StackError(f"the topic {missing[0]} is not there", hint="`taprail init` makes the topics")
    return [TopicPartition(topic, number) for topic in topics for number in found[topic].partitions]


def ranges(consumer: Consumer, places: Iterable[TopicPartition]) -> Iterator[tuple[TopicPartition, int, int]]:
    for place in places:
        low, high = consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
        yield place, low, high


def until_end(consumer: Consumer, start: list[TopicPartition]) -> Iterator[Message]:
    """Everything from `start` to what is the end now, open transactions that are committed meanwhile included."""
    ends = {(p.topic, p.partition): high for p, _, high in ranges(consumer, start)}
    consumer.assign(start)
    deadline_s = time.monotonic() + 60
    while ends:
        message = consumer.poll(0.2)
        if message is None:
            if time.monotonic() > deadline_s:
                raise StackError(f"reading {sorted(ends)} to its end takes too long", hint="is the broker well?")
            continue
        deadline_s = time.monotonic() + 60
        place = (message.topic() or "", message.partition() or 0)
        error = message.error()
        if error is None:
            yield message
        elif error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        elif (message.offset() or 0) >= ends.get(place, 0):
            ends.pop(place, None)


def load_marks(kafka: Mapping[str, str | int], group: str, feeds: Iterable[Feed]) -> dict[Feed, MarkMemory]:
    """The marks that were accepted for each feed, from the first one that the topic still has."""
    memories = {(feed.server, feed.database): (feed, MarkMemory()) for feed in feeds}
    decode = avro.decoder(AcceptedMark)
    consumer = reader(kafka, group)
    try:
        found = list(ranges(consumer, partitions(consumer, [MARKS])))
        for message in until_end(consumer, [TopicPartition(p.topic, p.partition, low) for p, low, _ in found]):
            accepted = decode((message.value() or b"")[FRAME_BYTES:])
            if (entry := memories.get((accepted.server, accepted.database))) is not None:
                entry[1].remember(accepted)
    finally:
        consumer.close()
    if any(low for _, low, _ in found):
        for _, memory in memories.values():
            memory.set_forgetful()
    return dict(memories.values())


def read_back(consumer: Consumer, decoder: FeedDecoder, join: Join, topic: str, low: int, offset: int) -> None:
    """Let the join learn from the records before `offset`, so that it knows a repetition when it sees one."""
    start = max(low, offset - READ_BACK_RECORDS)
    if start >= offset:
        return
    for message in until_end(consumer, [TopicPartition(topic, 0, start)]):
        if (message.offset() or 0) >= offset:
            break
        try:
            join.recall(decoder.decode(None, message.value()).event)
        except RecordError:
            continue  # it was told when it was read first
    consumer.unassign()


class StatementTail:
    """Keeps `Statements` up to date with what taps publish."""

    def __init__(self, kafka: Mapping[str, str | int], group: str, statements: Statements) -> None:
        self._statements = statements
        self._consumer = reader(kafka, group)
        self._behind: dict[tuple[str, int], int] = {}
        places = list(ranges(self._consumer, partitions(self._consumer, [STATEMENTS, OUTCOMES])))
        since_ms = int((time.time() - LOOK_BACK_S) * 1000)
        asked = [TopicPartition(p.topic, p.partition, since_ms) for p, _, _ in places]
        start = []
        for found, (place, _, high) in zip(self._consumer.offsets_for_times(asked, TIMEOUT_S), places, strict=True):
            first = found.offset if found.offset >= 0 else high
            start.append(TopicPartition(place.topic, place.partition, max(first, high - LOOK_BACK_RECORDS)))
            self._behind[place.topic, place.partition] = high
        self._consumer.assign(start)

    def catch_up(self, timeout_s: float) -> None:
        """Read what was there at the start: a change must not miss its statement because we were slow."""
        deadline_s = time.monotonic() + timeout_s
        while self._behind and time.monotonic() < deadline_s:
            self.drain(0.1)

    def drain(self, timeout_s: float = 0.0) -> None:
        """Learn from everything that has come; waits at most `timeout_s` for the first record."""
        first = self._consumer.poll(timeout_s)
        if first is None:
            return
        for message in (first, *self._consumer.consume(2_000, 0)):
            error = message.error()
            if error is None:
                self._take(message.topic() or "", message.value() or b"")
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            place = (message.topic() or "", message.partition() or 0)
            if (message.offset() or 0) + (error is None) >= self._behind.get(place, 0):
                self._behind.pop(place, None)

    def _take(self, topic: str, framed: bytes) -> None:
        try:
            if topic == STATEMENTS:
                self._statements.take_statement(framed)
            else:
                self._statements.take_outcome(framed)
        except RecordError as error:
            _log.warning("%s: %s", topic, error)  # the statement path puts it into the dead letters

    def close(self) -> None:
        self._consumer.close()


def committed(consumer: Consumer, topic: str) -> tuple[int, str]:
    """The group's offset and its metadata; (-1, '') where it has none."""
    (place,) = consumer.committed([TopicPartition(topic, 0)], timeout=TIMEOUT_S)
    metadata: Any = place.metadata
    return (place.offset, metadata or "") if place.offset >= 0 else (-1, "")
