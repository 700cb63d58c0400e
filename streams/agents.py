"""The role `agents`: what is thin. The approvals service; delivery of alerts, timers and windows are Faust agents."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from aiohttp import web

from taprail.connectors.kafka.registry import Registry
from taprail.connectors.oidc.tokens import TokenVerifier
from taprail.schemas import avro
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import SettingsError
from taprail.streams import keys
from taprail.streams.approvals import feed
from taprail.streams.approvals.browser import BrowserSessions
from taprail.streams.approvals.pending import PendingApprovals
from taprail.streams.approvals.web import Service, application
from taprail.streams.settings import Loaded
from taprail.streams.signin import token_rules
from taprail.streams.stream import control_keys, data_sealer


def serve(loaded: Loaded, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Until `stop` is set."""
    asyncio.run(_serve(loaded, stop, ready))


async def _serve(loaded: Loaded, stop: threading.Event, ready: Callable[[], None]) -> None:
    pending = PendingApprovals()
    runner = web.AppRunner(application(approvals_service(loaded, pending)), access_log=None)
    await runner.setup()
    settings = loaded.settings.approvals
    await web.TCPSite(runner, settings.host, settings.port).start()
    config, loop = loaded.kafka("agents").client_config("agents"), asyncio.get_running_loop()
    arguments = (config, pending, control_keys(loaded), loop, stop)
    following = asyncio.create_task(asyncio.to_thread(feed.follow, *arguments))
    ready()
    try:
        await following  # until `stop`, or its failure
    finally:
        await runner.cleanup()


def approvals_service(loaded: Loaded, pending: PendingApprovals) -> Service:
    settings = loaded.settings
    if settings.keys.control_private is None:
        raise SettingsError("keys.control_private is not set", hint="the agents sign decisions with it")
    verifier = TokenVerifier(token_rules(settings.identity))
    secret = settings.identity.client_secret
    browser = BrowserSessions(
        verifier, settings.approvals.url, settings.identity.client_id, loaded.secret(secret) if secret else ""
    )
    schema_id = Registry(settings.registry.url).register("taprail.SignedRecord", avro.schema_of(SignedRecord))
    return Service(
        pending=pending,
        verifier=verifier,
        browser=browser,
        sealer=data_sealer(loaded),
        private_key=keys.private_key(loaded.secret(settings.keys.control_private), "keys.control_private"),
        key_id=settings.keys.control_id,
        publish=feed.DecisionPublisher(loaded.kafka("agents").client_config("agents"), schema_id),
    )
