"""Waits for the disk and for Kafka: nobody goes on too early, one flush serves many, and a failure is told."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from taprail.connectors.spool.durable import Durable
from taprail.connectors.spool.spool import Spool
from taprail.schemas.errors import RefusedError


def segments(directory: Path) -> int:
    return len(list(directory.glob("*.seg")))


def append(spool: Spool, count: int = 1) -> None:
    for _ in range(count):
        spool.append("statement", "s-1", b"x" * 200)


class Disk:
    """fdatasync, which waits until it may, and remembers how far each file was when it was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may = threading.Event()
        self.may.set()
        self.sizes: list[int] = []
        self.error: OSError | None = None
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self.sizes.append(os.fstat(descriptor).st_size)
        assert self.may.wait(10)
        if self.error is not None:
            raise self.error
        self._real(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_a_process_waits_for_nothing(tmp_path: Path, disk: Disk) -> None:
    spool = Spool(tmp_path)
    append(spool)
    await Durable(spool).wait("process")
    assert disk.sizes == []


async def test_what_is_on_the_disk_was_flushed_after_it_was_written(tmp_path: Path, disk: Disk) -> None:
    spool = Spool(tmp_path)
    durable = Durable(spool)
    for _ in range(3):
        append(spool)
        await durable.wait("machine")
        assert disk.sizes[-1] == spool.end.offset
    await durable.wait("machine")
    assert len(disk.sizes) == 3, "what is there already isn't flushed again"


async def test_one_flush_serves_all_who_wait_and_none_who_came_too_late(tmp_path: Path, disk: Disk) -> None:
    spool = Spool(tmp_path)
    durable = Durable(spool)
    disk.may.clear()
    append(spool)
    first = asyncio.create_task(durable.wait("machine"))
    await asyncio.sleep(0.05)
    late = []
    for _ in range(20):
        append(spool)
        late.append(asyncio.create_task(durable.wait("machine")))
    await asyncio.sleep(0.05)
    assert not first.done() and len(disk.sizes) == 1
    disk.may.set()
    await asyncio.gather(first, *late)
    assert len(disk.sizes) == 2 and disk.sizes[1] == spool.end.offset


async def test_segments_that_ended_are_flushed_too(tmp_path: Path, disk: Disk) -> None:
    spool = Spool(tmp_path, segment_bytes=1000)
    disk.may.clear()
    append(spool, 12)
    waiting = asyncio.create_task(Durable(spool).wait("machine"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    disk.may.set()
    await waiting
    assert len(disk.sizes) == segments(tmp_path) > 2


async def test_a_disk_that_fails_refuses_everybody(tmp_path: Path, disk: Disk) -> None:
    spool = Spool(tmp_path)
    durable = Durable(spool)
    disk.error = OSError(5, "Input/output error")
    append(spool)
    waits = await asyncio.gather(*(durable.wait("machine") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(error, RefusedError) and "Input/output error" in error.message for error in waits)
    disk.error = None
    await durable.wait("machine")


async def test_kafka_is_waited_for_up_to_the_record(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    durable = Durable(spool)
    append(spool)
    early = spool.end
    first = asyncio.create_task(durable.wait("kafka"))
    await asyncio.sleep(0)
    append(spool)
    second = asyncio.create_task(durable.wait("kafka"))
    await asyncio.sleep(0)
    durable.advanced(early)
    await asyncio.sleep(0)
    await first
    assert not second.done()
    durable.advanced(spool.end)
    await second
    await durable.wait("kafka")


async def test_kafka_being_away_refuses(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    append(spool)
    with pytest.raises(RefusedError, match="Kafka didn't take"):
        await Durable(spool, kafka_seconds=0.05).wait("kafka")
