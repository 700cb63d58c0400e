"""A stand-in for a web service: a real HTTP server on loopback, in a thread of its own, that checks what it is sent.

    with FakeSlack() as slack:
        slack.fail_next(2, 429, retry_after=0)
        ...  # give slack.url to the code under test
        assert slack.received

`received` holds what was accepted, in order; `refused` says why anything else wasn't. Blocking tests and asyncio tests
can both use it, for it has a loop of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from aiohttp import web

BODY_BYTES_MAX = 16 << 20  # what the stand-in reads; the service's own limit is what it checks


class Failure(NamedTuple):
    """An answer that has nothing to do with what was sent. Status 0 closes the connection without one."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    content_type: str


class FakeService:
    """Subclasses add routes, and give `_failure` the service's own shape."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.requests = 0
        self.port = 0
        self._failures: deque[Failure] = deque()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail_next(
        self,
        n: int,
        status: int,
        *,
        retry_after: str | int | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
    ) -> None:
        """The next `n` requests are answered with this status, whatever they say; 0 closes the connection."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        own_body, own_type = self._failure(status)
        failure = Failure(status, headers, own_body if body is None else body, content_type or own_type)
        self._failures.extend([failure] * n)

    def start(self) -> Self:
        """Listen; after a `stop`, on the same port again."""
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        assert started.wait(10), "the stand-in didn't start"
        return self

    def stop(self) -> None:
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._first])
        self._routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self.port = runner.addresses[0][1]
        started.set()
        await self._stopping.wait()
        await runner.cleanup()

    @web.middleware
    async def _first(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Count, and fail where that was asked for."""
        self.requests += 1
        if not self._failures:
            answer: web.StreamResponse = await handler(request)
            return answer
        failure = self._failures.popleft()
        await request.read()
        if failure.status == 0:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        headers = {**failure.headers, "Content-Type": failure.content_type}
        return web.Response(status=failure.status, body=failure.body, headers=headers)

    def _routes(self, app: web.Application) -> None:
        raise AssertionError("a stand-in without routes")

    def _failure(self, status: int) -> tuple[bytes, str]:
        """Body and content type of a failure, as a proxy before the service would answer."""
        return f"<html><body>{status}</body></html>".encode(), "text/html; charset=utf-8"
