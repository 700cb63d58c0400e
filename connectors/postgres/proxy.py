"""The PostgreSQL tap: listens, signs clients in, signs in at the server for them, and relays.

What is decided (who, where to, may it run) comes from hooks; what is written down goes to the recorder first.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from msgspec import Struct

from taprail.connectors.postgres import certificates, startup, timeouts
from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.attempts import Attempts, TooManyAttempts
from taprail.connectors.postgres.cancel import CancelKeys, Forward
from taprail.connectors.postgres.channel import Channel
from taprail.connectors.postgres.expiry import Expiry
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.listener import Address, Listener, take
from taprail.connectors.postgres.memory import GiveBack
from taprail.connectors.postgres.oauth import Discovered
from taprail.connectors.postgres.relay import Relay
from taprail.connectors.postgres.session import Session
from taprail.connectors.postgres.signin import Authenticator, Identity, Login, authenticate, first_packet
from taprail.connectors.postgres.tls import ServerTls
from taprail.connectors.postgres.upstream import Opened, ServerRefused, Target, sign_in
from taprail.schemas.errors import ProtocolError, RefusedError, SpoolError, TaprailError
from taprail.schemas.guard import Gate, Guard, Recorder, SessionContext
from taprail.schemas.records import Person

log = logging.getLogger(__name__)
_LINGER_SECONDS = 5.0
PERSON_SETTING = "taprail.person"  # a client's is a signed statement; the server's is what `Hooks.pass_on` makes


class Route(Protocol):
    """Where a signed-in person's session goes. Raises RefusedError where the person may not go there."""

    def __call__(self, login: Login, identity: Identity) -> Target: ...


class PassOn(Protocol):
    """Settings that tell the server who acts. `port` is the tap's own, as the server sees it; 0 over a Unix socket."""

    def __call__(self, target: Target, person: Person, session: str, port: int) -> dict[str, str]: ...


class Hooks(Struct, frozen=True):
    """What a composition root hands to a proxy."""

    authenticator: Authenticator
    route: Route
    guard: Guard
    recorder: Recorder
    gate: Gate
    pass_on: PassOn | None = None


class Serving(Struct, frozen=True):
    """What a connection is served with, from its first byte to its end. `Proxy.serving` may be replaced at any time.

    plaintext_tokens   a token may come without TLS: only where nobody else can listen
    allowed_settings   what clients may choose at start-up besides `startup.ALLOWED_SETTINGS`
    """

    hooks: Hooks
    limits: Limits = Limits()
    plaintext_tokens: bool = False
    allowed_settings: frozenset[str] = frozenset()


class _Ending(Struct, frozen=True):
    """Sessions that were ended, for those who were signing in meanwhile."""

    match: Callable[[SessionContext], bool]
    sqlstate: str
    text: str


class _Arrival:
    """A connection that has no session yet."""

    __slots__ = ("address", "channel", "endings", "serving", "spoke", "task")

    def __init__(self, serving: Serving, address: Address) -> None:
        self.serving, self.address = serving, address
        self.endings: list[_Ending] = []
        self.channel: Channel | None = None
        self.spoke = False  # its start-up packet is there
        self.task: asyncio.Task[None] | None = None


class _Open:
    """A session."""

    __slots__ = ("expiry", "person", "relay", "session", "stopwatch")

    def __init__(self, session: Session, relay: Relay, person: tuple[str, str], expires_us: int) -> None:
        self.session, self.relay, self.person = session, relay, person
        self.stopwatch = timeouts.Stopwatch(session.limits)
        self.expiry = Expiry(expires_us, session.limits.expiry_grace_seconds, self.at_work, self._expired)

    def end(self, sqlstate: str, text: str) -> None:
        if self.session.busy and self.session.wait is None:  # PostgreSQL runs on for a client that has gone
            self.relay.cancel()
        self.relay.stop(sqlstate, text)

    def at_work(self) -> bool:
        return self.session.busy or self.session.context.transaction_status != "I"

    def _expired(self) -> None:
        self.end("57P01", "terminating connection: what this session was signed in with has expired")


