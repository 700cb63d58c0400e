"""A Unix socket on which a process of ours is asked for something: one JSON object a line, one line as the answer.

It belongs to its owner (mode 0600), so whoever may connect may do it; what comes is still read with a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import DecodeError, json

from taprail.schemas.errors import StackError, TaprailError

log = logging.getLogger(__name__)
_LINE_BYTES = 64 << 10
PATH_BYTES_MAX = 107  # sun_path of unix(7)
Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def serve(path: Path, verbs: Mapping[str, Verb]) -> asyncio.Server:
    """Answer `{"verb": name, ...}` with what the verb returns, or with {"error", "hint"} where it raises TaprailError.

    Whoever calls has made sure that no other process serves this path: what lies there is removed.
    """

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                writer.write(json.encode(await _answer(verbs, line)) + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError) as error:  # a line that is too long, or nobody who waits for the answer
            log.debug("a request on %s came to nothing: %s", path, error)
        finally:
            writer.close()

    return await asyncio.start_unix_server(client, sock=_bound(path), limit=_LINE_BYTES)


async def ask(path: Path, verb: str, timeout_s: float = 10.0, **values: Any) -> dict[str, Any]:
    """The answer of the process behind a socket. Raises StackError where there is none, or it says no."""
    _check(path)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=_LINE_BYTES)
            try:
                writer.write(json.encode({"verb": verb, **values}) + b"\n")
                answer = json.decode(await reader.readline(), type=dict[str, Any])
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError, DecodeError) as error:
        raise StackError(f"nobody answers on {path}: {error or type(error).__name__}", hint="does it run?") from error
    if "error" in answer:
        raise StackError(str(answer["error"]), hint=str(answer.get("hint", "")))
    return answer


async def _answer(verbs: Mapping[str, Verb], line: bytes) -> dict[str, Any]:
    try:
        request = json.decode(line, type=dict[str, Any])
        verb = verbs.get(str(request.pop("verb", "")))
        if verb is None:
            raise StackError("that isn't known here", hint=f"there are: {', '.join(verbs)}")
        return await verb(request)
    except TaprailError as error:
        return {"error": error.message, "hint": error.hint}
    except (DecodeError, LookupError, TypeError, ValueError) as error:
        return {"error": f"the request is malformed: {error!r}", "hint": ""}


def _bound(path: Path) -> socket.socket:
    _check(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(str(path))
        path.chmod(0o600)  # before listen(2): nobody can have connected yet
    except BaseException:
        made.close()
        raise
    return made


def _check(path: Path) -> None:
    if len(str(path).encode()) > PATH_BYTES_MAX:
        raise StackError(f"{path} is too long for a Unix socket", hint="choose a shorter directory")
