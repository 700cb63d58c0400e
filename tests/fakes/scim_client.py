"""The SCIM service on its port, and a provider's client for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from taprail.connectors.scim.schemas import PATCH
from taprail.streams.identity.scim_web import PREFIX, ScimServer
from taprail.streams.settings import Loaded


class Client:
    """`token` is what it sends unless a call says another."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http, self.url, self.token = http, url, token

    async def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        async with self._http.request(method, self.url + path, json=body, headers=headers, ssl=False) as answer:
            text = await answer.text()
            assert not text or answer.content_type == "application/scim+json", text
            return answer.status, await answer.json(content_type=None) if text else None

    async def patch(self, path: str, *operations: dict[str, Any]) -> int:
        return (await self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}))[0]


@contextlib.asynccontextmanager
async def served(loaded: Loaded) -> AsyncIterator[Client]:
    """As the role `agents` serves it, in the test's loop."""
    stop = threading.Event()
    server, scim = ScimServer(loaded, stop), loaded.settings.scim
    await server.start()
    scheme = "https" if scim.certificate else "http"
    try:
        async with aiohttp.ClientSession() as http:
            assert scim.token is not None
            yield Client(http, f"{scheme}://127.0.0.1:{scim.port}{PREFIX}", loaded.secret(scim.token))
    finally:
        stop.set()
        await server.close()
