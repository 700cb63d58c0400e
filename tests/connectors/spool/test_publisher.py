"""The publisher on a real broker: whatever is away, refused, killed or damaged, what was recorded comes, in order."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from taprail.connectors.kafka.admin import admin_client, provision
from taprail.connectors.kafka.registry import Registry
from taprail.connectors.local.artifacts import ensure_sets
from taprail.connectors.local.kafka import Kafka
from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.private import password
from taprail.connectors.spool import files
from taprail.connectors.spool.files import Position
from taprail.connectors.spool.frames import Frame, Kind
from taprail.connectors.spool.process import Job, PublisherProcess
from taprail.connectors.spool.publisher import TOPICS, Publisher
from taprail.connectors.spool.spool import Spool
from taprail.schemas import avro, records
from taprail.schemas.endpoints import ROLES, Endpoints, KafkaEndpoint
from taprail.streams.sequence import Seen

IDS: dict[Kind, int] = {"statement": 1, "outcome": 2, "session": 3}
PROCESS = Path(__file__).with_name("publisher_process.py")
QUICK: dict[str, str | int] = {"reconnect.backoff.max.ms": 500, "log_level": 2}


class Topics:
    """What comes into the taps' topics from now on, of a tap of one's own."""

    def __init__(self, kafka: KafkaEndpoint) -> None:
        self.tap = f"tap-{secrets.token_hex(6)}"
        own = {"group.id": "test-publisher", "enable.auto.commit": False, **QUICK}
        self._consumer = Consumer({**kafka.client_config("admin"), **own})
        found = self._consumer.list_topics(timeout=10).topics
        places = [TopicPartition(topic, p) for topic in TOPICS.values() for p in found[topic].partitions]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, 10)[1]
        self._consumer.assign(places)
        self.values: list[bytes] = []
        self._seen: dict[tuple[str, int], Seen] = defaultdict(Seen)
        self.passed: dict[int, list[int]] = defaultdict(list)  # by epoch, what the stream would let pass

    def read_until(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        """Read until it is done, and a little longer: what comes twice comes late."""
        deadline, quiet = time.monotonic() + seconds, 0
        while time.monotonic() < deadline and quiet < 5:
            messages = self._consumer.consume(1000, 0.1)
            quiet = quiet + 1 if not messages and done() else 0
            for message in messages:
                name = dict(message.headers() or [])["ce_id"]
                assert isinstance(name, bytes)
                tap, epoch, sequence = name.decode().split("/")
                if tap == self.tap:
                    self.values.append(message.value() or b"")
                    place = (message.topic() or "", message.partition() or 0)
                    if self._seen[place].new(tap, int(epoch), int(sequence)):
                        self.passed[int(epoch)].append(int(sequence))
        assert done(), f"{ {e: len(s) for e, s in self.passed.items()} } came"

    def holds(self, epoch: int, last: int, missing: frozenset[int] = frozenset()) -> None:
        """Everything up to `last`, each once."""
        wanted = set(range(1, last + 1)) - missing
        self.read_until(lambda: wanted <= set(self.passed[epoch]))
        assert sorted(self.passed[epoch]) == sorted(wanted)


@contextmanager
def _publishing(
    spool: Spool, topics: Topics, kafka: KafkaEndpoint, ids: Callable[[], dict[Kind, int]] = lambda: IDS, **config: str
) -> Iterator[Publisher]:
    publisher = Publisher(Drained(spool), topics.tap, {**kafka.client_config("tap"), **QUICK, **config}, ids)
    thread = threading.Thread(target=publisher.run, daemon=True)
    thread.start()
    yield publisher
    publisher.stop()
    thread.join(10)


class Drained:
    """A spool of this process, as its publisher sees it."""

    def __init__(self, spool: Spool) -> None:
        self.directory, self.release = spool.directory, spool.release

    def read(self, position: Position) -> Iterator[tuple[Position, Frame]]:
        return files.read(self.directory, position)

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.005))


def _append(spool: Spool, count: int) -> None:
    for number in range(count):
        key = f"s-{number % 5}"
        statement = spool.append("statement", key, b"statement %d" % (spool.sequence + 1))
        spool.append("outcome", key, b"outcome %d" % (spool.sequence + 1), finishes=statement)


def test_what_is_recorded_comes_framed_and_its_segments_go(stack: Endpoints, tmp_path: Path) -> None:
    topics, spool = Topics(stack.kafka), Spool(tmp_path, segment_bytes=1000)
    with _publishing(spool, topics, stack.kafka) as publisher:
        _append(spool, 100)
        topics.holds(spool.epoch, 200)
        deadline = time.monotonic() + 10
        while len(list(tmp_path.glob("*.seg"))) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(list(tmp_path.glob("*.seg"))) == 1
        assert publisher.acknowledged == spool.end
    assert set(topics.values) == {
        *(b"\0\0\0\0\1statement %d" % n for n in range(1, 200, 2)),
        *(b"\0\0\0\0\2outcome %d" % n for n in range(2, 201, 2)),
    }


def test_what_is_acknowledged_isnt_sent_again(stack: Endpoints, tmp_path: Path) -> None:
    topics, spool = Topics(stack.kafka), Spool(tmp_path)
    for _ in range(2):
        with _publishing(spool, topics, stack.kafka):
            _append(spool, 10)
            topics.holds(spool.epoch, spool.sequence)
    assert len(topics.values) == 40


@pytest.mark.parametrize("remembered", [b"", b"{", b"[]", None])
def test_where_the_memory_is_lost_all_is_sent_again(stack: Endpoints, tmp_path: Path, remembered: bytes | None) -> None:
    topics, spool = Topics(stack.kafka), Spool(tmp_path)
    with _publishing(spool, topics, stack.kafka):
        _append(spool, 10)
        topics.holds(spool.epoch, 20)
    memory = tmp_path / "acknowledged.json"
    memory.unlink() if remembered is None else memory.write_bytes(remembered)
    with _publishing(spool, topics, stack.kafka):
        topics.read_until(lambda: len(topics.values) == 40)
    topics.holds(spool.epoch, 20)


def test_the_registry_is_away_and_comes(stack: Endpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    topics, spool = Topics(stack.kafka), Spool(tmp_path)
    away = threading.Event()
    nowhere = f"http://127.0.0.1:{_free_port()}"

    def ids() -> dict[Kind, int]:
        registry = Registry(stack.registry_url if away.is_set() else nowhere)
        schemas = {"statement": records.Statement, "outcome": records.Outcome, "session": records.Session}
        return {kind: registry.register(f"taprail.{r.__name__}", avro.schema_of(r)) for kind, r in schemas.items()}  # type: ignore[misc]

    with _publishing(spool, topics, stack.kafka, ids):
        _append(spool, 50)
        time.sleep(1.5)
        assert "the spool keeps what comes" in caplog.text
        away.set()
        topics.holds(spool.epoch, 100)


def test_kafka_cant_be_reached_and_then_can(stack: Endpoints, tmp_path: Path) -> None:
    topics, spool = Topics(stack.kafka), Spool(tmp_path)
    port = _free_port()
    with _publishing(spool, topics, stack.kafka, **{"bootstrap.servers": f"127.0.0.1:{port}"}) as publisher:
        _append(spool, 50)
        time.sleep(2)
        assert publisher.acknowledged < spool.end
        with _forwarded(port, stack.kafka.bootstrap):
            topics.holds(spool.epoch, 100)


@pytest.mark.parametrize("victims", ["tap", "tap and publisher", "publisher"])
def test_killed_again_and_again_everything_comes_once(stack: Endpoints, tmp_path: Path, victims: str) -> None:
    """Tap and publisher die at any moment; what the tap had told as recorded comes, under the same name."""
    topics = Topics(stack.kafka)
    told: dict[int, int] = {}
    job = Job(str(tmp_path), topics.tap, stack.kafka.client_config("tap"), stack.registry_url)
    for _ in range(4):
        with subprocess.Popen([sys.executable, PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
            publishers = set[int]()
            deadline = time.monotonic() + 2.5
            while time.monotonic() < deadline:
                epoch, sequence, publisher = map(int, process.stdout.readline().split())
                told[epoch] = sequence
                if "publisher" in victims and publisher > 0 and publisher not in publishers and sequence % 700 > 600:
                    publishers.add(publisher)
                    os.kill(publisher, signal.SIGKILL)
            process.send_signal(signal.SIGKILL if "tap" in victims else signal.SIGTERM)
        assert publishers or "publisher" not in victims
    assert len(told) == 4
    with _publishing(Spool(tmp_path), topics, stack.kafka):
        topics.read_until(lambda: all(s in topics.passed[e] for e, s in told.items()))
    for epoch, last in told.items():
        recorded = len(topics.passed[epoch])
        assert recorded >= last
        assert sorted(topics.passed[epoch]) == list(range(1, recorded + 1))


@pytest.mark.parametrize("lives_ms", [0, 100, 400, 1500])
def test_a_publisher_ends_with_its_tap(stack: Endpoints, tmp_path: Path, lives_ms: int) -> None:
    """Whenever that is: during its start, too."""
    job = Job(str(tmp_path), "tap-brief", stack.kafka.client_config("tap"), stack.registry_url)
    command = [sys.executable, "-m", "taprail.connectors.spool.process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        time.sleep(lives_ms / 1000)
        process.stdin.close()
        assert process.wait(15) == 0


@pytest.mark.parametrize("before", [0, 3])
async def test_a_spool_with_nothing_new_lets_its_publisher_sleep(stack: Endpoints, tmp_path: Path, before: int) -> None:
    """A new epoch's segment is empty: that is no news."""
    topics = Topics(stack.kafka)
    for _ in range(2):
        spool = Spool(tmp_path)
        _append(spool, before)
        publisher = PublisherProcess(
            spool, Job(str(tmp_path), topics.tap, stack.kafka.client_config("tap"), stack.registry_url)
        )
        publisher.start()
        async with asyncio.timeout(20):
            while publisher.acknowledged < spool.end or not spool.is_asleep or publisher.pid < 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        before_s = _cpu_seconds(publisher.pid)
        await asyncio.sleep(2)
        assert _cpu_seconds(publisher.pid) - before_s < 0.3
        spool.close()
        await publisher.stop()
        before = 0


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def test_a_publisher_of_its_own_process_wakes_up_and_sends_what_is_left(stack: Endpoints, tmp_path: Path) -> None:
    topics, spool, advanced = Topics(stack.kafka), Spool(tmp_path), list[Position]()

    def is_done() -> bool:
        return spool.is_asleep and publisher.acknowledged == spool.end

    job = Job(str(tmp_path), topics.tap, stack.kafka.client_config("tap"), stack.registry_url)
    publisher = PublisherProcess(spool, job, advanced.append)
    publisher.start()
    for _ in range(3):
        _append(spool, 2)
        async with asyncio.timeout(10):
            while not is_done():  # noqa: ASYNC110 - there is no event for both
                await asyncio.sleep(0.01)
    assert advanced == sorted(advanced) and advanced[-1] == spool.end
    _append(spool, 50)
    await publisher.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(publisher.pid, 0)
    topics.holds(spool.epoch, 112)


