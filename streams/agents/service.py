"""The process of the role `agents`: the approvals page, SCIM and the Faust application in one event loop."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web
from msgspec import Struct

from taprail.connectors.debezium.connector import restart_failed
from taprail.connectors.kafka.lag import ReadUntil
from taprail.connectors.kafka.registry import Registry
from taprail.connectors.oidc.tokens import TokenVerifier
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import SettingsError, StackError
from taprail.streams import keys, pipeline
from taprail.streams.agents.app import Outbox, application, shut_down
from taprail.streams.agents.approvals import watch_approvals
from taprail.streams.agents.coverage import watch_coverage
from taprail.streams.agents.deliver import deliver, sinks
from taprail.streams.agents.feeds import watch_feeds
from taprail.streams.agents.refusals import watch_refusals
from taprail.streams.approvals import feed
from taprail.streams.approvals.browser import BrowserSessions
from taprail.streams.approvals.pending import PendingApprovals
from taprail.streams.approvals.web import Service
from taprail.streams.approvals.web import application as page
from taprail.streams.following import follow
from taprail.streams.identity.enrich import Directory
from taprail.streams.identity.groups import Standing
from taprail.streams.identity.roster import TOPIC
from taprail.streams.identity.scim_web import ScimServer
from taprail.streams.initialise import connect_endpoint, connector_name
from taprail.streams.settings import Loaded
from taprail.streams.signin import token_rules
from taprail.streams.stream import GROUP as STATEMENT_PATH
from taprail.streams.stream import control_keys, data_sealer

IDENTITIES_SECONDS = 15.0  # how long a start waits to know who is revoked


def serve(loaded: Loaded, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Until `stop` is set. Where the page, its feed or an agent fails, the whole process ends, to be started again."""
    for chatty in ("aiokafka", "faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="taprail-agents-") as folder:
        asyncio.run(_serve(loaded, stop, ready, folder))


async def _serve(loaded: Loaded, stop: threading.Event, ready: Callable[[], None], folder: str) -> None:
    frames = pipeline.register(Registry(loaded.settings.registry.url).register).plain
    pending, directory, known = PendingApprovals(), Directory(control_keys(loaded)), threading.Event()
    standing = Standing(directory, loaded.settings.identity.groups_from, known.is_set)
    runner = web.AppRunner(page(approvals_service(loaded, pending, standing, frames[SignedRecord])), access_log=None)
    scim = ScimServer(loaded, stop) if loaded.settings.scim.token is not None else None
    app = faust_agents(loaded, frames, folder)
    await runner.setup()
    try:
        config, loop = loaded.kafka("agents").client_config("agents"), asyncio.get_running_loop()
        arguments = (TOPIC, config, directory.take, known, loop.call_soon_threadsafe, stop)
        threading.Thread(target=follow, args=arguments, daemon=True).start()
        if not await asyncio.to_thread(known.wait, IDENTITIES_SECONDS):
            raise StackError("who is revoked isn't known, so nobody may decide", hint="does Kafka answer?")
        settings = loaded.settings.approvals
        await web.TCPSite(runner, settings.host, settings.port).start()
        if scim is not None:
            await scim.start()
        following = asyncio.to_thread(feed.follow, config, pending, control_keys(loaded), loop, stop)
        await _run_both(asyncio.ensure_future(following), app, stop, ready)
    finally:
        await runner.cleanup()
        if scim is not None:
            await scim.close()


def faust_agents(loaded: Loaded, frames: Mapping[type[Struct], bytes], folder: str) -> Any:
    """The application with all of its agents, not started."""
    kafka = loaded.kafka("agents").client_config("agents")
    app = application(kafka, folder)
    outbox = Outbox(app, frames, data_sealer(loaded))
    watch_approvals(app, outbox, control_keys(loaded), loaded.settings.approvals.url)
    watch_coverage(app, outbox, ReadUntil(kafka, STATEMENT_PATH, tuple(pipeline.TAPS)).ask)
    watch_refusals(app, outbox)
    if feeds := [connector_name(d) for d in loaded.settings.databases if d.feed_role and loaded.settings.connect.url]:
        watch_feeds(app, outbox, partial(restart_failed, connect_endpoint(loaded), feeds))
    deliver(app, outbox, list(sinks(loaded)))
    return app


async def _run_both(
    following: asyncio.Future[None], app: Any, stop: threading.Event, ready: Callable[[], None]
) -> None:
    """Until `stop` is set or one of them ends. Raises what it ended with; `stop` is set in any case."""
    app.on_startup_finished = _call(ready)
    running = asyncio.ensure_future(_run(app))
    try:
        await asyncio.wait((following, running), return_when=asyncio.FIRST_COMPLETED)
    finally:
        failure = app.crash_reason  # what fails from here on, fails because it stops
        stop.set()
        await shut_down(app)
        running.cancel()
    await following
    if failure is not None:
        raise StackError(f"the agents ended: {failure!r}", hint="their log has more") from failure


async def _run(app: Any) -> None:
    await app.start()
    await app.wait_until_stopped()


def _call(ready: Callable[[], None]) -> Callable[[], Any]:
    async def called() -> None:
        ready()

    return called


def approvals_service(loaded: Loaded, pending: PendingApprovals, standing: Standing, decision_frame: bytes) -> Service:
    settings = loaded.settings
    if settings.keys.control_private is None:
        raise SettingsError("keys.control_private is not set", hint="the agents sign decisions with it")
    verifier = TokenVerifier(token_rules(settings.identity))
    secret = settings.identity.client_secret
    browser = BrowserSessions(
        verifier, settings.approvals.url, settings.identity.client_id, loaded.secret(secret) if secret else ""
    )
    return Service(
        pending=pending,
        verifier=verifier,
        browser=browser,
        sealer=data_sealer(loaded),
        private_key=keys.private_key(loaded.secret(settings.keys.control_private), "keys.control_private"),
        key_id=settings.keys.control_id,
        publish=feed.DecisionPublisher(loaded.kafka("agents").client_config("agents"), decision_frame),
        standing=standing.proven,
    )
