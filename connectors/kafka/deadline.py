"""The end of a process whose Kafka client hangs.

librdkafka's `send_offsets_to_transaction` was seen to wait for ever when the broker dies in the middle of it, whatever
its own timeout (2.16.0; the same was reported of 1.5.0). A thread that waits in C can't be called back. But everything
that such a process has is committed or will be aborted, so it may be killed at any time: it ends itself, and whoever
supervises it starts it again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Self

EXIT_CODE = os.EX_TEMPFAIL
_log = logging.getLogger("taprail.kafka")


class Deadline:
    """Watches what may hang, from a thread of its own, while it is entered. One thing at a time."""

    def __init__(self, what: str, seconds: float) -> None:
        self._what, self._seconds = what, seconds
        self._until: float | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The process ends where this takes longer than its seconds."""
        self._until = time.monotonic() + self._seconds
        try:
            yield
        finally:
            self._until = None

    def _watch(self) -> None:
        while not self._over.wait(self._seconds / 20):
            until = self._until
            if until is not None and time.monotonic() > until:
                _log.critical(
                    "%s took more than %.1f s: Kafka's client hangs. The process ends, to be started again; it goes on "
                    "from what is committed, and nothing is lost or doubled",
                    self._what,
                    self._seconds,
                )
                logging.shutdown()
                os._exit(EXIT_CODE)