class Proxy:
    """One tap's process: the addresses that it listens on, and its sessions. `process` is its number among siblings."""

    def __init__(
        self,
        tap: str,
        serving: Serving | Hooks,
        *,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        plaintext_tokens: bool = False,
        process: int = 0,
        forward: Forward | None = None,
    ) -> None:
        """`serving` may be hooks alone, with `limits` and `plaintext_tokens` beside; `tls` is for `listen`."""
        self._tap = tap
        if isinstance(serving, Hooks):
            serving = Serving(serving, limits or Limits(), plaintext_tokens)
        self.serving = serving
        self._tls = ServerTls(tls) if tls is not None else None
        self._attempts = Attempts()
        self.cancels = CancelKeys(serving.limits.cancels_per_second, process, forward)
        self._open: set[_Open] = set()
        self._persons: Counter[tuple[str, str]] = Counter()
        self._arriving: dict[_Arrival, None] = {}  # in the order of their arrival
        self._listeners: list[Listener] = []
        self._looking: asyncio.Task[None] | None = None
        self._memory = GiveBack()

    async def listen(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Accept connections here, too; the port, which port 0 leaves to the system. Raises OSError."""
        return self._listen(Address(host=host, port=port, tls=self._tls, reuse_port=reuse_port))

    async def listen_on(self, addresses: Sequence[Address]) -> None:
        """Listen on these addresses and on no others: what is served already goes on, with the new certificate.

        Raises OSError or StackError where one can't be listened on; then nothing has changed.
        """
        kept: list[tuple[Listener, Address]] = []
        opened: list[Listener] = []
        try:
            for address in addresses:
                there = next((each for each in self._listeners if each.at(address.place)), None)
                if there is not None:
                    kept.append((there, address))
                else:
                    listener = Listener(address, self._accept)
                    listener.open()
                    opened.append(listener)
        except BaseException:
            for listener in opened:
                listener.close()
            raise
        for listener, address in kept:
            listener.use(address)
        served = [listener for listener, _ in kept] + opened
        for listener in self._listeners:
            if listener not in served:
                listener.close()
        self._listeners = served

    @property
    def addresses(self) -> list[Address]:
        """Where it listens, with the ports that the system chose."""
        return [listener.address for listener in self._listeners]

    @property
    def sessions(self) -> int:
        """Sessions that are open."""
        return len(self._open)

    def end_sessions(
        self, match: Callable[[SessionContext], bool], sqlstate: str, text: str, *, at_work: bool = False
    ) -> int:
        """End every session that `match` says yes to with a FATAL error, whatever it does; how many were open.

        With `at_work` only those in which a statement runs, or a transaction is open.

        What runs is cancelled at the server. A sign-in that is under way is judged as well, as soon as it is known
        whose it is: nobody slips through in between.
        """
        for arrival in self._arriving:
            arrival.endings.append(_Ending(match, sqlstate, text))
        matching = [e for e in self._open if match(e.session.context) and (e.at_work() or not at_work)]
        for each in matching:
            each.end(sqlstate, text)
        return len(matching)

    async def close(self) -> None:
        """Stop listening and end every session; their outcomes are written down before this returns."""
        for listener in self._listeners:
            listener.close()
        self._memory.cancel()
        if self._looking is not None:
            self._looking.cancel()
        tasks = [arrival.task for arrival in self._arriving if arrival.task is not None]
        for task in tasks:
            task.cancel()
        for each in list(self._open):
            each.relay.stop("57P01", "the tap is shutting down")
        await asyncio.gather(*tasks, return_exceptions=True)

    # Arrivals ---------------------------------------------------------------------------------------------------------

    def _listen(self, address: Address) -> int:
        listener = Listener(address, self._accept)
        port = listener.open()
        self._listeners.append(listener)
        return port

    def _accept(self, connection: socket.socket, address: Address) -> None:
        serving = self.serving
        if len(self._arriving) >= serving.limits.arrivals:
            self._make_room()
        arrival = _Arrival(serving, address)
        self._arriving[arrival] = None
        task = arrival.task = asyncio.get_running_loop().create_task(self._arrive(arrival, connection))
        task.add_done_callback(lambda _: self._left(arrival, connection))

    def _left(self, arrival: _Arrival, connection: socket.socket) -> None:
        del self._arriving[arrival]
        if arrival.channel is None:
            connection.close()

    def _make_room(self) -> None:
        """Whoever opens connections and says nothing on them loses the oldest one: others must be able to come in."""
        oldest = next((a for a in self._arriving if not a.spoke), next(iter(self._arriving)))
        if oldest.task is not None:
            oldest.task.cancel()

    async def _arrive(self, arrival: _Arrival, connection: socket.socket) -> None:
        """From a connection to a session, or to an error that says why not."""
        limits = arrival.serving.limits
        try:
            async with asyncio.timeout(limits.startup_seconds):
                async with asyncio.timeout(limits.first_packet_seconds):
                    channel = arrival.channel = await take(connection, arrival.address, limits)
                    tls = arrival.address.tls
                    packet = await first_packet(channel, limits, tls.context if tls is not None else None)
                    arrival.spoke = True
                await self._sign_in(arrival, channel, packet)
            return
        except ServerRefused as error:
            _say(arrival, error.sqlstate, error)
        except (RefusedError, Discovered) as error:
            _say(arrival, "28000", error)
        except SpoolError as error:
            _say(arrival, "58030", error)
        except ProtocolError as error:
            _say(arrival, "08P01", error)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            log.debug("a client left during sign-in: %r", error)
        except asyncio.CancelledError:
            _say(arrival, "57P01", TaprailError("the tap is shutting down, or has too many who are signing in"))
        except Exception:
            log.exception("a sign-in failed")
            _say(arrival, "XX000", TaprailError("the tap failed; its log says why"))
        if arrival.channel is not None:
            arrival.channel.close()
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, arrival.channel.abort)

    async def _sign_in(
        self, arrival: _Arrival, channel: Channel, packet: startup.CancelRequest | startup.StartupMessage
    ) -> None:
        if isinstance(packet, startup.CancelRequest):
            self.cancels.request(packet.pid, packet.key)
            channel.close()
            return
        serving, hooks = arrival.serving, arrival.serving.hooks
        login = _login(arrival.address, channel, packet)
        identity: Identity | None = None
        opened: Opened | None = None
        try:
            if arrival.address.require_tls and not (login.encrypted or login.unix):
                raise RefusedError("this address of the tap takes TLS only", hint="connect with sslmode=require")
            self._room(serving.limits)
            wanted = startup.wanted(packet, serving.allowed_settings | {PERSON_SETTING})
            statement = wanted.settings.pop(PERSON_SETTING, "")
            channel.write(startup.negotiate(wanted))
            identity = await self._identify(serving, channel, login, statement)
            self._room(serving.limits, identity.person)
            target = hooks.route(login, identity)
            session = str(uuid.uuid4())
            told = partial(hooks.pass_on, target, identity.person, session) if hooks.pass_on is not None else None
            opened = await sign_in(target, wanted.settings, serving.limits, told)
            context = _context(self._tap, session, login, identity, target, opened)
            self._room(serving.limits, identity.person)  # others came in meanwhile
            for ending in arrival.endings:
                if ending.match(context):
                    raise ServerRefused(ending.text, ending.sqlstate)
            self._begin(serving, channel, wanted, context, target, opened, identity.expires_us)
        except BaseException as error:
            if opened is not None:
                opened.channel.abort()
            if isinstance(error, RefusedError) and not isinstance(error, TooManyAttempts):
                hooks.recorder.session(_refused_context(self._tap, login, identity), "refused", error.message)
            raise

    async def _identify(self, serving: Serving, channel: Channel, login: Login, statement: str) -> Identity:
        """Who it is, or whom a service account's signed statement names. Raises RefusedError, and counts it."""
        authenticator, who = serving.hooks.authenticator, (login.client_address, login.user)
        self._attempts.limit(serving.limits.failed_sign_ins_per_minute, serving.limits.sign_ins_per_minute)
        self._attempts.check(*who, time.monotonic())
        try:
            identity = await authenticate(
                channel, login, authenticator, serving.limits, plaintext_tokens=serving.plaintext_tokens
            )
            if statement:
                identity = await authenticator.speaks_for(login, identity, statement)
        except RefusedError:
            self._attempts.failed(*who, time.monotonic())
            raise
        self._attempts.succeeded(*who, _key(identity.person), time.monotonic())
        return identity

    def _room(self, limits: Limits, person: Person | None = None) -> None:
        """Raises ServerRefused where there are as many sessions as there may be, in all or of a person."""
        if len(self._open) >= limits.sessions:
            raise ServerRefused("the tap has too many sessions already", "53300", "close some, or raise its limit")
        most = limits.sessions_per_person
        if person is not None and most and self._persons[_key(person)] >= most:
            raise ServerRefused(
                f"{person.name} has {most} sessions open, which is the limit", "53300", "close one that you don't need"
            )

    # Sessions ---------------------------------------------------------------------------------------------------------

    def _begin(
        self,
        serving: Serving,
        channel: Channel,
        wanted: startup.Wanted,
        context: SessionContext,
        target: Target,
        opened: Opened,
        expires_us: int,
    ) -> None:
        """Everybody has signed in: write the session down and begin."""
        recorder = serving.hooks.recorder
        recorder.session(context, "opened")
        reported = "search_path" in opened.settings
        session = Session(
            context,
            serving.hooks.guard,
            recorder,
            serving.limits,
            path_reported=reported,
            durability=target.durability,
        )

        def closed(reason: str) -> None:
            self._open.discard(entry)
            entry.expiry.stop()
            self._persons[entry.person] -= 1
            if not self._persons[entry.person]:
                del self._persons[entry.person]
            self.cancels.remove(pid, key)
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, channel.abort)
            try:
                recorder.session(session.context, "closed", reason)
            except SpoolError as error:
                log.error("the end of session %s can't be written down: %s", context.session, error)

        relay = Relay(session, channel, opened, target, serving.hooks.gate, closed)
        pid, key = self.cancels.add(min(wanted.minor, startup.NEWEST_MINOR), opened.pid, relay.cancel)
        entry = _Open(session, relay, _key(context.person), expires_us)
        self._open.add(entry)
        self._memory.later()
        self._persons[entry.person] += 1
        if self._looking is None and timeouts.any_limit(serving.limits):
            self._looking = asyncio.get_running_loop().create_task(self._look())
        reports = b"".join(wire.parameter_status(name, value) for name, value in opened.settings.items())
        backend_key = wire.message(wire.BACKEND_KEY, pid.to_bytes(4, "big") + key)
        channel.write(wire.authentication(0) + reports + backend_key + b"".join(opened.notices) + wire.ready("I"))
        if not reported:
            session.ask_search_path()
        relay.start()

    async def _look(self) -> None:
        """End what has been idle for too long, and cancel what runs for too long."""
        while True:
            await asyncio.sleep(timeouts.LOOK_SECONDS)
            now = time.monotonic()
            for each in list(self._open):
                expired = each.stopwatch.look(each.session, now)
                if expired is None:
                    continue
                if expired.action == "end":
                    each.relay.stop(expired.sqlstate, expired.text)
                else:
                    hint = f"the tap lets a statement run for {each.session.limits.statement_seconds:g} s"
                    each.session.tell(wire.notice(expired.sqlstate, expired.text, hint=hint))
                    each.relay.cancel()


