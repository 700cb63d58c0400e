"""What a running tap can be asked for: to read its settings again, how it is, and a sibling's cancel request.

Each process has a Unix socket beside its spool; `taprail tap` asks all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from taprail.connectors import admin_socket
from taprail.connectors.postgres.cancel import Forward
from taprail.connectors.postgres.proxy import Proxy
from taprail.schemas.errors import StackError
from taprail.streams.settings import Loaded
from taprail.streams.tap_processes import admin_socket as socket_of
from taprail.streams.tap_reload import Reloader

log = logging.getLogger("taprail.tap")
_CANCEL_SECONDS = 5.0


def forward_to(loaded: Loaded, own: int) -> Forward:
    """Hand a cancel request on to the process whose it is, or to all. Nobody waits: CancelRequest has no answer.

    `loaded` are the whole tap's settings, `own` the number of the process that hands on.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def send(process: int, pid: int, key: bytes) -> None:
        try:
            await admin_socket.ask(socket_of(loaded, process), "cancel", _CANCEL_SECONDS, pid=pid, key=key.hex())
        except StackError as error:
            log.warning("a cancel request for process %d came to nothing: %s", process, error)

    def forward(process: int | None, pid: int, key: bytes) -> None:
        siblings = set(range(loaded.settings.tap.processes)) - {own}
        for sibling in siblings if process is None else siblings & {process}:  # none there: somebody is guessing
            task = asyncio.get_running_loop().create_task(send(sibling, pid, key))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    return forward


async def admin_verbs(loaded: Loaded, process: int, proxy: Proxy, reloader: Reloader) -> Admin:
    """Answer on this process's socket, and to SIGHUP, until `close`."""

    async def cancel(request: dict[str, Any]) -> dict[str, Any]:
        proxy.cancels.carry_out(int(request["pid"]), bytes.fromhex(request["key"]))
        return {}

    async def reload(_: dict[str, Any]) -> dict[str, Any]:
        reloaded = await reloader.reload()
        return {"sessions": reloaded.sessions, "needs_restart": reloaded.needs_restart}

    async def status(_: dict[str, Any]) -> dict[str, Any]:
        listens = [str(address) for address in proxy.addresses]
        return {"pid": os.getpid(), "sessions": proxy.sessions, "listens": listens}

    server = await admin_socket.serve(
        socket_of(loaded, process), {"cancel": cancel, "reload": reload, "status": status}
    )
    reloading: set[asyncio.Task[None]] = set()

    def hang_up() -> None:
        task = asyncio.get_running_loop().create_task(reloader.reload_and_log())
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError):  # only a main thread can have signals: a test's has none
        loop.add_signal_handler(signal.SIGHUP, hang_up)

    def close() -> None:
        server.close()
        socket_of(loaded, process).unlink(missing_ok=True)

    return Admin(close)


class Admin:
    """What `admin_verbs` has opened."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close
