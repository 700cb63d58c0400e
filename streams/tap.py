"""Composition root of a tap: proxy + guard + spool, and the wiring between them.

1 who are you?        SignIn            token or SCRAM -> person; groups -> database role
2 what is this?       PolicyGuard       facts, cached under a safe key, against the catalog
3 may it run?         PolicyGuard       allow · mask · hold · deny
4 write it down       SpoolRecorder     before anything happens; a mark for what writes
5 apply, forward      Proxy             the verdict, the mask plan
6 outcome             SpoolRecorder
  A process of its own drains the spool to Kafka, whatever Kafka's state; the desk reads signed decisions from it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import uvloop

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.postgres.catalog import CatalogWatcher
from taprail.connectors.postgres.listener import raise_file_limit
from taprail.connectors.postgres.proxy import Hooks, Proxy, Serving
from taprail.connectors.postgres.signin import Identity, Login
from taprail.connectors.postgres.upstream import Target
from taprail.connectors.spool import files
from taprail.connectors.spool.durable import Durable
from taprail.connectors.spool.files import Position
from taprail.connectors.spool.process import Job, PublisherProcess
from taprail.connectors.spool.spool import Spool
from taprail.schemas import avro, records
from taprail.schemas.control import Grant, SignedRecord
from taprail.schemas.errors import SpoolError, StackError
from taprail.schemas.guard import Catalog, Facts, Request, Result, SessionContext, Ticket, Verdict
from taprail.schemas.records import ApprovalState
from taprail.streams.approvals.grants import TOPIC as GRANTS
from taprail.streams.approvals.grants import Grants, leans_on, stands_on
from taprail.streams.approvals.spent import Spent
from taprail.streams.approvals.waiter import DecisionDesk
from taprail.streams.following import follow
from taprail.streams.gate import TapGate
from taprail.streams.identity.enrich import Directory
from taprail.streams.identity.passed_on import pass_on
from taprail.streams.identity.revocation import Revocations
from taprail.streams.identity.roster import TOPIC as IDENTITIES
from taprail.streams.identity.speaking import listening
from taprail.streams.masking.classify import classify
from taprail.streams.policy.changing import Changing
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.familiar import Familiar
from taprail.streams.policy.guard import PolicyGuard
from taprail.streams.policy.history import History
from taprail.streams.policy.packs import shipped
from taprail.streams.policy.release import TOPIC as POLICIES
from taprail.streams.policy.release import Releases
from taprail.streams.policy.ruling import InForce, PolicySet
from taprail.streams.policy.source import local_policies
from taprail.streams.recording import SpoolRecorder
from taprail.streams.settings import Database, Loaded, Policy
from taprail.streams.signin import SignIn
from taprail.streams.stream import control_keys, data_sealer, mark_key
from taprail.streams.tap_admin import admin_verbs, forward_to
from taprail.streams.tap_listen import addresses_of, limits_of
from taprail.streams.tap_processes import ids, left_over, of_process, serve_all
from taprail.streams.tap_reload import Reloader, Watchers
from taprail.streams.upstreams import catalog_connect, upstream_tls

FOLLOW_RETRY_SECONDS = 1.0
IDENTITIES_SECONDS = POLICIES_SECONDS = 10.0  # how long a start waits to know who is revoked, and what may run
GARBAGE_THRESHOLD = 50_000  # a statement makes no cycles: what they would be looked for in are sessions
DRAIN_SECONDS = 0.2
SWEEP_SECONDS = 0.5  # how much later than its time a grant may end
GRANT_SQLSTATE = "57P01"
_log = logging.getLogger("taprail.tap")


def serve(loaded: Loaded, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Until `stop` is set; then sessions are ended, and what is in the spool is drained as far as Kafka takes it."""
    if loaded.settings.tap.processes > 1 or left_over(loaded):
        serve_all(loaded, stop, ready, serve_one, drain)
    else:
        serve_one(loaded, 0, stop, ready)


