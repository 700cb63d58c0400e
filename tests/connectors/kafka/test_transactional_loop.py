"""The batch loop on a real broker: each record counts once, through aborts, kills, restarts and rebalances."""

from __future__ import annotations

import collections
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from taprail.connectors.kafka import loop as loops
from taprail.connectors.kafka.admin import admin_client, delete_topics
from taprail.connectors.kafka.loop import Loop, Out
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import RecordError, StackError
from tests.connectors.kafka.loop_process import Numbering

PARTITIONS = 3
PROCESS = Path(__file__).with_name("loop_process.py")


class Troubled(Numbering):
    """`trouble` is called before a batch ends."""

    def __init__(self, target: str, trouble: Callable[[Sequence[Message]], None]) -> None:
        super().__init__(target)
        self._trouble = trouble

    def process(self, messages: Sequence[Message]) -> list[Out]:
        out = super().process(messages)
        self._trouble(messages)
        return out


class Bench:
    """A source and a target topic of one's own, and a group."""

    def __init__(self, stack: Endpoints) -> None:
        self.kafka = stack.kafka.client_config("admin")
        self.source, self.target = (f"test-loop-{secrets.token_hex(6)}" for _ in range(2))
        self.group = f"test-loop-{secrets.token_hex(6)}"
        self.sent: dict[int, int] = dict.fromkeys(range(PARTITIONS), 0)
        client = admin_client(stack.kafka)
        for future in client.create_topics(
            [NewTopic(self.source, PARTITIONS), NewTopic(self.target, 1)], operation_timeout=30
        ).values():
            future.result(30)
        self._producer = Producer({**self.kafka, "linger.ms": 1})

    def send(self, count: int) -> None:
        """`p-n`, the n-th record of partition p."""
        for number in range(count):
            partition = number % PARTITIONS
            self.sent[partition] += 1
            self._producer.produce(self.source, f"{partition}-{self.sent[partition]}", partition=partition)
        self._producer.flush(10)

    def read(self, isolation: str = "read_committed", quiet_seconds: float = 1.0) -> list[str]:
        """What stands in the target: until all that was sent has come, and for a quiet while longer."""
        own = {"group.id": self.group + "-reader", "isolation.level": isolation, "auto.offset.reset": "earliest"}
        consumer = Consumer({**self.kafka, **own})
        consumer.assign([TopicPartition(self.target, 0, 0)])
        found: list[str] = []
        begun = last = time.monotonic()
        while time.monotonic() - begun < 40:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                found.append((message.value() or b"").decode())
                last = time.monotonic()
            elif len(found) >= sum(self.sent.values()) and time.monotonic() - last > quiet_seconds:
                break
        consumer.close()
        return found

    def check(self) -> None:
        """Each record once, in its partition's order, with the number that it has there."""
        found: dict[int, list[str]] = collections.defaultdict(list)
        for value in self.read():
            found[int(value[0])].append(value)
        for partition, count in self.sent.items():
            assert found[partition] == [f"{partition}-{n}/{n}" for n in range(1, count + 1)]

    def loop(self, step: Callable[[], Any], instance: str = "1") -> Loop:
        return Loop(self.kafka, self.group, instance, (self.source,), step)


@pytest.fixture
def bench(stack: Endpoints) -> Iterator[Bench]:
    made = Bench(stack)
    yield made
    delete_topics(stack.kafka, [made.source, made.target])


