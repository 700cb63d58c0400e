"""What kills a log's writer must not cost a record: SIGKILL at random points, a full disk, a torn segment."""

from __future__ import annotations

import json
import os
import random
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from taprail.connectors.kafka.admin import admin_client
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import LogError
from taprail.schemas.ledger import Entry, Header
from taprail.streams.audit import segment
from taprail.streams.audit.entry import decode_header
from taprail.streams.audit.log import Limits, Log
from taprail.streams.audit.note import Verifier
from taprail.streams.audit.signer import KeySigner, default_state, generate_key, serve
from taprail.streams.audit.store import SqliteLeafStore
from taprail.streams.audit.verify import verify

KILLS = 25

# Reads a pretended topic from the log's own next offset; record i has offset 3 * i, as if markers lay between.
APPENDER = """
import sys
from pathlib import Path
from taprail.schemas.ledger import Entry, Header
from taprail.streams.audit.log import Limits, Log
from taprail.streams.audit.signer import KeySigner, default_state

directory, key, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
signer = KeySigner(key, default_state(key), "audit.example.com")
with Log(directory, signer, Limits(segment_entries=700, history_us=20_000)) as log:
    at = ((log.next_offset("taprail.audit", 0) or 0) + 2) // 3
    print("open", at, flush=True)
    while True:
        count = 1 + (at * 7919 + seed) % 90
        log.append([
            Entry(Header("taprail.audit", 0, 3 * i, i, 0, bytes(32), "unknown"), b"record %d" % i)
            for i in range(at, at + count)
        ])
        at += count
        log.publish()
        print("signed", at, flush=True)
"""


@pytest.fixture
def verifier(tmp_path: Path) -> Verifier:
    return generate_key(tmp_path / "log.key", "audit.example.com")


def signer_in(folder: Path) -> KeySigner:
    return KeySigner(folder / "log.key", default_state(folder / "log.key"), "audit.example.com")


def records(directory: Path) -> list[tuple[int, bytes]]:
    return [
        (decode_header(frame.entry.header).offset, frame.entry.payload)
        for _, path in segment.segments(directory)
        for frame in segment.read_frames(path)
    ]


def size_of(directory: Path) -> int:
    store = SqliteLeafStore.reading(directory)
    store.close()
    return store.size


