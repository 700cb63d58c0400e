"""SCIM over HTTP: the bearer token, sizes, and one request after the other in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import ssl
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from aiohttp import web
from msgspec import json

from taprail.connectors.scim.errors import ScimError
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import SettingsError
from taprail.streams.following import follow
from taprail.streams.identity.book import Book
from taprail.streams.identity.roster import TOPIC
from taprail.streams.identity.scim import Answer, Request, Scim
from taprail.streams.settings import Loaded

PREFIX = "/scim/v2"
BODY_BYTES_MAX = 4 << 20  # a group of 30,000 members, replaced as a whole
TOKEN_CHARACTERS_MIN = 32
CONTENT_TYPE = "application/scim+json"
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_log = logging.getLogger("taprail.scim")


class Tokens:
    """Which tokens hold. They are compared by their hashes, in constant time, and every one of them each time."""

    def __init__(self, tokens: Sequence[str]) -> None:
        if short := [token for token in tokens if len(token) < TOKEN_CHARACTERS_MIN]:
            raise SettingsError(
                f"scim.token has {len(short[0])} characters", hint=f"at least {TOKEN_CHARACTERS_MIN}, random ones"
            )
        self._digests = [hashlib.sha256(token.encode()).digest() for token in tokens]

    def hold(self, authorization: str) -> bool:
        """Whether the header `Authorization` has one of them (RFC 6750, section 2.1)."""
        scheme, _, token = authorization.partition(" ")
        given = hashlib.sha256(token.strip().encode(errors="surrogateescape")).digest()
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(found)


def application(scim: Scim, tokens: Tokens, one_thread: Executor) -> web.Application:
    """`one_thread` runs one call after the other: `scim` isn't for several threads."""
    app = web.Application(client_max_size=BODY_BYTES_MAX)

    async def serve(request: web.Request) -> web.Response:
        if not tokens.hold(request.headers.get("Authorization", "")):
            _log.warning("a request without the token, from %s", request.remote)
            refused = _response(_error(401, "a bearer token is needed"))
            refused.headers["WWW-Authenticate"] = "Bearer"
            return refused
        try:
            asked = Request(
                request.method,
                request.path.removeprefix(PREFIX),
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                await request.read(),
            )
            answer = await asyncio.get_running_loop().run_in_executor(one_thread, scim.answer, asked)
        except web.HTTPRequestEntityTooLarge:
            answer = _error(413, f"the body has more than {BODY_BYTES_MAX} bytes")
        except Exception:
            _log.exception("%s %r failed", request.method, request.path)
            answer = _error(500, "this failed: the service's log says why")
        return _response(answer)

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app.router.add_get("/health", health)
    app.router.add_route("*", PREFIX + "/{rest:.*}", serve)
    return app


class ScimServer:
    """The service of the role `agents`: listens, and follows what others write. `start` needs a running loop."""

    def __init__(self, loaded: Loaded, stop: threading.Event) -> None:
        scim = loaded.settings.scim
        references = [each for each in (scim.token, scim.previous_token) if each is not None]
        if not references or scim.subject is None:
            raise SettingsError("scim.token is not set", hint="without it SCIM isn't served")
        self._loaded, self._stop = loaded, stop
        self._book = Book(loaded)
        self._thread = ThreadPoolExecutor(1, "scim")
        tokens = Tokens([loaded.secret(each, "scim.token") for each in references])
        app = application(Scim(self._book, scim.subject, scim.url), tokens, self._thread)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Raises StackError where Kafka doesn't answer: nothing is served that may be wrong."""
        scim, loop = self._loaded.settings.scim, asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._book.read)
        config = self._loaded.kafka("agents").client_config("agents")
        arguments = (TOPIC, config, self._take, threading.Event(), loop.call_soon_threadsafe, self._stop)
        threading.Thread(target=follow, args=arguments, name="scim-follow", daemon=True).start()
        await self._runner.setup()
        await web.TCPSite(self._runner, scim.host, scim.port, ssl_context=tls(self._loaded)).start()
        _log.info("SCIM listens on %s:%d", scim.host, scim.port)

    async def close(self) -> None:
        await self._runner.cleanup()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(self, record: SignedRecord) -> None:
        """What others write: another service, a file, somebody by hand. Taking our own once more changes nothing."""
        with contextlib.suppress(RuntimeError):  # the thread has ended, and so does the service
            self._thread.submit(lambda: self._book.roster.take(record))


def tls(loaded: Loaded) -> ssl.SSLContext | None:
    """None for plain HTTP. Raises SettingsError."""
    scim = loaded.settings.scim
    if not scim.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(loaded.path(scim.certificate), loaded.path(scim.private_key), password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"scim.certificate: {error}", hint="PEM files: the chain, and its private key") from error
    return context


def _error(status: int, text: str) -> Answer:
    return Answer(status, ScimError(status, text).body())


def _response(answer: Answer) -> web.Response:
    headers: Mapping[str, str] = {**HEADERS, **answer.headers}
    if answer.body is None:
        return web.Response(status=answer.status, headers=headers)
    return web.Response(status=answer.status, body=json.encode(answer.body), content_type=CONTENT_TYPE, headers=headers)
