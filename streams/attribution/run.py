"""The attribution loop: change feeds in, attributed changes out, exactly once.

One Kafka transaction holds the changes, the marks that were accepted for them, the detections and alerts, and the
offset with the state at it. So a process that is killed at any point goes on where it was, and a reader of committed
records sees each change once.

    cdc.<server>.<database> ─┐                  ┌─► taprail.changes · taprail.marks
    taprail.statements ──────┼─► Attribution ───┤
    taprail.outcomes ────────┘                  └─► taprail.detections · taprail.alerts · taprail.audit · taprail.siem
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from msgspec import Struct

from taprail.connectors.debezium.decode import FeedDecoder
from taprail.connectors.kafka.deadline import Deadline
from taprail.connectors.kafka.loop import PRODUCER, Out
from taprail.connectors.kafka.registry import Registry
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import RecordError, StackError
from taprail.schemas.records import DeadLetter
from taprail.streams.attribution import follow, output
from taprail.streams.attribution.join import Feed
from taprail.streams.attribution.report import feed_gap
from taprail.streams.attribution.resolve import Attribution, Limits, State
from taprail.streams.attribution.statements import Statements

GROUP = "taprail-stream-attribution"
POLL_S, POLL_WAITING_S = 0.05, 0.005
BATCH_RECORDS = 500
BETWEEN_COMMITS_S = 0.015  # the coordinator still writes the last one's markers; asked too early, it says: later
PROGRESS_S = 1.0  # how often the offset moves where nothing has to be said
HANGING_S = 45.0  # longer than a transaction may take with its own timeouts
RESTARTS_MAX, RESTARTS_WINDOW_S = 10, 120.0
POISON_WINDOW, POISON_MIN = 200, 20
_log = logging.getLogger("taprail.attribution")


class Job(Struct, frozen=True):
    """What a process attributes and with what. `kafka` are librdkafka's settings of the role `stream`.

    instance   tells processes of one group apart; the same name again after a restart ends what the last one left open
    group      the consumer group: processes of one group share the feeds
    """

    kafka: Mapping[str, str | int]
    registry_url: str
    feeds: tuple[Feed, ...]
    mark_key: bytes
    sealer: Sealer
    instance: str = "1"
    limits: Limits = Limits()
    group: str = GROUP

    def __repr__(self) -> str:
        return f"Job({self.instance!r}, feeds={[f.topic for f in self.feeds]!r})"


def run_attribution(job: Job, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Attribute until `stop` is set. `ready` is called when the feeds are being read.

    What Kafka or the registry can't do for the moment is tried again from the last committed place. Raises StackError
    when that happens RESTARTS_MAX times within RESTARTS_WINDOW_S, RecordError when most records can't be read.
    """
    failures: list[float] = []
    while not stop.is_set():
        session = None
        try:
            session = _Session(job, ready)
            session.run(stop)
        except (KafkaException, StackError) as error:
            now_s = time.monotonic()
            failures = [*(f for f in failures if now_s - f < RESTARTS_WINDOW_S), now_s]
            if len(failures) >= RESTARTS_MAX:
                raise StackError(
                    f"attribution failed {len(failures)} times: {error}", hint="does the stack run?"
                ) from error
            _log.warning("starting again from the last committed place: %s", error)
            stop.wait(min(5.0, 0.2 * 2 ** len(failures)))
        finally:
            if session is not None:
                session.close()


