"""The batch loop: consume many, one step, produce, commit the offsets: one Kafka transaction, exactly once.

What a step must remember from record to record of a partition is committed with the offset, as its metadata: after a
crash both come back together, so a record that is sent twice is dropped inside the transaction. After any failure the
session is thrown away and begun anew from what was committed: no half-done state survives. A partition may be taken
from us while a batch is gathered: what isn't ours any more, or was taken before, is left out by its offset.
Source: KIP-98, KIP-345, KIP-447; `streams` figures in docs/decisions.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from msgspec import Struct

from taprail.connectors.kafka.deadline import Deadline
from taprail.schemas.errors import StackError

TRANSACTION_SECONDS = 0.015  # how long a batch gathers; with the commit it stays under 50 ms
TRANSACTION_RECORDS = 5_000
QUIET_SECONDS = 0.003  # nothing for so long ends a batch before its time
METADATA_BYTES_MAX = 4_000  # the broker takes 4096 (offset.metadata.max.bytes)
RESTARTS_MAX, RESTARTS_WINDOW_SECONDS = 10, 120.0
HANGING_SECONDS = 25.0  # longer than transaction.timeout.ms and an abort: what was open is aborted by then
START_TIMEOUT_SECONDS, ABORT_TIMEOUT_SECONDS = 30.0, 5.0
CONSUMER: dict[str, str | int | bool] = {
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "queued.min.messages": 50_000,
    "fetch.queue.backoff.ms": 10,  # its default of 1000 stalls a reader that is faster than the broker
    "fetch.wait.max.ms": 10,
    "check.crcs": False,
    "session.timeout.ms": 10_000,  # a static member doesn't say good-bye: others wait so long for its partitions
    "partition.assignment.strategy": "range",  # a session's statements and outcomes meet in one process
}
PRODUCER: dict[str, str | int | bool] = {
    "compression.type": "lz4",
    "linger.ms": 1,
    "batch.size": 1_000_000,
    "batch.num.messages": 20_000,
    "queue.buffering.max.messages": 500_000,
    "transaction.timeout.ms": 15_000,
    # A transaction that follows closely on another is told to retry; librdkafka's 100 ms would be the tail of latency.
    "retry.backoff.ms": 10,
}
_log = logging.getLogger("taprail.kafka")


class Out(Struct, frozen=True, gc=False):
    """A record to produce. `headers` are as librdkafka takes them."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Step(Protocol):
    """What happens to a batch. One instance serves one session, so it may keep state by partition."""

    def restore(self, topic: str, partition: int, kept: str) -> None:
        """A partition is ours from here on; `kept` is what `keep` gave with its committed offset, '' for nothing."""
        ...

    def forget(self, topic: str, partition: int) -> None: ...

    def process(self, messages: Sequence[Message]) -> list[Out]: ...

    def keep(self, topic: str, partition: int) -> str:
        """What to remember with the offset that is committed now; at most METADATA_BYTES_MAX bytes."""
        ...


class Loop(Struct, frozen=True):
    """`kafka` are librdkafka's settings of the role; `instance` tells the processes of one group apart."""

    kafka: Mapping[str, str | int]
    group: str
    instance: str
    topics: tuple[str, ...]
    step: Callable[[], Step]
    seconds: float = TRANSACTION_SECONDS

    def run(self, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Until `stop` is set. Raises StackError where Kafka fails RESTARTS_MAX times within a short time."""
        failures: list[float] = []
        while not stop.is_set():
            session: _Session | None = None
            try:
                session = _Session(self)
                session.run(stop, ready)
            except KafkaException as error:
                now = time.monotonic()
                failures = [*(f for f in failures if now - f < RESTARTS_WINDOW_SECONDS), now]
                if len(failures) >= RESTARTS_MAX:
                    raise StackError(
                        f"Kafka failed {len(failures)} times: {error}", hint="see the broker's log"
                    ) from error
                _log.warning("%s begins again from what is committed: %s", self.group, error)
                stop.wait(min(5.0, 0.2 * 2 ** len(failures)))
            finally:
                if session is not None:
                    session.close()


class _Session:
    """From a start to a failure."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._step = loop.step()
        self._next: dict[tuple[str, int], int] = {}  # of each partition that is ours, the offset to go on from
        identity = f"{loop.group}-{loop.instance}"
        self._producer = Producer({**loop.kafka, **PRODUCER, "transactional.id": identity}, logger=_log)
        # A static member (KIP-345): one that was killed takes its place again without waiting for its session's end.
        member = {"group.id": loop.group, "group.instance.id": identity, "client.id": identity}
        self._consumer = Consumer({**loop.kafka, **CONSUMER, **member}, logger=_log)

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        self._producer.init_transactions(START_TIMEOUT_SECONDS)

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self._assigned(consumer, partitions)
            ready()

        self._consumer.subscribe(list(self._loop.topics), on_assign=assigned, on_revoke=self._revoked)
        gc.collect()
        gc.freeze()
        with Deadline(f"a transaction of {self._loop.group}", HANGING_SECONDS) as deadline:
            while not stop.is_set():
                messages = self._gather()
                if messages:
                    with deadline.held():
                        self._transact(messages)

    def close(self) -> None:
        self._consumer.close()

    def _gather(self) -> list[Message]:
        """The records of at most `seconds`, counted from the first one."""
        first = self._consumer.poll(0.1)
        if first is None:
            return []
        messages = [first]
        deadline = time.monotonic() + self._loop.seconds
        while len(messages) < TRANSACTION_RECORDS and time.monotonic() < deadline:
            more = self._consumer.consume(TRANSACTION_RECORDS - len(messages), QUIET_SECONDS)
            if not more:
                break  # nothing is waiting: who is alone needn't wait for others
            messages += more
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            elif error.code() not in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
                raise KafkaException(error)
        return good

    def _transact(self, messages: list[Message]) -> None:
        messages, places = self._ours(messages)
        if not messages:
            return
        self._producer.begin_transaction()
        try:
            for out in self._step.process(messages):
                self._produce(out)
            offsets = [TopicPartition(t, p, offset, self._step.keep(t, p)) for (t, p), offset in places.items()]
            self._producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata())
            self._producer.commit_transaction()
        except BaseException:
            # An open transaction would hold back every reader behind it until its time is over.
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(ABORT_TIMEOUT_SECONDS)
            raise

    def _ours(self, messages: list[Message]) -> tuple[list[Message], dict[tuple[str, int], int]]:
        """The messages that are next in partitions of ours, and where each partition goes on behind them."""
        ours, places = [], {}
        for message in messages:
            place = (message.topic() or "", message.partition() or 0)
            offset = message.offset() or 0
            if offset >= self._next.get(place, offset + 1):
                self._next[place] = places[place] = offset + 1
                ours.append(message)
        return ours, places

    def _produce(self, out: Out) -> None:
        while True:
            try:
                self._producer.produce(out.topic, out.value, out.key, headers=list(out.headers))
                return
            except BufferError:
                self._producer.poll(0.01)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = consumer.committed(partitions, START_TIMEOUT_SECONDS)
        for place in places:
            if place.error is not None:
                raise KafkaException(place.error)
            self._step.restore(place.topic, place.partition, place.metadata or "")
            self._next[place.topic, place.partition] = max(place.offset, 0)
        # From these offsets, so that they and what was kept with them are of one commit.
        consumer.assign([TopicPartition(p.topic, p.partition, p.offset) for p in places])

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for place in partitions:
            self._step.forget(place.topic, place.partition)
            self._next.pop((place.topic, place.partition), None)
