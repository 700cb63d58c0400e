"""The process of the role `agents`: the approvals page, SCIM and the Faust application in one event loop."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec import Struct

from taprail.connectors.debezium.connector import restart_failed
from taprail.connectors.kafka.lag import ReadUntil
from taprail.connectors.kafka.registry import Registry
from taprail.connectors.oidc.tokens import TokenVerifier
from taprail.connectors.slack.people import Slack
from taprail.schemas.control import Identity
from taprail.schemas.errors import RefusedError, SettingsError, StackError
from taprail.streams import keys, pipeline
from taprail.streams.agents.app import Outbox, application, shut_down
from taprail.streams.agents.approvals import watch_approvals
from taprail.streams.agents.correlations import watch_correlations
from taprail.streams.agents.coverage import watch_coverage
from taprail.streams.agents.deliver import deliver, sinks
from taprail.streams.agents.feeds import watch_feeds
from taprail.streams.agents.grants import watch_grants
from taprail.streams.agents.refusals import watch_refusals
from taprail.streams.approvals import feed
from taprail.streams.approvals.browser import BrowserSessions
from taprail.streams.approvals.granting import Granting
from taprail.streams.approvals.grants import TOPIC as GRANTS
from taprail.streams.approvals.pending import PendingApprovals
from taprail.streams.approvals.serving import Service
from taprail.streams.approvals.web import application as page
from taprail.streams.approvals.web_slack import SlackDesk
from taprail.streams.following import follow
from taprail.streams.identity.enrich import Directory
from taprail.streams.identity.groups import Standing
from taprail.streams.identity.roster import TOPIC
from taprail.streams.identity.scim_web import ScimServer
from taprail.streams.initialise import connect_endpoint, connector_name
from taprail.streams.policy.packs import shipped
from taprail.streams.policy.release import TOPIC as POLICIES
from taprail.streams.policy.release import Releases
from taprail.streams.policy.ruling import InForce, PolicySet
from taprail.streams.policy.source import local_policies
from taprail.streams.settings import Loaded
from taprail.streams.signin import token_rules
from taprail.streams.stream import GROUP as STATEMENT_PATH
from taprail.streams.stream import control_keys, data_sealer

IDENTITIES_SECONDS = 15.0  # how long a start waits to know who is revoked, and what was given
SETTLE_AGAIN_SECONDS = (1.0, 5.0, 30.0, 60.0)  # how long to wait where Kafka doesn't take what was given
_log = logging.getLogger("taprail.approvals")


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
    service = approvals_service(loaded, pending, standing, frames)
    runner = web.AppRunner(page(service, slack_desk(loaded, directory.all)), access_log=None)
    scim = ScimServer(loaded, stop) if loaded.settings.scim.token is not None else None
    in_force = InForce(shipped(), local_policies(loaded))
    releases = Releases(control_keys(loaded), Path(folder) / "policies.json", in_force.put)
    app = faust_agents(loaded, frames, folder, lambda: in_force.policies)
    await runner.setup()
    try:
        config, loop = loaded.kafka("agents").client_config("agents"), asyncio.get_running_loop()
        granting = service.granting
        followed = (
            (TOPIC, directory.take, known),
            (GRANTS, granting.take, granting.complete),
            (POLICIES, releases.take, releases.complete),
        )
        for topic, take, complete in followed:
            arguments = (topic, config, take, complete, loop.call_soon_threadsafe, stop)
            threading.Thread(target=follow, args=arguments, daemon=True).start()
        for complete, what in ((known, "who is revoked"), (granting.complete, "what was given for a time")):
            if not await asyncio.to_thread(complete.wait, IDENTITIES_SECONDS):
                raise StackError(f"{what} isn't known, so nobody may decide", hint="does Kafka answer?")
        changed, caught_up = Settling(service).changed, threading.Event()
        keys = control_keys(loaded)
        reading = asyncio.to_thread(feed.follow, config, pending, keys, loop, stop, changed, caught_up)
        following = asyncio.ensure_future(reading)
        if not await asyncio.to_thread(caught_up.wait, IDENTITIES_SECONDS):
            raise StackError("what was decided before isn't known, so nobody may decide", hint="does Kafka answer?")
        settings = loaded.settings.approvals
        await web.TCPSite(runner, settings.host, settings.port).start()
        if scim is not None:
            await scim.start()
        await _run_both(following, app, stop, ready)
    finally:
        await runner.cleanup()
        if scim is not None:
            await scim.close()


class Settling:
    """Gives what was approved, as soon as the topic says so: a vote that was taken just before a crash counts, too."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    def changed(self, approval_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._settle(approval_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, approval_id: str) -> None:
        try:
            entry = self._service.pending.get(approval_id)
        except RefusedError:
            return  # its votes were read before it
        for wait_s in SETTLE_AGAIN_SECONDS:
            try:
                return await self._service.granting.settle(entry)
            except RefusedError as error:
                _log.error("%s is approved, and what it gives isn't published: %s", approval_id, error)
                await asyncio.sleep(wait_s)


def faust_agents(
    loaded: Loaded, frames: Mapping[type[Struct], bytes], folder: str, in_force: Callable[[], PolicySet]
) -> Any:
    """The application with all of its agents, not started."""
    kafka = loaded.kafka("agents").client_config("agents")
    app = application(kafka, folder)
    outbox = Outbox(app, frames, data_sealer(loaded))
    watch_approvals(app, outbox, control_keys(loaded), loaded.settings.approvals.url)
    watch_grants(app, outbox, control_keys(loaded), loaded.settings.approvals.url)
    watch_coverage(app, outbox, ReadUntil(kafka, STATEMENT_PATH, tuple(pipeline.TAPS)).ask)
    watch_refusals(app, outbox)
    watch_correlations(app, outbox, in_force)
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


def slack_desk(loaded: Loaded, identities: Callable[[], list[Identity]]) -> SlackDesk | None:
    """Where people decide in Slack; None where the settings don't say that they may. Raises SettingsError."""
    slack = loaded.settings.alerts.slack
    if slack is None or slack.signing_secret is None:
        return None
    secret = loaded.secret(slack.signing_secret, "alerts.slack.signing_secret")
    return SlackDesk(
        slack=Slack(loaded.secret(slack.token, "alerts.slack.token"), slack.url),
        signing_secret=secret,
        team=slack.team,
        issuer=loaded.settings.identity.issuer,
        url=loaded.settings.approvals.url,
        identities=identities,
    )


def approvals_service(
    loaded: Loaded, pending: PendingApprovals, standing: Standing, frames: Mapping[type[Struct], bytes]
) -> Service:
    settings = loaded.settings
    if settings.keys.control_private is None:
        raise SettingsError("keys.control_private is not set", hint="the agents sign decisions with it")
    verifier = TokenVerifier(token_rules(settings.identity))
    secret = settings.identity.client_secret
    browser = BrowserSessions(
        verifier, settings.approvals.url, settings.identity.client_id, loaded.secret(secret) if secret else ""
    )
    private = keys.private_key(loaded.secret(settings.keys.control_private), "keys.control_private")
    key = keys.ControlKey(settings.keys.control_id, private)
    publisher = feed.Publisher(loaded.kafka("agents").client_config("agents"), frames)
    return Service(
        pending=pending,
        granting=Granting(key, control_keys(loaded), publisher.control),
        verifier=verifier,
        browser=browser,
        sealer=data_sealer(loaded),
        key=key,
        publish=publisher.control,
        publish_approval=publisher.approval,
        publish_state=publisher.state,
        access=settings.access,
        standing=standing.proven,
        owner_of=standing.owner_of,
    )
