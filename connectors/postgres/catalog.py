"""A database's catalog: loaded in one go, made anew whenever DDL happens, stale until then.

The event trigger that `onboard.py` installs tells of DDL by NOTIFY; the tap says `stale()` itself when DDL passed
through it. A watcher whose connection is lost answers nothing: the guard then asks to wait, and the wait fails clearly.
Source: PostgreSQL documentation, chapter 53 (system catalogs).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
from msgspec import Struct, structs

from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import Column, RelationInfo

CHANNEL = "taprail_ddl"
WAIT_SECONDS_MAX = 10.0
RECONNECT_SECONDS = 0.5
SETTLE_SECONDS = 0.02  # DDL comes in bursts: load once for all of it
Classify = Callable[[str, str, str, str, tuple[str, ...]], str]
_log = logging.getLogger("taprail.catalog")

# pg_catalog is there, too: its relations hold statistics and passwords of others' data.
_RELATIONS = """
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, a.attnum::int, a.attname, a.atttypid::int8,
       format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT a.attisdropped AND n.nspname NOT LIKE 'pg\\_toast%'
ORDER BY c.oid, a.attnum"""
_VIEWS = """
SELECT DISTINCT r.ev_class::int8, d.refobjid::int8
FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class"""
_VIEW_FUNCTIONS = """
SELECT DISTINCT r.ev_class::int8
FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
JOIN pg_proc p ON p.oid = d.refobjid AND d.refclassid = 'pg_proc'::regclass
JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname <> 'pg_catalog'"""
_FUNCTIONS = """
SELECT p.proname, n.nspname = 'pg_catalog' AND p.oid < 16384, bool_or(p.provolatile = 'v')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace GROUP BY 1, 2"""


class Snapshot(Struct, frozen=True):
    """What one load saw; immutable."""

    relations: Mapping[int, RelationInfo]
    names: Mapping[tuple[str, str], int]
    sensitive: Mapping[tuple[int, int], str]
    builtin: frozenset[str]
    others: frozenset[str]
    volatile: frozenset[str]


EMPTY = Snapshot({}, {}, {}, frozenset(), frozenset(), frozenset())


class PostgresCatalog:
    """Implements `Catalog`: the newest snapshot, its epoch, and whether it is current."""

    def __init__(self) -> None:
        self._snapshot = EMPTY
        self.epoch = 0
        self.current = False

    def replace(self, snapshot: Snapshot) -> None:
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            self._oids = frozenset(snapshot.relations)
            self.epoch += 1
        self.current = True

    def resolve(self, schema: str, name: str, search_path: str, role: str) -> RelationInfo | None:
        """The relation that the server would take; temporary tables first, then the catalog's, as the server does."""
        names = self._snapshot.names
        if schema:
            oid = names.get((schema, name))
        else:
            path = [role if part == "$user" else part for part in split_path(search_path)]
            implicit = [] if "pg_catalog" in path else ["pg_catalog"]
            found = (names.get((part, name)) for part in [*implicit, *path])
            oid = next((o for o in found if o is not None), None)
        return None if oid is None else self._snapshot.relations[oid]

    def by_oid(self, oid: int) -> RelationInfo | None:
        return self._snapshot.relations.get(oid)

    def builtin(self, function: str) -> bool:
        """Whether the name can only mean a function of PostgreSQL's own: nobody else has one of this name."""
        schema, _, name = function.rpartition(".")
        return name in self._snapshot.builtin and (schema == "pg_catalog" or name not in self._snapshot.others)

    def volatile(self, function: str) -> bool:
        name = function.rpartition(".")[2]
        return name in self._snapshot.volatile or not self.builtin(function)

    def sensitive(self) -> Mapping[tuple[int, int], str]:
        return self._snapshot.sensitive

    def oids(self) -> frozenset[int]:
        return frozenset() if self.epoch == 0 else self._oids


