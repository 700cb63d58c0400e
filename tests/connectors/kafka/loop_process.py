"""The batch loop as a process of its own, to be killed: its job as JSON on standard input, `ready` on output.

Its step numbers the records of each partition and copies them; what it remembers is the number. `pause_seconds` is how
long a batch takes between its first record and its commit.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from confluent_kafka import Message

from taprail.connectors.kafka.loop import Loop, Out


class Numbering:
    """Appends `/n` to each value: the n-th record of its partition, as far as this step and those before it know."""

    def __init__(self, target: str, pause_seconds: float = 0.0) -> None:
        self._target, self._pause_seconds = target, pause_seconds
        self._counts: dict[tuple[str, int], int] = {}

    def restore(self, topic: str, partition: int, kept: str) -> None:
        self._counts[topic, partition] = int(kept or 0)

    def forget(self, topic: str, partition: int) -> None:
        del self._counts[topic, partition]

    def keep(self, topic: str, partition: int) -> str:
        return str(self._counts[topic, partition])

    def process(self, messages: Sequence[Message]) -> list[Out]:
        out = []
        for message in messages:
            place = (message.topic() or "", message.partition() or 0)
            self._counts[place] += 1
            out.append(Out(self._target, b"", b"%s/%d" % (message.value(), self._counts[place])))
        time.sleep(self._pause_seconds)
        return out


def main() -> None:
    told: dict[str, Any] = msgspec.json.decode(sys.stdin.buffer.readline())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    loop = Loop(
        told["kafka"],
        told["group"],
        told["instance"],
        (told["source"],),
        lambda: Numbering(told["target"], told["pause_seconds"]),
    )
    loop.run(stop, lambda: print("ready", flush=True))


if __name__ == "__main__":
    main()
