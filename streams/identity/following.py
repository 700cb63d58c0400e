"""Signed identities as they come, from the first one on, in the loop of whoever asks them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

from taprail.connectors.kafka.follow import Follower
from taprail.schemas import avro
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import StackError

TOPIC = "taprail.identities"
RETRY_SECONDS = 1.0
_log = logging.getLogger("taprail.identity")


def follow(
    config: Mapping[str, str | int],
    take: Callable[[SignedRecord], object],
    complete: threading.Event,
    loop: asyncio.AbstractEventLoop,
    stop: threading.Event,
) -> None:
    """Until `stop` is set. `complete` is set, in the loop, when all that stood there at the start has been taken."""
    while not stop.is_set():
        try:
            with Follower(config, {TOPIC: avro.decoder(SignedRecord)}, since_us=0) as follower:
                while not stop.is_set():
                    if not complete.is_set() and not follower.behind():
                        loop.call_soon_threadsafe(complete.set)  # behind what was handed over before
                    if (followed := follower.poll(0.5)) is not None:
                        loop.call_soon_threadsafe(take, followed.record)
        except StackError as error:
            _log.warning("identities can't be read: %s", error)
            stop.wait(RETRY_SECONDS)
        except RuntimeError:  # the loop has ended, and so does whoever asked
            return