def serve_one(loaded: Loaded, process: int, stop: threading.Event, ready: Callable[[], None]) -> None:
    """One of the tap's processes."""
    raise_file_limit()
    gc.collect()
    gc.freeze()  # what stays for good isn't looked through again
    gc.set_threshold(GARBAGE_THRESHOLD)
    uvloop.run(_serve(loaded, process, stop, ready))


def drain(loaded: Loaded, process: int, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Publish what a process has left that there is no more of, then end."""
    uvloop.run(_drain(of_process(loaded, process), stop, ready))


async def _drain(loaded: Loaded, stop: threading.Event, ready: Callable[[], None]) -> None:
    spool = _spool(loaded)
    publisher = _publisher(spool, loaded)
    publisher.start()
    _end_unfinished(spool, _recorder(spool, loaded))
    ready()
    while next(files.read(spool.directory, publisher.acknowledged), None) is not None:
        if await asyncio.to_thread(stop.wait, DRAIN_SECONDS):
            break
    spool.close()
    await publisher.stop()


async def _serve(whole: Loaded, process: int, stop: threading.Event, ready: Callable[[], None]) -> None:
    loaded = of_process(whole, process)
    tap = loaded.settings.tap
    spool = _spool(loaded)
    watchers = Watchers(loaded, watcher_of)
    in_force, history = InForce(shipped(), local_policies(loaded)), history_of(whole, process)
    familiar = Familiar(spool.directory / "familiar", loaded.settings.policy.learning_days)
    written = _recorder(spool, loaded, spent_of(whole).spend)
    recorder = TapRecorder(written, watchers, partial(_look_back, in_force, history, familiar))
    durable = Durable(spool)
    publisher = _publisher(spool, loaded, durable.advanced)
    publisher.start()  # first of all: a spool that is full must be drained before anything can be written
    _end_unfinished(spool, recorder.inner)
    desk = DecisionDesk(control_keys(loaded))
    grants = Grants(control_keys(loaded), frozenset(ids(whole)))
    grants.is_spent = spent_of(whole).holds
    revocations = Revocations(Directory(control_keys(loaded)), spool.directory / "revoked.json")

    def serving(now: Loaded) -> Serving:
        """What who comes in is served with: again at each reload."""
        policy = now.settings.policy
        in_force.prepare(local_policies(now))
        changing = Changing(policy.zone, history, zone_of=revocations.zone_of, familiar=familiar)
        catalog = partial(_catalog_of, watchers)
        guard = PolicyGuard(
            catalog, rule_settings(policy), hash_keys(now), in_force=in_force, changing=changing, lifting=grants.lifting
        )
        sign_in = SignIn(now, revocations.standing(now.settings.identity.groups_from), grants.role)
        gate = TapGate(guard, desk, watchers, durable.wait)

        def route(login: Login, identity: Identity) -> Target:
            revocations.check(identity.person)
            return sign_in.route(login, identity)

        hooks = Hooks(sign_in, route, guard, recorder, gate, pass_on(now))
        hooks = listening(hooks, sign_in.speakers)
        allowed = frozenset(name.lower() for name in now.settings.tap.allowed_settings)
        return Serving(hooks, limits_of(now.settings.tap.limits), now.settings.tap.plaintext_tokens, allowed)

    proxy = Proxy(tap.id, serving(loaded), process=process, forward=forward_to(whole, process))
    revocations.end = proxy.end_sessions
    grants.ended = partial(end_granted, proxy)
    reloader = Reloader(loaded, process, proxy, watchers, serving, in_force.commit)
    for watcher in watchers.values():
        watcher.start()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_follow_decisions, args=(loaded, desk, loop, stop), daemon=True).start()
    kafka = loaded.kafka("tap").client_config("tap")
    arguments = (IDENTITIES, kafka, revocations.take, revocations.complete, loop.call_soon_threadsafe, stop)
    threading.Thread(target=follow, args=arguments, daemon=True).start()
    arguments = (GRANTS, kafka, grants.take, grants.complete, loop.call_soon_threadsafe, stop)
    threading.Thread(target=follow, args=arguments, kwargs={"current": grants.current}, daemon=True).start()
    sweeping = loop.create_task(_sweep(grants))
    await _follow_releases(loaded, in_force, spool.directory / "policies.json", kafka, stop)
    if not await asyncio.to_thread(revocations.complete.wait, IDENTITIES_SECONDS):
        _log.warning("identities aren't read yet: who was revoked while this tap was down may sign in until they are")
    await proxy.listen_on(addresses_of(loaded, process))
    where = ", ".join(str(address) for address in proxy.addresses)
    _log.info("%s listens on %s, epoch %d", tap.id, where, spool.epoch)
    admin = await admin_verbs(whole, process, proxy, reloader)
    ready()
    try:
        await asyncio.to_thread(stop.wait)
    finally:
        sweeping.cancel()
        admin.close()
        await proxy.close()
        for watcher in watchers.values():
            await watcher.stop()
        spool.close()
        await publisher.stop()


def _spool(loaded: Loaded) -> Spool:
    tap = loaded.settings.tap
    return Spool(loaded.path(tap.spool), bytes_max=tap.spool_bytes_max)


def _recorder(spool: Spool, loaded: Loaded, spend: Callable[[str], None] = lambda approval: None) -> SpoolRecorder:
    return SpoolRecorder(spool, data_sealer(loaded), mark_key(loaded), loaded.settings.policy.values, spend)


def spent_of(whole: Loaded) -> Spent:
    """What all processes of a tap know to be used."""
    spool = whole.path(whole.settings.tap.spool)
    return Spent(spool.with_name(spool.name + ".spent"))


def history_of(whole: Loaded, process: int) -> History:
    """What people have done lately at all processes of a tap."""
    spool = whole.path(whole.settings.tap.spool)
    return History(folder=spool.with_name(spool.name + ".history"), process=process)


async def _sweep(grants: Grants) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        grants.sweep()


def end_granted(proxy: Proxy, grant: Grant) -> None:
    """End the sessions that have their role by a grant that is over, and those where it lets something run just now."""
    why = "was taken back" if grant.revoked else "is over"
    text = f"terminating connection: the access that was given for a time {why}"
    ended = proxy.end_sessions(stands_on(grant), GRANT_SQLSTATE, text)
    ended += proxy.end_sessions(leans_on(grant), GRANT_SQLSTATE, text, at_work=True)
    _log.info("grant %s of %s %s; %d sessions end", grant.grant_id, grant.person.subject, why, ended)


class TapRecorder:
    """Implements `Recorder`: writes down, and tells the catalog when DDL has passed through."""

    def __init__(
        self,
        inner: SpoolRecorder,
        watchers: dict[str, CatalogWatcher],
        ended: Callable[[Request, Verdict, Result], None] = lambda request, verdict, result: None,
    ) -> None:
        """`ended` hears of each statement's end."""
        self.inner, self._watchers, self._ended = inner, watchers, ended

    def statement(self, request: Request, verdict: Verdict, *, approval: str = "", held_sequence: int = 0) -> Ticket:
        if verdict.approval and not verdict.spends:
            request.session.leans_on.add(verdict.approval)
        return self.inner.statement(request, verdict, approval=approval, held_sequence=held_sequence)

    def spend(self, approval: str) -> None:
        self.inner.spend(approval)

    def outcome(self, ticket: Ticket, request: Request, verdict: Verdict, result: Result) -> None:
        if not verdict.inert and may_change_catalog(verdict.facts) and result.status != "denied":
            self._watchers[request.session.database].stale()
        self._ended(request, verdict, result)
        self.inner.outcome(ticket, request, verdict, result)

    def session(self, context: SessionContext, event: Literal["opened", "closed", "refused"], reason: str = "") -> None:
        self.inner.session(context, event, reason)


async def _follow_releases(
    loaded: Loaded, in_force: InForce, file: Path, kafka: Mapping[str, str | int], stop: threading.Event
) -> None:
    """Put each release of policies in force; read by a thread of their own, since that takes longer than a statement.

    Returns when the newest one is, or after a while with the last one that this tap has seen.
    """
    loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, "policies")

    def put(policies: PolicySet) -> None:
        loop.call_soon_threadsafe(in_force.put, policies)

    releases = Releases(control_keys(loaded), file, put)
    thread.submit(releases.restore)
    arguments = (POLICIES, kafka, releases.take, releases.complete, thread.submit, stop)
    threading.Thread(target=follow, args=arguments, daemon=True).start()
    if not await asyncio.to_thread(releases.complete.wait, POLICIES_SECONDS):
        _log.warning("policies aren't read yet: %s are in force until they are", in_force.policies.version)


