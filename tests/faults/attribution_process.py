"""The attribution role as a process of its own, to be killed: its job as JSON on standard input, `ready` on output."""

from __future__ import annotations

import sys
import threading
from typing import Any

import msgspec

from taprail.schemas.envelope import Sealer
from taprail.streams.attribution.join import Feed
from taprail.streams.attribution.run import Job, run_attribution

told: dict[str, Any] = msgspec.json.decode(sys.stdin.buffer.readline())
job = Job(
    kafka=told["kafka"],
    registry_url=told["registry_url"],
    feeds=(msgspec.convert(told["feed"], Feed),),
    mark_key=bytes.fromhex(told["mark_key"]),
    sealer=Sealer("data-test", bytes.fromhex(told["data_key"])),
    group=told["group"],
)
run_attribution(job, threading.Event(), lambda: print("ready", flush=True))