def _context(
    tap: str, session: str, login: Login, identity: Identity, target: Target, opened: Opened
) -> SessionContext:
    return SessionContext(
        session=session,
        tap=tap,
        environment=target.environment,
        server=target.server,
        database=target.database,
        role=target.role,
        person=identity.person,
        method=identity.method,
        client=login.application,
        client_address=login.client_address,
        purpose=identity.purpose,
        device=identity.device,
        grant=target.grant,
        search_path=opened.settings.get("search_path", '"$user", public'),
    )


def _refused_context(tap: str, login: Login, identity: Identity | None) -> SessionContext:
    """A session that never was. Where the person isn't known, it is what the client said, and has no subject."""
    return SessionContext(
        session=str(uuid.uuid4()),
        tap=tap,
        environment="",
        server="",
        database=login.database,
        role="",
        person=identity.person if identity else Person(subject="", name=login.user, kind="person"),
        method=identity.method if identity else "none",
        client=login.application,
        client_address=login.client_address,
        device=identity.device if identity else "",
    )


def _login(address: Address, channel: Channel, packet: startup.StartupMessage) -> Login:
    parameters = packet.parameters
    user = parameters.get("user", "")
    peer = channel.transport.get_extra_info("peername")
    certificate = channel.transport.get_extra_info("peercert")
    tls = channel.transport.get_extra_info("ssl_object")
    return Login(
        user=user,
        database=parameters.get("database", "") or user,
        application=parameters.get("application_name", ""),
        client_address=str(peer[0]) if isinstance(peer, tuple) and peer else "",
        encrypted=channel.encrypted,
        listener=address.name,
        server_name=address.tls.asked(channel) if address.tls is not None else "",
        unix=bool(address.directory),
        certificate=certificates.names_in(certificate),
        certificate_expires_us=certificates.expires_us(certificate),
        certificate_fingerprint=certificates.fingerprint(tls.getpeercert(binary_form=True)) if certificate else "",
    )


def _key(person: Person) -> tuple[str, str]:
    return person.issuer, person.subject


def _say(arrival: _Arrival, sqlstate: str, error: TaprailError) -> None:
    if arrival.channel is not None:
        arrival.channel.write(wire.error(sqlstate, error.message, hint=error.hint, severity="FATAL"))
