"""A tap's spool and publisher as a process of their own, to be killed: its job as JSON on standard input.

It appends a record a millisecond, and tells `epoch sequence` of each on its output as soon as it is recorded.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from taprail.connectors.spool.publisher import Publisher
from taprail.connectors.spool.spool import Spool

told: dict[str, Any] = msgspec.json.decode(sys.stdin.buffer.readline())
spool = Spool(Path(told["directory"]), segment_bytes=20_000)
Publisher(spool, told["tap"], told["kafka"], lambda: {"statement": 1, "outcome": 2, "session": 3}).start()
while True:
    statement = spool.append("statement", f"s-{spool.sequence % 5}", lambda e, s: b"x" * 100)
    outcome = spool.append("outcome", f"s-{spool.sequence % 5}", lambda e, s: b"y" * 60, finishes=statement)
    sys.stdout.write(f"{spool.epoch} {outcome}\n")
    sys.stdout.flush()
    time.sleep(0.001)
