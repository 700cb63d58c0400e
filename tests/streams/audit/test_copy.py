"""A copy that is taken while the writer works verifies, every time."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from taprail.schemas.errors import SettingsError
from taprail.streams.audit.copy import copy_log
from taprail.streams.audit.parquet import derive
from taprail.streams.audit.verify import verify


def test_copies_beside_the_writer_verify(world: Any) -> None:
    stop, failed = threading.Event(), []

    def write() -> None:
        try:
            with world.open() as log:
                while not stop.is_set():
                    log.append(world.entries(log.size, 7))
                    log.publish()
                    if not log.size % 11:
                        derive(world.directory)
        except BaseException as error:
            failed.append(error)

    world.fill(50)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        sizes = []
        for number in range(12):
            target = world.root / f"copy-{number}"
            sizes.append(copy_log(world.directory, target))
            report = verify(target, world.verifier)
            assert report.ok and report.size == sizes[-1], report.to_text()
    finally:
        stop.set()
        thread.join(10)
    assert not failed and sizes[-1] > sizes[0] >= 50


def test_a_copy_of_a_closed_log_is_the_log(world: Any) -> None:
    world.fill(90)
    derive(world.directory)
    assert copy_log(world.directory, world.root / "copy") == 90
    report = verify(world.root / "copy", world.verifier)
    assert report.ok and report.checkpoints == 2 and report.parquet_rows == 160
    with pytest.raises(SettingsError, match="exists"):
        copy_log(world.directory, world.root / "copy")