def _look_back(
    in_force: InForce, history: History, familiar: Familiar, request: Request, verdict: Verdict, result: Result
) -> None:
    """Count what a person does, where a policy asks for it. What has run once is what a person uses."""
    policies, session = in_force.policies, request.session
    if not policies.looks_back:
        return
    if result.status == "denied":
        history.denied(session.person)
        return
    history.ran(session.person, result.rows - result.metered)
    if policies.asks_new and verdict.relations and verdict.familiar.made is not familiar and result.status == "ok":
        familiar.used(session, verdict.relations)
        verdict.familiar.made = familiar  # a verdict is one person's, in one place: it needn't be looked up again


def _catalog_of(watchers: Watchers, name: str) -> Catalog:
    return watchers[name].catalog


def may_change_catalog(facts: Facts) -> bool:
    """Whether the catalog must be read again; in doubt it must. COPY, EXECUTE and FETCH move rows only."""
    moves_rows = bool(facts.copy or facts.executes or facts.fetches)
    ddl = facts.utility and facts.writes and not moves_rows
    return ddl or facts.opaque or facts.reshapes or facts.tag == "SELECT INTO"


def _publisher(
    spool: Spool, loaded: Loaded, advanced: Callable[[Position], None] = lambda position: None
) -> PublisherProcess:
    kafka = loaded.kafka("tap").client_config("tap")
    job = Job(str(spool.directory), loaded.settings.tap.id, kafka, loaded.settings.registry.url)
    return PublisherProcess(spool, job, advanced)


