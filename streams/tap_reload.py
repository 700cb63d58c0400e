"""A tap reads its settings again, and no session notices: who comes from now on is served by the new ones.

Everything is made ready first: where anything of the new file is wrong, nothing has changed, and the log says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from taprail.connectors.postgres.catalog import CatalogWatcher
from taprail.connectors.postgres.proxy import Proxy, Serving
from taprail.schemas.errors import SettingsError, StackError, TaprailError
from taprail.streams import settings
from taprail.streams.settings import Database, Loaded
from taprail.streams.tap_listen import addresses_of
from taprail.streams.tap_processes import of_process

log = logging.getLogger("taprail.tap")
# What a running process can't exchange: where its records go, who it is, and the keys of what it has written.
NEEDS_RESTART = (
    "kafka",
    "registry",
    "keys",
    "tap.id",
    "tap.spool",
    "tap.spool_bytes_max",
    "tap.processes",
)
Watch = Callable[[Loaded, Database], CatalogWatcher]


class Watchers(dict[str, CatalogWatcher]):
    """The catalogs' watchers by database name. Guard and recorder keep this dictionary, and see what is exchanged."""

    def __init__(self, loaded: Loaded, watch: Watch) -> None:
        self._watch = watch
        self._facts = {d.name: _facts(loaded, d) for d in loaded.settings.databases}
        super().__init__({d.name: watch(loaded, d) for d in loaded.settings.databases})

    def prepare(self, loaded: Loaded) -> dict[str, CatalogWatcher]:
        """Watchers, not started yet, for the databases that are new or are reached otherwise."""
        wanted = {d.name: d for d in loaded.settings.databases}
        changed = [d for name, d in wanted.items() if self._facts.get(name) != _facts(loaded, d)]
        return {d.name: self._watch(loaded, d) for d in changed}

    def exchange(self, loaded: Loaded, made: dict[str, CatalogWatcher]) -> list[CatalogWatcher]:
        """Start the new ones; returns those that they replace. Databases that are gone keep theirs: sessions go on."""
        replaced = [self[name] for name in made if name in self]
        for name, watcher in made.items():
            watcher.start()
            self[name] = watcher
        self._facts |= {d.name: _facts(loaded, d) for d in loaded.settings.databases}
        return replaced


class Reloader:
    """Of one process. `serving` makes what connections are served with out of settings; it may raise TaprailError."""

    def __init__(
        self,
        loaded: Loaded,
        process: int,
        proxy: Proxy,
        watchers: Watchers,
        serving: Callable[[Loaded], Serving],
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        """`taken` is called when the new settings count."""
        self._loaded, self._process, self._proxy = loaded, process, proxy
        self._watchers, self._serving, self._taken = watchers, serving, taken
        self._lock = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Raises TaprailError where the new settings can't be used; then everything is as before."""
        async with self._lock:
            new = await asyncio.to_thread(self._read)
            made = self._watchers.prepare(new)
            serving = await asyncio.to_thread(self._serving, new)
            try:
                await self._proxy.listen_on(addresses_of(new, self._process))
            except OSError as error:
                raise StackError(f"can't listen: {error}", hint="is another process listening there?") from error
            self._proxy.serving = serving
            self._taken()
            self._proxy.cancels.limit(serving.limits.cancels_per_second)
            replaced = self._watchers.exchange(new, made)
            before, self._loaded = self._loaded, new
            for watcher in replaced:
                await watcher.stop()
        return Reloaded(tuple(changed(before, new)), self._proxy.sessions)

    async def reload_and_log(self) -> None:
        """As SIGHUP asks for it."""
        try:
            reloaded = await self.reload()
        except TaprailError as error:
            log.error("the settings are as before, for the new ones can't be used: %s", error)
        except Exception:
            log.exception("the settings are as before, for reading them again failed")
        else:
            log.info("the settings were read again; %d sessions go on", reloaded.sessions)
            if reloaded.needs_restart:
                log.warning("these have changed and need a restart: %s", ", ".join(reloaded.needs_restart))

    def _read(self) -> Loaded:
        new = settings.load(self._loaded.file)
        if problems := settings.missing_files(new):
            raise SettingsError(f"{self._loaded.file}: {problems[0]}", hint="`taprail tap check` says everything")
        for database in new.settings.databases:  # read here, off the loop: Vault may take its time
            new.secret(database.catalog_password, f"databases.{database.name}.catalog_password")
        return of_process(new, self._process)


class Reloaded(Struct, frozen=True):
    """What a reload did. `needs_restart` names settings that have changed and count from the next start on."""

    needs_restart: tuple[str, ...]
    sessions: int


def changed(before: Loaded, after: Loaded) -> list[str]:
    """Settings that have changed and that a running process can't exchange."""
    return [name for name in NEEDS_RESTART if _at(before.settings, name) != _at(after.settings, name)]


def _at(value: Any, name: str) -> Any:
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _facts(loaded: Loaded, database: Database) -> tuple[object, ...]:
    """What a watcher depends on, its password included."""
    password = loaded.secret(database.catalog_password, f"databases.{database.name}.catalog_password")
    authority = loaded.path(database.ca_file).read_bytes() if database.ca_file else b""
    where = (database.host, database.port, database.upstream, database.tls, database.direct_tls)
    return (*where, database.catalog_role, password, authority)