def test_a_damaged_record_is_missed_and_those_behind_it_come(
    stack: Endpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topics, spool = Topics(stack.kafka), Spool(tmp_path)
    _append(spool, 20)
    spool.close()
    (segment,) = tmp_path.glob("*.seg")
    segment.write_bytes(segment.read_bytes().replace(b"statement 11", b"statement !!"))
    with caplog.at_level(logging.ERROR), _publishing(Spool(tmp_path), topics, stack.kafka):
        topics.holds(spool.epoch, 40, missing=frozenset({11}))
    assert f"{segment} is damaged from byte" in caplog.text
    assert segment.with_name(segment.name + ".damaged").exists()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kafka, KafkaEndpoint]]:
    """A broker of one's own, to be killed and told other limits."""
    home = tmp_path_factory.mktemp("broker")
    ports = choose_ports(("kafka", "controller"), home / "ports.json")
    users: dict[str, str] = {role: password(home / "secrets", role) for role in ROLES}
    jars = ensure_sets(["kafka"])["kafka"]
    kafka = Kafka(home / "kafka", jars, ports["kafka"], ports["controller"], users)
    kafka.start()
    endpoint = KafkaEndpoint(kafka.bootstrap, users)
    provision(endpoint)
    deadline = time.monotonic() + 20
    while True:  # new topics have leaders a moment after they are made
        try:
            Topics(endpoint)
            break
        except KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    yield kafka, endpoint
    kafka.child.stop()


