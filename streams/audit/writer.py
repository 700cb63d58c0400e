"""The ledger writer: topic taprail.audit -> the log. The only module of the audit log that knows Kafka.

One partition, one writer, committed records only. It reads from the log's own next offset: what the log holds is the
truth, and the offset committed in Kafka is a hint for people who look at lag. Each turn of the loop takes at most
`BATCH_RECORDS` or what comes in `BATCH_S`, appends it durably, signs, publishes.
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import Struct as Layout
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec import Struct

from taprail.schemas.errors import LogError, RecordError, StackError
from taprail.schemas.ledger import NO_SCHEMA, UNKNOWN_KIND, Entry, Header
from taprail.streams.audit.decode import FRAME_BYTES, SchemaBook
from taprail.streams.audit.log import Limits, Log
from taprail.streams.audit.parquet import derive
from taprail.streams.audit.signer import SignerClient

TOPIC = "taprail.audit"
PARTITION = 0
BATCH_RECORDS = 5_000
BATCH_S = 0.1
COMMIT_S = 1.0
RETRY_S = 1.0
TIMEOUT_S = 10.0
READING: Mapping[str, str | int | bool] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "auto.offset.reset": "error",  # records that are gone must stop the writer, not be skipped
    "queued.min.messages": 50_000,
    "fetch.queue.backoff.ms": 10,
    "fetch.wait.max.ms": 20,
}
_FRAME = Layout(">bI")
_log = logging.getLogger("taprail.ledger")


class Settings(Struct, frozen=True):
    """What a writer needs. `kafka` connects (servers, credentials) and may name `group.id`.

    `resume_at` accepts that the records before this offset are lost: the writer starts there where the log's own next
    offset is older. Nothing else makes it skip a record.
    """

    directory: Path
    signer_socket: Path
    kafka: Mapping[str, str | int]
    registry_url: str
    topic: str = TOPIC
    limits: Limits = Limits()
    resume_at: int | None = None


def run(settings: Settings, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Write until `stop` is set; `ready` is called when it reads.

    Raises LogError where the log, the topic or the signer don't fit each other: then nothing more is written.
    """
    consumer = Consumer({"group.id": "taprail-ledger", **settings.kafka, **READING}, logger=_log)
    try:
        with Log(settings.directory, SignerClient(settings.signer_socket), settings.limits) as log:
            consumer.assign([_start(consumer, settings, log)])
            ready()
            Writer(settings, log, consumer, stop).loop()
    except KafkaException as error:
        raise StackError(f"Kafka: {error}", hint="is the broker there, and may this role read the topic?") from error
    finally:
        consumer.close()


class Writer:
    """The loop and what it holds between its turns."""

    def __init__(self, settings: Settings, log: Log, consumer: Consumer, stop: threading.Event) -> None:
        self._settings = settings
        self._log = log
        self._consumer = consumer
        self._stop = stop
        self._schemas = Schemas(settings.directory, settings.registry_url, stop)
        self._deriver = Deriver(settings.directory)
        self._offset: int | None = None
        self._committed = 0.0

    def loop(self) -> None:
        """1 consume, 2 append, 3 sign and publish, 4 tell Kafka, 5 derive Parquet of what was closed."""
        self._publish(self._log)
        self._deriver.start()
        while not self._stop.is_set():
            segment = self._log.open_segment
            self._append(self._consumer.consume(BATCH_RECORDS, BATCH_S))
            self._publish(self._log)
            self._tell_kafka()
            if self._log.open_segment != segment:
                self._deriver.start()
        self._deriver.wait()

    def _append(self, messages: list[Message]) -> None:
        entries = []
        for message in messages:
            error = message.error()
            if error is not None:
                _check(error, self._settings.topic)
                continue
            entry = self._schemas.entry(message)
            if entry is None:
                return  # stopped while the registry was away: these records come again
            entries.append(entry)
        if entries:
            self._log.append(entries)
            self._offset = entries[-1].header.offset + 1

    def _publish(self, log: Log) -> None:
        """A signer that is away delays the signature, never the record; one that refuses stops the writer."""
        try:
            log.publish()
        except StackError as error:
            _log.warning("not signed yet: %s", error)
            self._stop.wait(RETRY_S)

    def _tell_kafka(self) -> None:
        now = time.monotonic()
        if self._offset is not None and now - self._committed >= COMMIT_S:
            place = TopicPartition(self._settings.topic, PARTITION, self._offset)
            self._consumer.commit(offsets=[place], asynchronous=True)
            self._offset, self._committed = None, now


class Schemas:
    """Turns messages into entries; keeps each schema that it meets beside the log."""

    def __init__(self, directory: Path, registry_url: str, stop: threading.Event) -> None:
        self._book = SchemaBook(directory)
        self._url = f"{registry_url.rstrip('/')}/apis/ccompat/v7/schemas/ids"
        self._stop = stop
        self._known: dict[int, tuple[bytes, str]] = {}

    def entry(self, message: Message) -> Entry | None:
        """Any message becomes an entry, also one that nobody can decode. None where it was stopped meanwhile."""
        payload = message.value() or b""
        schema_id = 0
        found: tuple[bytes, str] | None = (NO_SCHEMA, UNKNOWN_KIND)
        if len(payload) >= FRAME_BYTES and payload[0] == 0:
            schema_id = _FRAME.unpack_from(payload)[1]
            found = self._known.get(schema_id) or self._meet(schema_id)
        if found is None:
            return None
        place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
        return Entry(Header(*place, message.timestamp()[1] * 1000, schema_id, *found), bytes(payload))

    def _meet(self, schema_id: int) -> tuple[bytes, str] | None:
        """Ask the registry until it answers. A schema that it doesn't have makes the record an unknown one."""
        while not self._stop.is_set():
            try:
                text = _fetch(f"{self._url}/{schema_id}")
                if text is None:
                    _log.warning("the registry has no schema %d: its records are kept as unknown", schema_id)
                    return NO_SCHEMA, UNKNOWN_KIND
                self._known[schema_id] = self._book.add(schema_id, text)
                return self._known[schema_id]
            except RecordError as error:
                _log.warning("%s: its records are kept as unknown", error)
                return NO_SCHEMA, UNKNOWN_KIND
            except StackError as error:
                _log.warning("%s", error)
                self._stop.wait(RETRY_S)
        return None


class Deriver:
    """Derives Parquet beside the loop, one run at a time; a failure is logged, for Parquet is never the truth."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._due = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._due.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="parquet", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        if self._thread is not None:
            self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        while self._due.is_set():
            self._due.clear()
            try:
                for path in derive(self._directory):
                    _log.info("derived %s/%s", path.parent.name, path.name)
            except (LogError, OSError) as error:
                _log.error("no Parquet: %s", error)


def start_offset(stored: int | None, low: int, high: int, resume_at: int | None) -> int:
    """Where to read on, from the log's next offset and the topic's first and end offset. Raises LogError for a gap."""
    wanted = stored or 0
    if resume_at is not None and resume_at > wanted:
        wanted = resume_at
    if wanted < low:
        raise LogError(
            f"the topic begins at offset {low}, and the log would go on at {wanted}: the records between are lost",
            hint=f"find out why they were deleted; resume_at = {low} accepts the loss",
        )
    if wanted > high:
        raise LogError(
            f"the topic ends at offset {high}, and the log goes on at {wanted}: it isn't the same topic",
            hint="was it deleted and made anew? start a new log for it, and keep the old one",
        )
    return wanted


def _start(consumer: Consumer, settings: Settings, log: Log) -> TopicPartition:
    metadata = consumer.list_topics(settings.topic, timeout=TIMEOUT_S).topics[settings.topic]
    if metadata.error is not None:
        raise StackError(f"{settings.topic}: {metadata.error}", hint="is the topic there, and may this role read it?")
    if len(metadata.partitions) != 1:
        raise LogError(
            f"{settings.topic} has {len(metadata.partitions)} partitions", hint="the log's order needs exactly one"
        )
    low, high = consumer.get_watermark_offsets(TopicPartition(settings.topic, PARTITION), timeout=TIMEOUT_S)
    offset = start_offset(log.next_offset(settings.topic, PARTITION), low, high, settings.resume_at)
    _log.info("%d entries in the log; reading %s from offset %d", log.size, settings.topic, offset)
    return TopicPartition(settings.topic, PARTITION, offset)


def _check(error: KafkaError, topic: str) -> None:
    """librdkafka mends what it can by itself; what reaches us as a message is either nothing or the end."""
    if error.code() == KafkaError._PARTITION_EOF or error.retriable():
        return
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise LogError(
            f"records of {topic} were deleted before they were read: {error.str()}", hint="see the topic's retention"
        )
    raise StackError(f"{topic}: {error.str()}", hint="is the broker there, and may this role read the topic?")


def _fetch(url: str) -> str | None:
    """A schema's text, None where the registry has none. Raises StackError where it doesn't answer."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            answer: Any = msgspec.json.decode(response.read())
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise StackError(f"the registry at {url} answers {error.code}", hint="see its log") from error
    except (OSError, msgspec.DecodeError) as error:
        raise StackError(f"the registry at {url} doesn't answer: {error}", hint="start it; the writer waits") from error
    return str(answer["schema"])