class CatalogWatcher:
    """Keeps one database's catalog current. `classify` gives a column's class from schema, relation, column, type and
    the relation's column names."""

    def __init__(self, connect: Mapping[str, Any], tls: ssl.SSLContext | None, classify: Classify) -> None:
        self._connect = {**connect, "ssl": tls or False}
        self._classify = classify
        self.catalog = PostgresCatalog()
        self._wanted = asyncio.Event()
        self._loaded = asyncio.Event()
        self._ever: dict[tuple[int, int], str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._wanted.set()
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def stale(self) -> None:
        """DDL happened, or may have: nothing is judged by this catalog until it is loaded again."""
        self.catalog.current = False
        self._loaded.clear()
        self._wanted.set()

    async def wait_current(self) -> None:
        """Raises RefusedError where the catalog doesn't get current in time."""
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                while not self.catalog.current:
                    await self._loaded.wait()
        except TimeoutError:
            raise RefusedError(
                f"the catalog of {self._connect['database']} can't be read, so nothing can be judged",
                hint="try again; the tap's log says why",
            ) from None

    async def _watch(self) -> None:
        while True:
            try:
                await self._serve()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                _log.warning("the catalog of %s can't be read: %s", self._connect["database"], error)
            self.stale()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _serve(self) -> None:
        connection = await asyncpg.connect(**self._connect, timeout=WAIT_SECONDS_MAX)
        try:
            connection.add_termination_listener(lambda _: self.stale())
            # Listen first, then load: what changes in between is told.
            await connection.add_listener(CHANNEL, lambda *_: self.stale())
            self._wanted.set()
            while not connection.is_closed():
                await self._wanted.wait()
                if connection.is_closed():
                    return
                await asyncio.sleep(SETTLE_SECONDS)
                self._wanted.clear()
                snapshot = await self._load(connection)
                if not self._wanted.is_set():  # nothing happened meanwhile
                    self.catalog.replace(snapshot)
                    self._loaded.set()
        finally:
            connection.terminate()

    async def _load(self, connection: asyncpg.Connection[Any]) -> Snapshot:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await connection.fetch(_RELATIONS)
            reads = await connection.fetch(_VIEWS)
            opaque = {row[0] for row in await connection.fetch(_VIEW_FUNCTIONS)}
            functions = await connection.fetch(_FUNCTIONS)
        relations = _relations(rows, self._classify)
        relations = _with_views(relations, [(r[0], r[1]) for r in reads], opaque)
        for oid, relation in relations.items():
            for column in relation.columns:
                if column.data_class:
                    self._ever[oid, column.attnum] = column.data_class
        # Once sensitive, a column stays so: renaming it doesn't change what it holds.
        sensitive = {key: value for key, value in self._ever.items() if key[0] in relations}
        names = {(r.schema, r.name): oid for oid, r in relations.items()}
        return Snapshot(
            relations,
            names,
            sensitive,
            builtin=frozenset(r[0] for r in functions if r[1]),
            others=frozenset(r[0] for r in functions if not r[1]),
            volatile=frozenset(r[0] for r in functions if r[2]),
        )


def split_path(search_path: str) -> list[str]:
    """The schemas of a search_path as the server reports it: quoted names keep their case and commas."""
    parts, current, quoted, was_quoted = [], "", False, False
    for character in search_path + ",":
        if character == '"':
            quoted = not quoted
            was_quoted = True
        elif character == "," and not quoted:
            name = current if was_quoted else current.strip().lower()
            if name.strip():
                parts.append(name.strip() if not was_quoted else name.strip(" "))
            current, was_quoted = "", False
        else:
            current += character
    return parts


def _relations(rows: list[Any], classify: Classify) -> dict[int, RelationInfo]:
    grouped: dict[int, list[Any]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    relations = {}
    for oid, columns in grouped.items():
        _, schema, name, kind, *_ = columns[0]
        siblings = tuple(row[5] for row in columns if row[4] > 0)
        relations[oid] = RelationInfo(
            oid,
            schema,
            name,
            kind,
            tuple(
                Column(row[4], row[5], row[6], row[7], classify(schema, name, row[5], row[7], siblings))
                for row in columns
                if row[4] > 0
            ),
        )
    return relations


def _with_views(
    relations: dict[int, RelationInfo], reads: list[tuple[int, int]], opaque: set[int]
) -> dict[int, RelationInfo]:
    """Views with what they stand on, transitively; a view's column is clean only where it must be."""
    direct: dict[int, set[int]] = {}
    for view, base in reads:
        direct.setdefault(view, set()).add(base)
    out = dict(relations)
    for oid, relation in relations.items():
        if relation.kind not in ("v", "m"):
            continue
        below, todo = set[int](), [oid]
        while todo:
            for base in direct.get(todo.pop(), ()):
                if base not in below:
                    below.add(base)
                    todo.append(base)
        bases = [relations[b] for b in below if b in relations]
        hides = relation.schema != "pg_catalog" and (bool(({oid} | below) & opaque) or any(map(_holds_personal, bases)))
        columns = tuple(_view_column(c, bases) if hides else c for c in relation.columns)
        out[oid] = structs.replace(relation, columns=columns, reads=tuple(sorted(below)))
    return out


def _holds_personal(relation: RelationInfo) -> bool:
    return any(column.data_class for column in relation.columns)


_PLAIN_TYPES = ("integer", "bigint", "smallint", "boolean", "uuid", "timestamp", "date", "numeric")


def _view_column(column: Column, bases: list[RelationInfo]) -> Column:
    """Over personal data a view's column is personal, unless its name and plain type are those of a clean column."""
    if column.data_class:
        return column
    same = [c for base in bases for c in base.columns if c.name == column.name]
    clean = same and all(not c.data_class and c.type_oid == column.type_oid for c in same)
    if clean and column.type_name.startswith(_PLAIN_TYPES):
        return column
    return structs.replace(column, data_class="unproven")
