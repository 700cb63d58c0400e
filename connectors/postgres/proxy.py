"""The PostgreSQL tap: listens, signs clients in, signs in at the server for them, and relays.

What is decided (who, where to, may it run) comes from hooks; what is written down goes to the recorder first.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import uuid
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from taprail.connectors.postgres.cancel import CancelKeys
from taprail.connectors.postgres.channel import Channel
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.relay import Relay
from taprail.connectors.postgres.session import Session
from taprail.connectors.postgres.signin import Authenticator, Identity, Login, authenticate, first_packet
from taprail.connectors.postgres.upstream import Opened, ServerRefused, Target, sign_in
from taprail.schemas.errors import ProtocolError, RefusedError, SpoolError, TaprailError
from taprail.schemas.guard import Gate, Guard, Recorder, SessionContext
from taprail.schemas.records import Person

log = logging.getLogger(__name__)
_LINGER_SECONDS = 5.0


class Route(Protocol):
    """Where a signed-in person's session goes. Raises RefusedError where the person may not go there."""

    def __call__(self, login: Login, identity: Identity) -> Target: ...


class Hooks(Struct, frozen=True):
    """What a composition root hands to a proxy."""

    authenticator: Authenticator
    route: Route
    guard: Guard
    recorder: Recorder
    gate: Gate


class _Ending(Struct, frozen=True):
    """Sessions that were ended, for those who were signing in meanwhile."""

    match: Callable[[SessionContext], bool]
    sqlstate: str
    text: str