def test_sigkill_at_random_points_loses_doubles_and_reorders_nothing(tmp_path: Path, verifier: Verifier) -> None:
    directory, chance = tmp_path / "log", random.Random(20)
    signed = 0
    for kill in range(KILLS):
        command = [sys.executable, "-c", APPENDER, str(directory), str(tmp_path / "log.key"), str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            word, at = process.stdout.readline().split()
            assert word == "open" and int(at) >= signed, "what was signed before the kill is gone"
            time.sleep(chance.uniform(0, 0.12))
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                if line.startswith("signed ") and line.endswith("\n"):
                    signed = int(line.split()[1])
    with Log(directory, signer_in(tmp_path)) as log:
        size = log.size
        log.publish()
    assert size >= signed > KILLS
    assert records(directory) == [(3 * i, b"record %d" % i) for i in range(size)]
    report = verify(directory, verifier)
    assert report.ok, report.problems
    assert report.size == size


def batch(first: int, count: int) -> list[Entry]:
    return [
        Entry(Header("taprail.audit", 0, i, i, 0, bytes(32), "unknown"), os.urandom(1000))
        for i in range(first, first + count)
    ]


def test_a_full_disk_is_said_and_harms_nothing(tmp_path: Path, verifier: Verifier) -> None:
    """RLIMIT_FSIZE stands for the full disk: a write past it fails as one on a full disk does, part of it written."""
    directory, signer = tmp_path / "log", signer_in(tmp_path)
    with Log(directory, signer) as log:
        log.append(batch(0, 10))
        log.publish()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            with pytest.raises(LogError, match="make room on the disk"):
                log.append(batch(10, 100))
            with pytest.raises(LogError, match="open it again"):
                log.append(batch(10, 1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert verify(directory, verifier).ok
    with Log(directory, signer) as log:
        assert log.size == 10 and log.next_offset("taprail.audit", 0) == 10
        log.append(batch(10, 100))
        log.publish()
    report = verify(directory, verifier)
    assert report.ok and report.size == 110, report.problems


def test_an_index_that_cannot_grow_is_said_and_harms_nothing(tmp_path: Path, verifier: Verifier) -> None:
    """The segment's bytes are on the disk and the transaction isn't: they are cut off again."""
    directory, signer = tmp_path / "log", signer_in(tmp_path)
    with Log(directory, signer) as log:
        log.append(batch(0, 10))
        log.publish()
        log.store._database.execute("PRAGMA max_page_count=20")
        with pytest.raises(LogError, match="index can't be written"):
            log.append(batch(10, 4000))
    with Log(directory, signer) as log:
        assert log.size == 10
        log.append(batch(10, 5))
        log.publish()
    assert [offset for offset, _ in records(directory)] == list(range(15))
    assert verify(directory, verifier).ok


def test_a_torn_segment_is_cut_to_what_was_committed(tmp_path: Path, verifier: Verifier) -> None:
    directory, signer = tmp_path / "log", signer_in(tmp_path)
    limits = Limits(segment_entries=8)
    for size in range(0, 40, 5):
        with Log(directory, signer, limits) as log:
            assert log.size == size
            log.append(batch(size, 5))
            log.publish()
        _, newest = segment.segments(directory)[-1]
        with newest.open("ab") as file:
            file.write(os.urandom(3 + size * 11))
    with Log(directory, signer, limits):
        pass
    assert [offset for offset, _ in records(directory)] == list(range(40))
    assert verify(directory, verifier).ok


WRITER = """
import json, sys, threading
from pathlib import Path
from taprail.streams.audit.log import Limits
from taprail.streams.audit.writer import Settings, run

directory, socket, kafka, registry, topic = sys.argv[1:]
settings = Settings(Path(directory), Path(socket), json.loads(kafka), registry, topic, Limits(segment_entries=300))
run(settings, threading.Event(), lambda: print("ready", flush=True))
"""


def test_sigkill_of_the_writer_on_a_real_topic(tmp_path: Path, verifier: Verifier, stack: Endpoints) -> None:
    """Transactions go on, committed and aborted ones, while the writer is killed again and again."""
    kafka, topic = stack.kafka.client_config("admin"), f"taprail.audit-{secrets.token_hex(6)}"
    admin = admin_client(stack.kafka)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({**kafka, "transactional.id": topic, "linger.ms": 2})
    producer.init_transactions(30)
    stop, signing = threading.Event(), threading.Event()
    origin, key, socket = "audit.example.com", tmp_path / "log.key", tmp_path / "s"
    arguments = (key, default_state(key), origin, socket, stop, signing.set)
    threading.Thread(target=serve, args=arguments, daemon=True).start()
    assert signing.wait(10)
    connect = json.dumps({**kafka, "group.id": topic})
    command = [sys.executable, "-c", WRITER, str(tmp_path / "log"), str(socket), connect, stack.registry_url, topic]
    committed: list[bytes] = []
    chance = random.Random(7)

    def produce(count: int, commit: bool) -> None:
        values = [b"%s %d" % (b"kept" if commit else b"aborted", len(committed) + i) for i in range(count)]
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value=value)
        producer.flush(30)
        if commit:
            producer.commit_transaction(30)
            committed.extend(values)
        else:
            producer.abort_transaction(30)

    for _ in range(6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
            until = time.monotonic() + chance.uniform(0.05, 0.5)
            while time.monotonic() < until:
                produce(chance.randint(1, 60), commit=chance.random() < 0.8)
            writer.send_signal(signal.SIGKILL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        deadline = time.monotonic() + 30
        while size_of(tmp_path / "log") < len(committed) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        writer.kill()
    with Log(tmp_path / "log", signer_in(tmp_path)) as log:
        log.publish()
    stop.set()
    admin.delete_topics([topic])[topic].result(30)
    assert [payload for _, payload in records(tmp_path / "log")] == committed
    report = verify(tmp_path / "log", verifier)
    assert report.ok and report.size == len(committed) > 100, report.to_text()