class Running:
    """A loop in a thread. Leaving the context stops it, and raises what it raised."""

    def __init__(self, loop: Loop) -> None:
        self._loop, self._stop, self._ready = loop, threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._loop.run(self._stop, self._ready.set)
        except BaseException as error:
            self._error = error
            self._ready.set()

    def __enter__(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        if self._error is not None:
            raise self._error


def _once(error: Exception) -> Callable[[Sequence[Message]], None]:
    left = [error]

    def trouble(messages: Sequence[Message]) -> None:
        if left and len(messages) > 1:
            raise left.pop()

    return trouble


def test_records_pass_once_and_in_order(bench: Bench) -> None:
    with Running(bench.loop(lambda: Numbering(bench.target))):
        bench.send(300)
        bench.check()


def test_what_is_kept_comes_back_after_a_restart(bench: Bench) -> None:
    for _ in range(3):
        bench.send(30)
        with Running(bench.loop(lambda: Numbering(bench.target))):
            bench.check()


def test_an_aborted_batch_is_never_seen_and_comes_again(bench: Bench) -> None:
    """The producer has sent half of the batch to the broker when it fails: readers of committed records see none."""
    begun: list[int] = []

    def flushed_then_failed(messages: Sequence[Message]) -> None:
        begun.append(len(messages))

    class Failing(Troubled):
        def process(self, messages: Sequence[Message]) -> list[Out]:
            out = super().process(messages)
            return FailingList(out) if len(begun) == 1 else out

    class FailingList(list[Out]):
        def __iter__(self) -> Iterator[Out]:
            yield from list.__iter__(self)
            time.sleep(0.3)  # time for the records to reach the broker
            raise KafkaException(KafkaError(KafkaError._FAIL, "a failure in mid-transaction"))

    bench.send(90)
    with Running(bench.loop(lambda: Failing(bench.target, flushed_then_failed))):
        bench.check()
    assert len(begun) > 1
    assert len(bench.read("read_uncommitted")) > 90, "nothing was aborted: the test tests nothing"


def test_a_step_that_fails_ends_the_loop_and_leaves_no_transaction_open(bench: Bench) -> None:
    """An open transaction holds back all readers of committed records, for its timeout."""
    bench.send(30)
    fault = _once(RecordError("the step's own"))
    with (
        pytest.raises(RecordError, match="the step's own"),
        Running(bench.loop(lambda: Troubled(bench.target, fault))),
    ):
        time.sleep(2)
    other = Producer(bench.kafka)
    other.produce(bench.target, "0-1/1")
    other.flush(10)
    begun = time.monotonic()
    bench.sent = {0: 1}
    assert bench.read(quiet_seconds=0) == ["0-1/1"]
    assert time.monotonic() - begun < 5


def test_kafka_failing_again_and_again_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "RESTARTS_MAX", 3)
    seen: list[int] = []

    def trouble(messages: Sequence[Message]) -> None:
        seen.append(len(messages))
        raise KafkaException(KafkaError(KafkaError._TRANSPORT, "away"))

    bench.send(3)
    with (
        pytest.raises(StackError, match="Kafka failed 3 times"),
        Running(bench.loop(lambda: Troubled(bench.target, trouble))),
    ):
        while len(seen) < 3:
            time.sleep(0.1)
    assert len(seen) == 3


class Process:
    """The loop in a process."""

    def __init__(self, bench: Bench, instance: str, pause_seconds: float = 0.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        told = {name: getattr(bench, name) for name in ("kafka", "group", "source", "target")}
        assert self._process.stdin is not None and self._process.stdout is not None
        told |= {"instance": instance, "pause_seconds": pause_seconds}
        self._process.stdin.write(msgspec.json.encode(told) + b"\n")
        self._process.stdin.flush()

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def end(self, number: int = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        self._process.wait(30)


def test_killed_in_mid_transaction_the_next_one_goes_on_at_once(bench: Bench) -> None:
    bench.send(60)
    process = Process(bench, "1", pause_seconds=5)
    process.wait_ready()
    time.sleep(1.5)  # it is in its first batch
    process.end()
    begun = time.monotonic()
    with Running(bench.loop(lambda: Numbering(bench.target))):
        bench.check()
    assert time.monotonic() - begun < 8, "it waited for a timeout of Kafka's"


def test_partitions_move_between_processes_under_load(bench: Bench) -> None:
    """One runs, a second joins, the first is killed, a third joins, the second ends in order: all under load."""
    raining = threading.Event()

    def rain() -> None:
        while not raining.wait(0.02):
            bench.send(15)

    thread = threading.Thread(target=rain)
    thread.start()
    running: list[Process] = []
    try:
        for number, ending in enumerate((None, None, signal.SIGKILL, signal.SIGTERM)):
            if ending is not None:
                running.pop(0).end(ending)
            running.append(Process(bench, str(number), pause_seconds=0.01))
            running[-1].wait_ready()
            time.sleep(1.0)
    finally:
        raining.set()
        thread.join()
    try:
        bench.check()
    finally:
        for process in running:
            process.end()


def test_two_with_one_name_fence_each_other_and_nothing_comes_twice(bench: Bench) -> None:
    """As after a restart, when the old process isn't quite dead."""
    bench.send(60)
    old = Process(bench, "1", pause_seconds=1)
    old.wait_ready()
    time.sleep(0.5)
    new = Process(bench, "1")
    try:
        bench.send(60)
        bench.check()
    finally:
        old.end()
        new.end()
