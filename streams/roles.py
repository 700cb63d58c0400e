"""The roles: what each process runs, from settings to a loop that ends on SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from taprail.streams.settings import Loaded

Ready = Callable[[], None]
Run = Callable[[Loaded, threading.Event, Ready], None]


def run_role(role: str, loaded: Loaded, ready_file: Path | None) -> None:
    """Run a role in this process until SIGTERM or SIGINT; `ready_file` is made when it serves."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def ready() -> None:
        logging.getLogger("taprail").info("%s is ready", role)
        if ready_file is not None:
            ready_file.touch()

    ROLES[role](loaded, stop, ready)


def run_tap(loaded: Loaded, stop: threading.Event, ready: Ready) -> None:
    from taprail.streams.tap import serve

    serve(loaded, stop, ready)


def run_stream(loaded: Loaded, stop: threading.Event, ready: Ready) -> None:
    from taprail.streams.stream import serve

    serve(loaded, stop, ready)


def run_agents(loaded: Loaded, stop: threading.Event, ready: Ready) -> None:
    from taprail.streams.agents.service import serve

    serve(loaded, stop, ready)


def run_ledger(loaded: Loaded, stop: threading.Event, ready: Ready) -> None:
    from taprail.streams.audit.writer import Settings, run

    ledger = loaded.settings.ledger
    run(
        Settings(
            directory=loaded.path(ledger.directory),
            signer_socket=loaded.path(ledger.signer_socket),
            kafka=loaded.kafka("ledger").client_config("ledger"),
            registry_url=loaded.settings.registry.url,
        ),
        stop,
        ready,
    )


def run_signer(loaded: Loaded, stop: threading.Event, ready: Ready) -> None:
    from taprail.streams.audit.signer import serve

    ledger = loaded.settings.ledger
    key, state = loaded.path(ledger.signer_key), loaded.path(ledger.signer_state)
    serve(key, state, ledger.origin, loaded.path(ledger.signer_socket), stop, ready)


ROLES: dict[str, Run] = {
    "tap": run_tap,
    "stream": run_stream,
    "agents": run_agents,
    "ledger": run_ledger,
    "signer": run_signer,
}
