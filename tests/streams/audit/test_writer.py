"""The ledger writer on a real broker and a real registry: committed records, all of them, once, in order."""

from __future__ import annotations

import json
import secrets
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from taprail.connectors.kafka.admin import admin_client
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import LogError
from taprail.streams.audit import questions
from taprail.streams.audit.log import Limits
from taprail.streams.audit.signer import KeySigner, default_state, generate_key, serve
from taprail.streams.audit.verify import verify
from taprail.streams.audit.writer import Settings, run, start_offset

SCHEMA = {
    "type": "record",
    "name": "EnrichedStatement",
    "namespace": "taprail",
    "fields": [
        {"name": "tap", "type": "string"},
        {"name": "epoch", "type": "long"},
        {"name": "sequence", "type": "long"},
    ],
}


@pytest.mark.parametrize(
    "stored, low, high, resume_at, expected",
    [
        (None, 0, 0, None, 0),
        (None, 0, 9, None, 0),
        (5, 0, 9, None, 5),
        (5, 5, 5, None, 5),
        (5, 7, 9, 7, 7),
        (8, 7, 9, 7, 8),
    ],
)
def test_it_reads_on_where_the_log_ends(
    stored: int | None, low: int, high: int, resume_at: int | None, expected: int
) -> None:
    assert start_offset(stored, low, high, resume_at) == expected


@pytest.mark.parametrize(
    "stored, low, high, resume_at, said",
    [
        (5, 6, 9, None, "are lost"),
        (None, 1, 9, None, "are lost"),
        (5, 0, 4, None, "same topic"),
        (5, 7, 9, 6, "are lost"),
    ],
)
def test_a_gap_or_another_topic_stops_it(
    stored: int | None, low: int, high: int, resume_at: int | None, said: str
) -> None:
    with pytest.raises(LogError, match=said):
        start_offset(stored, low, high, resume_at)