def test_the_broker_is_killed_under_load_and_starts_again(broker: tuple[Kafka, KafkaEndpoint], tmp_path: Path) -> None:
    kafka, endpoint = broker
    topics, spool = Topics(endpoint), Spool(tmp_path)
    with _publishing(spool, topics, endpoint):
        for number in range(60):
            if number == 20:
                os.kill(kafka.child.pid, signal.SIGKILL)
                kafka.child.stop()
            _append(spool, 5)
            time.sleep(0.02)
        kafka.start()
        _append(spool, 5)
        topics.holds(spool.epoch, spool.sequence)


def test_nothing_overtakes_a_record_that_kafka_refuses(
    broker: tuple[Kafka, KafkaEndpoint], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What came behind it would make it look like a repeat, and the stream would drop it."""
    _, endpoint = broker
    topics, spool = Topics(endpoint), Spool(tmp_path)
    _limit(endpoint, "taprail.statements", 2_000)
    with _publishing(spool, topics, endpoint):
        _append(spool, 20)
        large = spool.append("statement", "s-0", secrets.token_bytes(5_000))
        _append(spool, 200)
        topics.read_until(lambda: len(topics.passed[spool.epoch]) >= 40)
        assert "Kafka refused a record" in caplog.text
        assert large not in topics.passed[spool.epoch]
        _limit(endpoint, "taprail.statements", 1_048_588)
        topics.holds(spool.epoch, spool.sequence)


def _limit(kafka: KafkaEndpoint, topic: str, size: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin_client(kafka)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _forwarded(port: int, target: str) -> Iterator[None]:
    """Connections to the port go on to the target: a broker that has come up at last."""
    host, target_port = target.split(":")

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.close()

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection((host, int(target_port)))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", port)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield
