"""The role `stream`: the statement path and attribution, each in a loop of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.kafka.loop import Loop
from taprail.connectors.kafka.registry import Registry
from taprail.connectors.kafka.topics import change_feed_name
from taprail.schemas import avro
from taprail.schemas.control import SignedRecord
from taprail.schemas.envelope import Sealer
from taprail.streams import keys, pipeline
from taprail.streams.attribution.join import Feed
from taprail.streams.attribution.run import Job, run_attribution
from taprail.streams.identity.enrich import Directory
from taprail.streams.instance import instance
from taprail.streams.settings import Loaded

GROUP = "taprail-stream"
_log = logging.getLogger("taprail.stream")


def serve(loaded: Loaded, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Until `stop` is set. Where one of the loops fails, the whole process ends, to be started again."""
    with instance("stream", loaded.directory) as name:
        _serve(loaded, name, stop, ready)


def _serve(loaded: Loaded, name: str, stop: threading.Event, ready: Callable[[], None]) -> None:
    directory = Directory(control_keys(loaded))
    parts: dict[str, Callable[[Callable[[], None]], None]] = {
        "identities": lambda _: _follow_identities(loaded, directory, stop),
        "statement-path": lambda ready: _statement_path(loaded, name, directory, stop, ready),
        "attribution": lambda ready: _attribution(loaded, name, stop, ready),
    }
    waiting = threading.Barrier(2, action=ready)  # ready when both loops read
    failures: list[BaseException] = []

    def run(part: Callable[[Callable[[], None]], None]) -> None:
        try:
            part(_once(waiting))
        except BaseException as error:
            failures.append(error)
            waiting.abort()
            stop.set()

    threads = [threading.Thread(target=run, args=(part,), name=title) for title, part in parts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _once(waiting: threading.Barrier) -> Callable[[], None]:
    """Meet the others once, in a thread of its own: nobody waits for the slower one."""
    told = threading.Event()

    def meet() -> None:
        if not told.is_set():
            told.set()
            threading.Thread(target=_meet, args=(waiting,), daemon=True).start()

    return meet


def _meet(waiting: threading.Barrier) -> None:
    try:
        waiting.wait()
    except threading.BrokenBarrierError:
        _log.info("not ready: another part failed")


def _statement_path(
    loaded: Loaded, name: str, directory: Directory, stop: threading.Event, ready: Callable[[], None]
) -> None:
    frames = pipeline.register(Registry(loaded.settings.registry.url).register)
    sealer, rows = data_sealer(loaded), loaded.settings.policy.large_read_rows
    Loop(
        kafka=loaded.kafka("stream").client_config("stream"),
        group=GROUP,
        instance=name,
        topics=pipeline.TOPICS,
        step=lambda: pipeline.Pipeline(frames, directory, sealer, rows),
    ).run(stop, ready)


def _attribution(loaded: Loaded, name: str, stop: threading.Event, ready: Callable[[], None]) -> None:
    feeds = tuple(
        Feed(d.server, d.name, d.environment, change_feed_name(d.server, d.upstream), d.known_writers)
        for d in loaded.settings.databases
        if d.feed_role
    )
    if not feeds:
        ready()
        return
    job = Job(
        kafka=loaded.kafka("stream").client_config("stream"),
        registry_url=loaded.settings.registry.url,
        feeds=feeds,
        mark_key=mark_key(loaded),
        sealer=data_sealer(loaded),
        instance=name,
    )
    run_attribution(job, stop, ready)


def _follow_identities(loaded: Loaded, directory: Directory, stop: threading.Event) -> None:
    decode = {"taprail.identities": avro.decoder(SignedRecord)}
    with Follower(loaded.kafka("stream").client_config("stream"), decode, since_us=0) as follower:
        while not stop.is_set():
            if (followed := follower.poll(0.5)) is not None:
                directory.take(followed.record)


def data_sealer(loaded: Loaded) -> Sealer:
    settings = loaded.settings.keys
    return Sealer(settings.data_id, keys.symmetric(loaded.secret(settings.data, "keys.data"), "keys.data"))


def mark_key(loaded: Loaded) -> bytes:
    return keys.symmetric(loaded.secret(loaded.settings.keys.mark, "keys.mark"), "keys.mark")


def control_keys(loaded: Loaded) -> dict[str, Ed25519PublicKey]:
    return {
        key_id: keys.public_key(loaded.path(path), f"keys.control_public.{key_id}")
        for key_id, path in loaded.settings.keys.control_public.items()
    }
