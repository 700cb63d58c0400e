"""A tap's spool with its publisher's process, to be killed: its job as JSON on standard input.

It appends a record a millisecond, and tells `epoch sequence` of each on its output as soon as it is recorded.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from taprail.connectors.spool.process import Job, PublisherProcess
from taprail.connectors.spool.spool import Spool


async def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    spool = Spool(Path(job.directory), segment_bytes=20_000)
    publisher = PublisherProcess(spool, job)
    publisher.start()
    while True:
        statement = spool.append("statement", f"s-{spool.sequence % 5}", b"x" * 100)
        outcome = spool.append("outcome", f"s-{spool.sequence % 5}", b"y" * 60, finishes=statement)
        sys.stdout.write(f"{spool.epoch} {outcome} {publisher.pid}\n")
        sys.stdout.flush()
        await asyncio.sleep(0.001)


asyncio.run(main())
