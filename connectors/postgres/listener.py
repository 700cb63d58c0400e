"""Where clients come in: TCP addresses and Unix sockets, in the clear, by SSLRequest or with TLS at once.

A connection's first byte is looked at before anything is read: 0x16 is a TLS record (a direct start, PostgreSQL 17),
and no length of a start-up packet begins so. Source: PostgreSQL documentation, chapter 54.2.10.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import resource
import socket
import ssl
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from taprail.connectors.postgres.channel import Channel
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.tls import ServerTls, check_alpn
from taprail.schemas.errors import ProtocolError, StackError

log = logging.getLogger(__name__)
_TLS_RECORD = 0x16  # content type of a handshake: RFC 8446, section 5.1
_BACKLOG = 4096  # a burst of sign-ins waits in the system; it takes at most net.core.somaxconn
_PAUSE_SECONDS = 0.5
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Address(Struct, frozen=True):
    """`directory` '' is TCP on host and port; otherwise a Unix socket `.s.PGSQL.<port>` there, with `mode`.

    name           what routes go by: which databases are reached here
    tls            None: the client's request for TLS is declined
    require_tls    who doesn't ask for TLS is refused; over a Unix socket nothing is
    """

    host: str = "127.0.0.1"
    port: int = 0
    directory: str = ""
    mode: int = 0o770
    name: str = ""
    tls: ServerTls | None = None
    require_tls: bool = False
    reuse_port: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """Host or directory, and port: two addresses with the same place can't both be listened on."""
        return self.directory or self.host, self.port

    def __str__(self) -> str:
        return str(self.socket_path) if self.directory else f"{self.host}:{self.port}"

    @property
    def socket_path(self) -> Path:
        return Path(self.directory) / f".s.PGSQL.{self.port}"


Arrive = Callable[[socket.socket, Address], None]


class Listener:
    """Accepts on one address until `close`; `address` may be replaced by another one of the same place."""

    def __init__(self, address: Address, arrive: Arrive) -> None:
        self.address, self._arrive = address, arrive
        self._wanted = address.place  # port 0, where the system chose one
        self._sockets: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._lock: int | None = None

    def open(self) -> int:
        """Listen; the port, which port 0 leaves to the system. Raises OSError, and StackError for a socket in use."""
        try:
            if self.address.directory:
                self._lock = _lock(self.address.socket_path)
                self._sockets = [_unix(self.address)]
            else:
                self._sockets = _tcp(self.address)
        except BaseException:
            self._unlock()
            raise
        if not self.address.directory:
            self.address = replace(self.address, port=int(self._sockets[0].getsockname()[1]))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._accept(each)) for each in self._sockets]
        return self.address.port

    def at(self, place: tuple[str, int]) -> bool:
        """Whether this is the place, with the port that was asked for or the one that it became."""
        return place in (self._wanted, self.address.place)

    def use(self, address: Address) -> None:
        """Serve those who come from now on by another address of the same place. Raises OSError."""
        if address.directory and address.mode != self.address.mode:
            address.socket_path.chmod(address.mode)
        self.address = replace(address, port=self.address.port)

    def close(self) -> None:
        """Accept nobody any more; connections that were accepted go on."""
        for task in self._tasks:
            task.cancel()
        for each in self._sockets:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        self._tasks, self._sockets = [], []
        if self._lock is not None:
            self.address.socket_path.unlink(missing_ok=True)
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    log.error("no more connections can be accepted on %s: %s", self.address, error.strerror)
                    await asyncio.sleep(_PAUSE_SECONDS)
                continue  # a client that left while it waited is nobody's error
            try:
                self._arrive(connection, self.address)
            except Exception:  # one connection's, never the listener's
                log.exception("a connection on %s could not be taken", self.address)
                connection.close()


async def take(connection: socket.socket, address: Address, limits: Limits) -> Channel:
    """A channel on an accepted connection, encrypted where the client begins with TLS.

    Raises OSError, ssl.SSLError, and ProtocolError where TLS that begins at once isn't for PostgreSQL. A socket that
    became no channel is closed.
    """
    loop = asyncio.get_running_loop()
    context: ssl.SSLContext | None = None
    channel = Channel(limits.high_water_bytes)
    try:
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            keep_alive(connection, limits)
            if await _first_byte(connection) == _TLS_RECORD:
                if address.tls is None:
                    raise ProtocolError("this address doesn't speak TLS", hint="connect with sslmode=disable")
                context = address.tls.context
        await loop.connect_accepted_socket(
            lambda: channel,
            connection,
            ssl=context,
            ssl_handshake_timeout=limits.startup_seconds if context else None,
        )
    except BaseException:
        connection.close()
        raise
    try:
        if context is not None:
            check_alpn(channel, required=True)
    except ProtocolError:
        channel.abort()
        raise
    return channel


async def _first_byte(connection: socket.socket) -> int:
    """Look at the first byte and leave it there; -1 where the client has left."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            data = connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(connection, _set, readable)
            try:
                await readable
            finally:
                loop.remove_reader(connection)
            continue
        return data[0] if data else -1


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def keep_alive(connection: socket.socket, limits: Limits) -> None:
    """Notice peers that are gone without a word: a laptop that was closed, a firewall that forgot the connection.

    TCP_USER_TIMEOUT isn't set: it would also end the session of a client that is there and reads nothing for a while.
    """
    seconds = limits.keepalive_seconds
    if not seconds:
        return
    with contextlib.suppress(OSError):  # the peer may be gone already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 4))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def raise_file_limit() -> int:
    """Let this process open as many files as it may; a session takes two. The new soft limit (RLIMIT_NOFILE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or (hard != resource.RLIM_INFINITY and soft >= hard):
        return soft
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 1 << 16)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _tcp(address: Address) -> list[socket.socket]:
    """A listening socket for each address that the host's name has, as far as this machine has it."""
    found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    port, absent = address.port, None
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            try:
                made.append(_bound(family, kind, protocol, (where[0], port, *where[2:]), address.reuse_port))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error  # localhost has an address of IPv6 where the machine has no IPv6
                continue
            port = port or int(made[0].getsockname()[1])
        if absent is not None and not made:
            raise absent
    except BaseException:
        for each in made:
            each.close()
        raise
    return made


def _bound(family: int, kind: int, protocol: int, where: Sequence[str | int], reuse_port: bool) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(tuple(where))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _unix(address: Address) -> socket.socket:
    """The socket's file has its mode before anybody can connect: listen(2) comes last."""
    path = address.socket_path
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise StackError(f"{path} is there and is no socket", hint="move it away, or choose another directory")
        if _answers(path):
            raise StackError(f"another process listens on {path}", hint="stop it, or choose another port")
        path.unlink()  # of a tap that died
    made = socket.socket(socket.AF_UNIX)
    try:
        made.setblocking(False)
        made.bind(str(path))
        path.chmod(address.mode)
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket: a PostgreSQL server of this machine holds no lock on our file."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
        return True


def _lock(path: Path) -> int:
    """Our own lock beside the socket. Raises StackError where a live process holds it.

    Not PostgreSQL's `<socket>.lock`: a server that finds one without a process id in it doesn't start.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(f"{path}.taprail", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StackError(f"another process listens on {path}", hint="stop it, or choose another port") from None
    return descriptor
