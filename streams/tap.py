"""Composition root of a tap: proxy + guard + spool, and the wiring between them.

1 who are you?        SignIn            token or SCRAM -> person; groups -> database role
2 what is this?       PolicyGuard       facts, cached under a safe key, against the catalog
3 may it run?         PolicyGuard       allow · mask · hold · deny
4 write it down       SpoolRecorder     before anything happens; a mark for what writes
5 apply, forward      Proxy             the verdict, the mask plan
6 outcome             SpoolRecorder
  Publisher drains the spool to Kafka, whatever Kafka's state; the desk reads signed decisions from it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from typing import Literal

import uvloop

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.kafka.registry import Registry
from taprail.connectors.postgres.catalog import CatalogWatcher
from taprail.connectors.postgres.proxy import Hooks, Proxy
from taprail.connectors.spool.frames import Kind
from taprail.connectors.spool.publisher import Publisher
from taprail.connectors.spool.spool import Spool
from taprail.schemas import avro, records
from taprail.schemas.control import SignedRecord
from taprail.schemas.errors import SpoolError, StackError
from taprail.schemas.guard import Facts, Request, Result, SessionContext, Ticket, Verdict
from taprail.streams.approvals.waiter import DecisionDesk
from taprail.streams.gate import TapGate
from taprail.streams.masking.classify import classify
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.guard import PolicyGuard
from taprail.streams.recording import SpoolRecorder
from taprail.streams.settings import Database, Loaded, Policy
from taprail.streams.signin import SignIn, upstream_tls
from taprail.streams.stream import control_keys, data_sealer, mark_key

RECORDS: dict[Kind, type] = {"statement": records.Statement, "outcome": records.Outcome, "session": records.Session}
FOLLOW_RETRY_SECONDS = 1.0
_log = logging.getLogger("taprail.tap")


def serve(loaded: Loaded, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Until `stop` is set; then sessions are ended, and what is in the spool is drained as far as Kafka takes it."""
    uvloop.run(_serve(loaded, stop, ready))


async def _serve(loaded: Loaded, stop: threading.Event, ready: Callable[[], None]) -> None:
    settings = loaded.settings.tap
    spool = Spool(loaded.path(settings.spool), bytes_max=settings.spool_bytes_max, durability=settings.durability)
    watchers = {d.name: watcher_of(loaded, d) for d in loaded.settings.databases}
    recorder = TapRecorder(SpoolRecorder(spool, data_sealer(loaded), mark_key(loaded)), watchers)
    publisher = Publisher(spool, settings.id, loaded.kafka("tap").client_config("tap"), _schema_ids(loaded))
    publisher.start()  # first of all: a spool that is full must be drained before anything can be written
    _end_unfinished(spool, recorder.inner)
    desk = DecisionDesk(control_keys(loaded))
    guard = PolicyGuard(lambda name: watchers[name].catalog, rule_settings(loaded.settings.policy))
    sign_in = SignIn(loaded)
    hooks = Hooks(sign_in, sign_in.route, guard, recorder, TapGate(guard, desk, watchers))
    proxy = Proxy(settings.id, hooks, tls=client_tls(loaded), plaintext_tokens=settings.plaintext_tokens)
    for watcher in watchers.values():
        watcher.start()
    threading.Thread(
        target=_follow_decisions, args=(loaded, desk, asyncio.get_running_loop(), stop), daemon=True
    ).start()
    port = await proxy.listen(settings.host, settings.port)
    _log.info("%s listens on %s:%d, epoch %d", settings.id, settings.host, port, spool.epoch)
    ready()
    try:
        await asyncio.to_thread(stop.wait)
    finally:
        await proxy.close()
        for watcher in watchers.values():
            await watcher.stop()
        await asyncio.to_thread(publisher.stop)
        spool.close()


class TapRecorder:
    """Implements `Recorder`: writes down, and tells the catalog when DDL has passed through."""

    def __init__(self, inner: SpoolRecorder, watchers: dict[str, CatalogWatcher]) -> None:
        self.inner, self._watchers = inner, watchers

    def statement(self, request: Request, verdict: Verdict, *, approval: str = "", held_sequence: int = 0) -> Ticket:
        return self.inner.statement(request, verdict, approval=approval, held_sequence=held_sequence)

    def outcome(self, ticket: Ticket, request: Request, verdict: Verdict, result: Result) -> None:
        if may_change_catalog(verdict.facts) and result.status != "denied":
            self._watchers[request.session.database].stale()
        self.inner.outcome(ticket, request, verdict, result)

    def session(self, context: SessionContext, event: Literal["opened", "closed", "refused"], reason: str = "") -> None:
        self.inner.session(context, event, reason)


def may_change_catalog(facts: Facts) -> bool:
    """Whether the catalog must be read again; in doubt it must. COPY, EXECUTE and FETCH move rows only."""
    moves_rows = bool(facts.copy or facts.executes or facts.fetches)
    ddl = facts.utility and facts.writes and not moves_rows
    return ddl or facts.opaque or facts.reshapes or facts.tag == "SELECT INTO"


def rule_settings(policy: Policy) -> RuleSettings:
    return RuleSettings(policy.protected, policy.clear_groups, policy.approver_groups, policy.hold_seconds)


def watcher_of(loaded: Loaded, database: Database) -> CatalogWatcher:
    connect = {
        "host": database.host,
        "port": database.port,
        "database": database.upstream,
        "user": database.catalog_role,
        "password": loaded.secret(database.catalog_password, f"databases.{database.name}.catalog_password"),
    }
    return CatalogWatcher(connect, upstream_tls(database, loaded), classify)


def client_tls(loaded: Loaded) -> ssl.SSLContext | None:
    settings = loaded.settings.tap
    if not settings.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(loaded.path(settings.certificate), loaded.path(settings.private_key))
    return context


def _end_unfinished(spool: Spool, recorder: SpoolRecorder) -> None:
    """Statements whose end the tap before us didn't see: their outcome is unknown, and it is said."""
    decode = avro.decoder(records.Statement)
    unfinished = spool.unfinished()
    for frame in unfinished:
        try:
            recorder.unknown(decode(frame.body))
        except SpoolError as error:  # full: statements are refused as well, and the next start tries again
            _log.error("%s", error)
            break
    if unfinished:
        _log.warning("%d statements were under way when the tap died: their outcome is unknown", len(unfinished))


def _schema_ids(loaded: Loaded) -> Callable[[], dict[Kind, int]]:
    registry = Registry(loaded.settings.registry.url)
    return lambda: {
        kind: registry.register(f"taprail.{record.__name__}", avro.schema_of(record))
        for kind, record in RECORDS.items()
    }


def _follow_decisions(
    loaded: Loaded, desk: DecisionDesk, loop: asyncio.AbstractEventLoop, stop: threading.Event
) -> None:
    """Signed decisions go to the desk, in the tap's own loop. Kafka being away only makes people wait."""
    config = loaded.kafka("tap").client_config("tap")
    while not stop.is_set():
        try:
            with Follower(config, {"taprail.decisions": avro.decoder(SignedRecord)}) as follower:
                while not stop.is_set():
                    if (followed := follower.poll(0.5)) is not None:
                        loop.call_soon_threadsafe(desk.take, followed.record)
        except StackError as error:
            _log.warning("decisions can't be read: %s", error)
            stop.wait(FOLLOW_RETRY_SECONDS)