def rule_settings(policy: Policy) -> RuleSettings:
    networks = tuple(sorted(policy.networks.items()))
    return RuleSettings(
        policy.protected, policy.clear_groups, policy.approver_groups, policy.hold_seconds, policy.masked, networks
    )


def hash_keys(loaded: Loaded) -> Callable[[str], bytes]:
    """The key that an environment's masked values are hashed with, b"" where they are redacted."""
    return data_sealer(loaded).mask_key if loaded.settings.policy.masked == "hashed" else lambda environment: b""


def watcher_of(loaded: Loaded, database: Database) -> CatalogWatcher:
    return CatalogWatcher(catalog_connect(loaded, database), upstream_tls(database, loaded), classify)


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


def _follow_decisions(
    loaded: Loaded, desk: DecisionDesk, loop: asyncio.AbstractEventLoop, stop: threading.Event
) -> None:
    """Signed decisions go to the desk, in the tap's own loop, and the word that a request was taken."""
    decoders: dict[str, Callable[[bytes], Any]] = {
        "taprail.decisions": avro.decoder(SignedRecord),
        "taprail.approval-states": avro.decoder(ApprovalState),
    }
    config = loaded.kafka("tap").client_config("tap")
    while not stop.is_set():
        try:
            with Follower(config, decoders) as follower:
                while not stop.is_set():
                    if (followed := follower.poll(0.5)) is None:
                        continue
                    record = followed.record
                    take = desk.take if isinstance(record, SignedRecord) else desk.take_state
                    loop.call_soon_threadsafe(take, record)
        except StackError as error:
            _log.warning("decisions can't be read: %s", error)
            stop.wait(FOLLOW_RETRY_SECONDS)
