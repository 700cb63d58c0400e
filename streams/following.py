"""Signed records as they come, from a topic's first one on, handed over to whoever asks for them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from taprail.connectors.kafka.follow import Follower
from taprail.schemas import avro
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import StackError

RETRY_SECONDS, ASK_SECONDS = 1.0, 1.0
_log = logging.getLogger("taprail.control")


def follow(
    topic: str,
    config: Mapping[str, str | int],
    take: Callable[[SignedRecord], object],
    complete: threading.Event,
    hand_over: Callable[..., object],
    stop: threading.Event,
    current: Callable[[], object] | None = None,
) -> None:
    """Until `stop` is set. `complete` is set when all that stood there at the start has been taken, and `current` is
    called about once a second while nothing stands there that hasn't been.

    `hand_over` calls what it is given with its arguments, one call after the other: `call_soon_threadsafe` of a loop,
    or `submit` of an executor with one thread.
    """
    while not stop.is_set():
        try:
            with Follower(config, {topic: avro.decoder(SignedRecord)}, since_us=0) as follower:
                asked = 0.0
                while not stop.is_set():
                    if not complete.is_set() and not follower.behind():
                        hand_over(complete.set)  # behind what was handed over before
                    if current is not None and time.monotonic() >= asked + ASK_SECONDS:
                        asked = time.monotonic()
                        if follower.at_end(ASK_SECONDS):
                            hand_over(current)
                    if (followed := follower.poll(0.5)) is not None:
                        hand_over(take, followed.record)
        except StackError as error:
            _log.warning("%s can't be read: %s", topic, error)
            stop.wait(RETRY_SECONDS)
        except RuntimeError:  # the loop or the executor has ended, and so does whoever asked
            return