class Proxy:
    """One listening tap. `tls` None refuses TLS; then tokens are only taken where `plaintext_tokens` allows it."""

    def __init__(
        self,
        tap: str,
        hooks: Hooks,
        *,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        plaintext_tokens: bool = False,
        allowed_settings: frozenset[str] = frozenset(),
    ) -> None:
        self._tap, self._hooks, self._limits = tap, hooks, limits or Limits()
        self._tls, self._plaintext_tokens, self._allowed_settings = tls, plaintext_tokens, allowed_settings
        self._cancels = CancelKeys(self._limits.cancels_per_second)
        self._relays: dict[Relay, Session] = {}
        self._arriving: dict[asyncio.Task[None], list[_Ending]] = {}
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Accept connections; the port, which port 0 leaves to the system. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, reuse_port=reuse_port or None)
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def sessions(self) -> int:
        """Sessions that are open."""
        return len(self._relays)

    def end_sessions(self, match: Callable[[SessionContext], bool], sqlstate: str, text: str) -> int:
        """End every session that `match` says yes to with a FATAL error, whatever it does; how many were open.

        What runs is cancelled at the server. A sign-in that is under way is judged as well, as soon as it is known
        whose it is: nobody slips through in between.
        """
        for endings in self._arriving.values():
            endings.append(_Ending(match, sqlstate, text))
        matching = [(relay, session) for relay, session in self._relays.items() if match(session.context)]
        for relay, session in matching:
            if session.busy and session.wait is None:  # PostgreSQL runs on for a client that has gone
                relay.cancel()
            relay.stop(sqlstate, text)
        return len(matching)

    async def close(self) -> None:
        """Stop listening and end every session; their outcomes are written down before this returns."""
        if self._server is not None:
            self._server.close()
        for task in self._arriving:
            task.cancel()
        for relay in list(self._relays):
            relay.stop("57P01", "the tap is shutting down")
        await asyncio.gather(*self._arriving, return_exceptions=True)

    def _accept(self) -> Channel:
        channel = Channel(self._limits.high_water_bytes)
        task = asyncio.get_running_loop().create_task(self._arrive(channel))
        self._arriving[task] = []
        task.add_done_callback(self._arriving.pop)
        return channel

    async def _arrive(self, channel: Channel) -> None:
        """From a TCP connection to a session, or to an error that says why not."""
        await channel.connected
        try:
            async with asyncio.timeout(self._limits.startup_seconds):
                await self._sign_in(channel)
            return
        except ServerRefused as error:
            _say(channel, error.sqlstate, error)
        except RefusedError as error:
            _say(channel, "28000", error)
        except SpoolError as error:
            _say(channel, "58030", error)
        except ProtocolError as error:
            _say(channel, "08P01", error)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            log.debug("a client left during sign-in: %r", error)
        except asyncio.CancelledError:
            _say(channel, "57P01", TaprailError("the tap is shutting down"))
        except Exception:
            log.exception("a sign-in failed")
            _say(channel, "XX000", TaprailError("the tap failed; its log says why"))
        channel.close()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, channel.abort)

    async def _sign_in(self, channel: Channel) -> None:
        packet = await first_packet(channel, self._limits, self._tls)
        if isinstance(packet, startup.CancelRequest):
            cancel = self._cancels.take(packet.pid, packet.key)
            if cancel is not None:
                cancel()
            channel.close()
            return
        login = _login(channel, packet)
        identity: Identity | None = None
        try:
            if len(self._relays) >= self._limits.sessions:
                raise ServerRefused("the tap has too many sessions already", "53300", "close some, or raise its limit")
            wanted = startup.wanted(packet, self._allowed_settings)
            channel.write(startup.negotiate(wanted))
            identity = await authenticate(
                channel, login, self._hooks.authenticator, self._limits, plaintext_tokens=self._plaintext_tokens
            )
            target = self._hooks.route(login, identity)
            opened = await sign_in(target, wanted.settings, self._limits)
        except RefusedError as error:
            self._hooks.recorder.session(self._refused_context(login, identity), "refused", error.message)
            raise
        try:
            self._open(channel, wanted, login, identity, target, opened)
        except BaseException as error:
            opened.channel.abort()
            if isinstance(error, RefusedError):
                self._hooks.recorder.session(self._refused_context(login, identity), "refused", error.message)
            raise

    def _open(
        self, channel: Channel, wanted: startup.Wanted, login: Login, identity: Identity, target: Target, opened: Opened
    ) -> None:
        """Everybody has signed in: write the session down and begin."""
        context = SessionContext(
            session=str(uuid.uuid4()),
            tap=self._tap,
            environment=target.environment,
            server=target.server,
            database=target.database,
            role=target.role,
            person=identity.person,
            method=identity.method,
            client=login.application,
            client_address=login.client_address,
            purpose=identity.purpose,
            search_path=opened.settings.get("search_path", '"$user", public'),
        )
        if (task := asyncio.current_task()) is not None:
            for ending in self._arriving.get(task, ()):
                if ending.match(context):
                    raise ServerRefused(ending.text, ending.sqlstate)
        recorder = self._hooks.recorder
        recorder.session(context, "opened")
        reported = "search_path" in opened.settings
        session = Session(context, self._hooks.guard, recorder, self._limits, path_reported=reported)

        def closed(reason: str) -> None:
            self._relays.pop(relay, None)
            self._cancels.remove(pid)
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, channel.abort)
            try:
                recorder.session(session.context, "closed", reason)
            except SpoolError as error:
                log.error("the end of session %s can't be written down: %s", context.session, error)

        relay = Relay(session, channel, opened, target, self._hooks.gate, closed)
        pid, key = self._cancels.add(min(wanted.minor, startup.NEWEST_MINOR), relay.cancel)
        self._relays[relay] = session
        reports = b"".join(wire.parameter_status(name, value) for name, value in opened.settings.items())
        backend_key = wire.message(wire.BACKEND_KEY, pid.to_bytes(4, "big") + key)
        channel.write(wire.authentication(0) + reports + backend_key + b"".join(opened.notices) + wire.ready("I"))
        if not reported:
            session.ask_search_path()
        relay.start()

    def _refused_context(self, login: Login, identity: Identity | None) -> SessionContext:
        """A session that never was. Where the person isn't known, it is what the client said, and has no subject."""
        return SessionContext(
            session=str(uuid.uuid4()),
            tap=self._tap,
            environment="",
            server="",
            database=login.database,
            role="",
            person=identity.person if identity else Person(subject="", name=login.user, kind="person"),
            method=identity.method if identity else "none",
            client=login.application,
            client_address=login.client_address,
        )


def _login(channel: Channel, packet: startup.StartupMessage) -> Login:
    parameters = packet.parameters
    user = parameters.get("user", "")
    peer = channel.transport.get_extra_info("peername")
    return Login(
        user=user,
        database=parameters.get("database", "") or user,
        application=parameters.get("application_name", ""),
        client_address=str(peer[0]) if isinstance(peer, tuple) and peer else "",
        encrypted=channel.encrypted,
    )


def _say(channel: Channel, sqlstate: str, error: TaprailError) -> None:
    channel.write(wire.error(sqlstate, error.message, hint=error.hint, severity="FATAL"))
