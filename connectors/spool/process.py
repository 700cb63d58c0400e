"""The publisher as a process of its own, so that a tap's statements don't wait for the interpreter it publishes with.

The tap writes the job as a line of JSON on its standard input, then a byte whenever there is something new; the end of
the input asks it to end. It answers in lines: what Kafka has, and when it goes to sleep. Both know the spool by its
files alone, so either may die: a tap starts its publisher again, and a publisher whose tap is gone sends what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct, json

from taprail.connectors.kafka.registry import Registry
from taprail.connectors.spool import files
from taprail.connectors.spool.files import Position
from taprail.connectors.spool.frames import Frame, Kind
from taprail.connectors.spool.publisher import RECORDS, Publisher
from taprail.connectors.spool.spool import Spool
from taprail.schemas import avro

RESTART_SECONDS_MIN, RESTART_SECONDS_MAX = 0.2, 15.0
STEADY_SECONDS = 30.0  # a publisher that ran this long starts again at once
GARBAGE_THRESHOLD = 100_000  # what a record makes goes by itself, when Kafka has it
NICE = 5  # statements come first: what isn't published yet is on disk
_log = logging.getLogger("taprail.spool")


class Job(Struct, frozen=True):
    """What a publisher is told. `kafka` is librdkafka's configuration, its password among it."""

    directory: str
    tap: str
    kafka: dict[str, str | int]
    registry_url: str


class Told(Struct, frozen=True):
    """A line of a publisher's: up to where Kafka has everything, and whether it sleeps, having read up to `read`."""

    acknowledged: Position
    asleep: bool = False
    read: Position = Position()


# The tap's side ----------------------------------------------------------------------------------------------------


class PublisherProcess:
    """Keeps a publisher running for a spool. `advanced` is called whenever Kafka has more of it."""

    def __init__(self, spool: Spool, job: Job, advanced: Callable[[Position], None] = lambda position: None) -> None:
        self._spool, self._job, self._advanced = spool, job, advanced
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.acknowledged = Position()

    @property
    def pid(self) -> int:
        """Its process id; -1 while there is none."""
        return self._process.pid if self._process is not None else -1

    def start(self) -> None:
        """From the running event loop, which must be the one that appends to the spool."""
        self._spool.wake = self._wake
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Give Kafka `timeout_s` to take what is left; what it doesn't take stays in the spool."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._process.wait()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep(self) -> None:
        delay = RESTART_SECONDS_MIN
        while True:
            started = time.monotonic()
            code = await self._run()
            if self._spool.is_closed:
                return
            steady = time.monotonic() - started > STEADY_SECONDS
            delay = RESTART_SECONDS_MIN if steady else min(delay * 2, RESTART_SECONDS_MAX)
            _log.error("the publisher ended with code %d; it starts again in %.1f s, the spool keeps all", code, delay)
            await asyncio.sleep(delay)

    async def _run(self) -> int:
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "taprail.connectors.spool.process", self._job.directory),  # seen in `ps`
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.encode(self._job) + b"\n")
            while line := await process.stdout.readline():
                self._hear(json.decode(line, type=Told))
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    def _hear(self, told: Told) -> None:
        if told.acknowledged > self.acknowledged:
            self.acknowledged = told.acknowledged
            self._spool.release(told.acknowledged)
            self._advanced(told.acknowledged)
        if told.asleep:
            self._spool.is_asleep = True
            if told.read < self._spool.end:  # something came while it lay down
                self._spool.is_asleep = False
                self._wake()

    def _wake(self) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(b"\n")


# The publisher's side -----------------------------------------------------------------------------------------------


class _Files:
    """Implements `Drained` for a spool that another process writes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._news = threading.Event()
        self._read = self._released = Position()

    def listen(self, ended: Callable[[], None]) -> None:
        """From now on the tap's bytes wake `wait` up, and their end calls `ended`."""
        threading.Thread(target=self._listen, args=(ended,), daemon=True).start()

    def read(self, position: Position) -> Iterator[tuple[Position, Frame]]:
        self._read = position
        for place, frame in files.read(self.directory, position):
            self._read = place
            yield place, frame

    def wait(self, seconds: float) -> None:
        self._say(Told(self._released, True, self._read))
        self._news.wait(seconds)
        self._news.clear()

    def release(self, acknowledged: Position) -> None:
        if acknowledged != self._released:
            self._released = acknowledged
            self._say(Told(acknowledged))

    def _listen(self, ended: Callable[[], None]) -> None:
        while os.read(0, 4096):
            self._news.set()
        ended()
        self._news.set()

    @staticmethod
    def _say(told: Told) -> None:
        with contextlib.suppress(BrokenPipeError):  # the tap is gone: what is left is sent all the same
            os.write(1, json.encode(told) + b"\n")


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends when its tap has ended, which these are meant for
    os.nice(NICE)
    gc.set_threshold(GARBAGE_THRESHOLD)
    job = json.decode(_line(), type=Job)
    directory = Path(job.directory)
    with (directory / "publisher.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the one before may still be sending what its tap has left
        drained = _Files(directory)
        publisher = Publisher(drained, job.tap, job.kafka, lambda: _schema_ids(job.registry_url))
        drained.listen(publisher.stop)
        publisher.run()


def _line() -> bytes:
    """The first line of the input, and no byte more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        if not (byte := os.read(0, 1)):
            sys.exit("the publisher got no job")
        line += byte
    return bytes(line)


def _schema_ids(registry_url: str) -> dict[Kind, int]:
    registry = Registry(registry_url)
    return {
        kind: registry.register(f"taprail.{record.__name__}", avro.schema_of(record))
        for kind, record in RECORDS.items()
    }


if __name__ == "__main__":
    main()