class Ledger:
    """A topic of its own, a signer, and a writer that can be started and stopped."""

    def __init__(self, root: Path, stack: Endpoints) -> None:
        self.directory, self.kafka = root / "log", dict(stack.kafka.client_config("admin"))
        self.verifier = generate_key(root / "k", "audit.example.com")
        self.topic = f"taprail.audit-{secrets.token_hex(6)}"
        self.admin = admin_client(stack.kafka)
        self.admin.create_topics([NewTopic(self.topic, 1, 1)])[self.topic].result(30)
        self.producer = Producer({**self.kafka, "transactional.id": self.topic, "linger.ms": 5})
        self.producer.init_transactions(30)
        self.settings = Settings(
            self.directory,
            root / "s",
            {**self.kafka, "group.id": self.topic},
            stack.registry_url,
            self.topic,
            Limits(segment_entries=50),
        )
        self.schema_id = register(stack.registry_url, self.topic)
        self.failure: BaseException | None = None

    def start_signer(self, root: Path) -> threading.Event:
        stop, ready = threading.Event(), threading.Event()
        arguments = (root / "k", default_state(root / "k"), "audit.example.com", root / "s", stop, ready.set)
        threading.Thread(target=serve, args=arguments, daemon=True).start()
        assert ready.wait(10)
        return stop

    def start(self) -> Callable[[], None]:
        stop, ready = threading.Event(), threading.Event()

        def target() -> None:
            try:
                run(self.settings, stop, ready.set)
            except BaseException as error:
                self.failure = error
                ready.set()

        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        assert ready.wait(30)

        def end() -> None:
            stop.set()
            thread.join(20)
            assert not thread.is_alive()

        return end

    def produce(self, first: int, count: int, commit: bool = True) -> None:
        self.producer.begin_transaction()
        for i in range(first, first + count):
            self.producer.produce(self.topic, value=self.value(i), key=b"k")
        self.producer.flush(30)
        if commit:
            self.producer.commit_transaction(30)
        else:
            self.producer.abort_transaction(30)

    def value(self, sequence: int) -> bytes:
        return b"\0" + self.schema_id.to_bytes(4, "big") + b"\x04t1" + b"\x06" + zigzag(sequence)

    def statements(self) -> list[str]:
        return [
            row[0] for row in questions.sql(self.directory, "SELECT statement FROM statements ORDER BY leaf_index")[1]
        ]

    def wait_for(self, size: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.failure is None:
            if (self.directory / "checkpoint").exists():
                report = verify(self.directory, self.verifier, parquet=False)
                if report.checkpoint and report.checkpoint.size >= size:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{size} entries were not signed: {self.failure}")


def zigzag(number: int) -> bytes:
    number, out = number << 1, b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def register(registry_url: str, subject: str) -> int:
    request = urllib.request.Request(
        f"{registry_url}/apis/ccompat/v7/subjects/{subject}-value/versions",
        data=json.dumps({"schema": json.dumps(SCHEMA)}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return int(json.loads(response.read())["id"])


@pytest.fixture
def ledger(tmp_path: Path, stack: Endpoints) -> Iterator[Any]:
    made = Ledger(tmp_path, stack)
    stop = made.start_signer(tmp_path)
    yield made
    stop.set()
    made.admin.delete_topics([made.topic])[made.topic].result(30)


def test_committed_records_become_leaves_once_and_in_order(ledger: Any) -> None:
    """Across an aborted transaction, a stop and a start; and Kafka's own committed offset is only a hint."""
    end = ledger.start()
    ledger.produce(0, 70)
    ledger.produce(1000, 30, commit=False)
    ledger.produce(70, 10)
    ledger.wait_for(80)
    end()
    ledger.produce(80, 40)
    from confluent_kafka import Consumer

    hint = Consumer(dict(ledger.settings.kafka))
    hint.commit(offsets=[TopicPartition(ledger.topic, 0, 3)], asynchronous=False)
    hint.close()
    end = ledger.start()
    ledger.wait_for(120)
    end()
    assert ledger.failure is None
    assert ledger.statements() == [f"t1/3/{i}" for i in range(120)]
    report = verify(ledger.directory, ledger.verifier)
    assert report.ok and report.size == 120 and report.parquet_rows == 200, report.to_text()


def test_what_nobody_can_decode_is_kept_too(ledger: Any) -> None:
    end = ledger.start()
    ledger.producer.begin_transaction()
    values = [b"", b"plain text", b"\0\0\0\0\1", b"\0" + (2**31 - 1).to_bytes(4, "big") + b"x", None]
    for value in values:
        ledger.producer.produce(ledger.topic, value=value)
    ledger.producer.commit_transaction(30)
    ledger.produce(0, 1)
    ledger.wait_for(6)
    end()
    kinds = questions.sql(ledger.directory, "SELECT kind FROM entries ORDER BY leaf_index")[1]
    assert len(kinds) == 6 and kinds[-1] == ("statement",) and kinds[0] == kinds[1] == kinds[3] == ("unknown",)
    assert verify(ledger.directory, ledger.verifier).ok


def test_a_topic_made_anew_stops_the_writer(ledger: Any) -> None:
    end = ledger.start()
    ledger.produce(0, 20)
    ledger.wait_for(20)
    end()
    ledger.admin.delete_topics([ledger.topic])[ledger.topic].result(30)
    time.sleep(1)
    ledger.admin.create_topics([NewTopic(ledger.topic, 1, 1)])[ledger.topic].result(30)
    ledger.start()
    assert isinstance(ledger.failure, LogError) and "same topic" in str(ledger.failure)


def test_records_go_on_while_the_signer_is_away(ledger: Any, tmp_path: Path) -> None:
    end = ledger.start()
    ledger.produce(0, 5)
    ledger.wait_for(5)
    socket = tmp_path / "s"
    socket.rename(tmp_path / "away")
    ledger.produce(5, 5)
    deadline = time.monotonic() + 10
    while len(ledger.statements()) < 10 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(ledger.statements()) == 10
    assert KeySigner(tmp_path / "k", default_state(tmp_path / "k"), "audit.example.com").last().size == 5
    (tmp_path / "away").rename(socket)
    ledger.wait_for(10)
    end()
