"""The roles: what each process runs, from settings to a loop that ends on SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from taprail.schemas.errors import SettingsError
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


def run_signer(loaded: Loaded, stop: threading.Event, ready: Ready) -> None:
    from taprail.streams.audit.signer import serve

    ledger = loaded.settings.ledger
    socket_path = loaded.path(ledger.signer_socket)
    threading.Thread(target=_ready_when_there, args=(socket_path, stop, ready), daemon=True).start()
    serve(loaded.path(ledger.signer_key), loaded.path(ledger.signer_state), ledger.origin, socket_path, stop)


def _ready_when_there(path: Path, stop: threading.Event, ready: Ready) -> None:
    while not path.exists():
        if stop.wait(0.02):
            return
    ready()


def control_keys(loaded: Loaded) -> dict[str, "Ed25519PublicKey"]:
    from taprail.streams import keys

    return {
        key_id: keys.public_key(loaded.path(path), f"keys.control_public.{key_id}")
        for key_id, path in loaded.settings.keys.control_public.items()
    }
