"""Which database a client means: by the name that it asks for, the address that it came in on, and its host name (SNI).

The address and the host name say what can be reached at all; the name is looked up only there. So `shop` on prod's port
is prod's, though dev has a database `shop`, too.
"""

from __future__ import annotations

from collections.abc import Iterable

from taprail.connectors.postgres.signin import Login
from taprail.connectors.postgres.tls import by_host
from taprail.connectors.postgres.upstream import ServerRefused
from taprail.streams.settings import Database
from taprail.streams.settings_tap import Tap

NO_DATABASE = "3D000"  # as a server says it: some clients then offer to make it


class Directory:
    """The databases behind a tap. `tap` says what is reached where."""

    def __init__(self, databases: Iterable[Database], tap: Tap) -> None:
        self._databases = tuple(databases)
        self._listeners = {each.name: each for each in tap.listeners}
        self._hosts = {each.name.lower(): each.environment for each in tap.hosts}

    def find(self, login: Login) -> Database:
        """The database that the login asks for. Raises ServerRefused, which names what there is."""
        reached = self.reached(login)
        found = named(reached, login.database)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(sorted(f"{d.environment}/{d.upstream}" for d in found))
            if len({(d.environment, d.upstream) for d in found}) < len(found):
                names = ", ".join(sorted(d.name for d in found))
            raise ServerRefused(
                f"{login.database!r} may be any of {len(found)} databases here",
                NO_DATABASE,
                f"connect to one of: {names}",
            )
        known = ", ".join(sorted(d.name for d in reached))
        raise ServerRefused(
            f"there is no database {login.database!r} {_where(login)}",
            NO_DATABASE,
            f"there are: {known}" if known else "nothing is reached there: see tap.listeners and tap.hosts",
        )

    def reached(self, login: Login) -> tuple[Database, ...]:
        """What can be reached by this address and host name."""
        databases = self._databases
        listener = self._listeners.get(login.listener)
        if listener is not None and listener.environments:
            databases = tuple(d for d in databases if d.environment in listener.environments)
        if listener is not None and listener.databases:
            databases = tuple(d for d in databases if d.name in listener.databases)
        environment = by_host(self._hosts, login.server_name) if login.server_name else None
        if environment is not None:
            databases = tuple(d for d in databases if d.environment == environment)
        return databases


def named(databases: Iterable[Database], name: str) -> list[Database]:
    """All that a name may mean: its own names come first, then `environment/name`, `server/name`, the server's name."""
    databases = list(databases)
    for names in (
        lambda d: {d.name, *d.aliases},
        lambda d: {f"{d.environment}/{inner}" for inner in (d.name, d.upstream, *d.aliases)},
        lambda d: {f"{d.server}/{inner}" for inner in (d.name, d.upstream, *d.aliases)},
        lambda d: {d.upstream},
    ):
        if found := [d for d in databases if name in names(d)]:
            return found
    return []


def _where(login: Login) -> str:
    if login.server_name:
        return f"behind {login.server_name}"
    return f"at {login.listener}" if login.listener else "behind this tap"