class _Session:
    """A consumer and a producer from a start to a failure. After a failure nothing of it is used again."""

    def __init__(self, job: Job, ready: Callable[[], None]) -> None:
        self._job = job
        self._ready: Callable[[], None] | None = ready
        self._feeds = {feed.topic: feed for feed in job.feeds}
        registry = Registry(job.registry_url)
        self._decoder = FeedDecoder(registry.text)
        self._frames = output.register(registry.register)
        self._statements = Statements()
        self._attributions: dict[str, Attribution] = {}
        self._recent: deque[bool] = deque(maxlen=POISON_WINDOW)  # whether the last records could be read
        self._extra: list[Struct] = []  # dead letters and gaps
        self._committed_s = time.monotonic()
        self._moved = False
        self._tail = follow.StatementTail(job.kafka, f"{job.group}-statements", self._statements)
        self._producer = Producer(_producer_config(job), logger=_log)
        self._consumer = Consumer(_consumer_config(job), logger=_log)

    def run(self, stop: threading.Event) -> None:
        # What a process of the same name left open is ended here, so that the committed places are the last ones.
        self._producer.init_transactions(30)
        self._tail.catch_up(30)
        self._consumer.subscribe(list(self._feeds), on_assign=self._on_assign, on_revoke=self._on_revoke)
        with Deadline(f"a transaction of {self._job.group}", HANGING_S) as deadline:
            while not stop.is_set():
                self._read()
                self._tail.drain()
                with deadline.held():
                    self._write()

    def close(self) -> None:
        self._consumer.close()
        self._tail.close()

    def _on_assign(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        memories = follow.load_marks(
            self._job.kafka, f"{self._job.group}-marks", [self._feeds[p.topic] for p in places]
        )
        start = []
        for place in places:
            feed = self._feeds[place.topic]
            attribution = Attribution(
                feed, self._job.mark_key, memories[feed], self._statements, self._job.sealer, self._job.limits
            )
            self._attributions[feed.topic] = attribution
            start.append(TopicPartition(feed.topic, 0, self._restore(attribution)))
        consumer.assign(start)
        if self._ready is not None:
            self._ready()
            self._ready = None

    def _on_revoke(self, _: Consumer, places: Sequence[TopicPartition]) -> None:
        """No transaction is open here: the next owner goes on from the committed place."""
        for place in places:
            self._attributions.pop(place.topic, None)

    def _restore(self, attribution: Attribution) -> int:
        """Put an attribution where the group left off; the offset to read from."""
        feed = attribution.feed
        offset, kept = follow.committed(self._consumer, feed.topic)
        side = follow.reader(self._job.kafka, f"{self._job.group}-feed")
        try:
            ((_, low, high),) = follow.ranges(side, [TopicPartition(feed.topic, 0)])
            if low <= offset <= high:
                follow.read_back(side, self._decoder, attribution.join, feed.topic, low, offset)
                attribution.resume(offset, msgspec.json.decode(kept, type=State) if kept else State())
                return offset
        finally:
            side.close()
        if offset >= 0:
            reason = f"the feed keeps the offsets from {low} to {high}, and {offset} is where attribution was"
            self._extra += feed_gap(feed, reason, f"{offset}-{low}", time.time_ns() // 1000)
        attribution.resume(low, State())
        return low

    def _read(self) -> None:
        busy = self._extra or self._moved or any(a.waiting for a in self._attributions.values())
        first = self._consumer.poll(POLL_WAITING_S if busy else POLL_S)
        if first is None:
            return
        for message in (first, *self._consumer.consume(BATCH_RECORDS, 0)):
            error = message.error()
            if error is None:
                self._take(message)
            elif error.code() not in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
                raise KafkaException(error)  # also where retention was faster than we: the next start tells of the gap
        for topic, attribution in self._attributions.items():
            if attribution.full:
                self._consumer.pause([TopicPartition(topic, 0)])

    def _take(self, message: Message) -> None:
        topic, offset = message.topic() or "", message.offset() or 0
        attribution = self._attributions.get(topic)
        if attribution is None:
            return  # revoked while it was on its way
        self._moved = True
        try:
            record = self._decoder.decode(message.key(), message.value())
        except RecordError as error:
            self._poison(attribution, message, error)
            return
        self._recent.append(True)
        attribution.take(record, offset, time.monotonic())

    def _poison(self, attribution: Attribution, message: Message, error: RecordError) -> None:
        """A record that can't be read may have been a mark: keep it, tell of it, believe nothing after it."""
        feed, offset = attribution.feed, message.offset() or 0
        time_us = message.timestamp()[1] * 1000
        attribution.lose(offset)
        value = self._job.sealer.seal(message.value() or b"", f"{feed.topic}/0/{offset}")
        self._extra.append(DeadLetter(feed.topic, 0, offset, time_us, "attribution", str(error), value))
        self._extra += feed_gap(feed, f"the record at {offset} can't be read", str(offset), time_us)
        self._recent.append(False)
        bad = self._recent.count(False)
        if bad >= POISON_MIN and bad * 2 > len(self._recent):
            raise RecordError(
                f"{bad} of the last {len(self._recent)} records of change feeds can't be read: {error}",
                hint="was the connector's configuration or the registry changed?",
            )

    def _write(self) -> None:
        """One transaction with what is ready; an idle feed's offset moves once a second."""
        now_s = time.monotonic()
        if now_s - self._committed_s < BETWEEN_COMMITS_S:
            return
        records = self._extra + [r for a in self._attributions.values() for r in a.release(now_s)]
        if not records and not (self._moved and now_s - self._committed_s > PROGRESS_S):
            return
        self._producer.begin_transaction()
        for record in records:
            for out in output.outs(record, self._frames):
                self._produce(out)
        places = [_place(a) for a in self._attributions.values()]
        self._producer.send_offsets_to_transaction(places, self._consumer.consumer_group_metadata(), 15)
        self._producer.commit_transaction(15)
        self._extra, self._moved, self._committed_s = [], False, time.monotonic()
        for topic, attribution in self._attributions.items():
            if not attribution.full:
                self._consumer.resume([TopicPartition(topic, 0)])

    def _produce(self, out: Out) -> None:
        while True:
            try:
                self._producer.produce(out.topic, out.value, out.key, headers=list(out.headers))
                return
            except BufferError:
                self._producer.poll(0.1)


def _place(attribution: Attribution) -> TopicPartition:
    offset, state = attribution.position()
    return TopicPartition(attribution.feed.topic, 0, offset, msgspec.json.encode(state).decode())


def _consumer_config(job: Job) -> dict[str, Any]:
    return {
        **job.kafka,
        "group.id": job.group,
        # A member by name: one that was killed gets its feeds back at once, without waiting for its session's end.
        "group.instance.id": f"{job.group}-{job.instance}",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        # Records that retention took before we read them are a gap to tell of, never one to jump over.
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "roundrobin",
        "topic.metadata.refresh.interval.ms": 5_000,
        "session.timeout.ms": 10_000,
        "fetch.wait.max.ms": 20,
        "fetch.queue.backoff.ms": 10,
        "queued.max.messages.kbytes": 32_768,
    }


def _producer_config(job: Job) -> dict[str, Any]:
    # Its default waits 100 ms where the coordinator is busy for some more.
    backoff = {"retry.backoff.ms": 10}
    return {**job.kafka, **PRODUCER, **backoff, "transactional.id": f"{job.group}-{job.instance}"}
