"""A database's catalog: loaded in one go, made anew whenever DDL happens, stale until then.

The event trigger that `onboard.py` installs tells of DDL by NOTIFY; the tap says `stale()` itself when DDL passed
through it. A watcher whose connection is lost answers nothing: the guard then asks to wait, and the wait fails clearly.
Source: PostgreSQL documentation, chapter 53 (system catalogs).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import string
from collections.abc import Callable, Mapping
from functools import lru_cache
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
# A column's type is named after what is inside of it: a domain's base, an array's element; `record` is composite.
_RELATIONS = """
WITH RECURSIVE inside AS (
  SELECT oid AS type, oid FROM pg_type
  UNION ALL
  SELECT i.type, CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END
  FROM inside i JOIN pg_type t ON t.oid = i.oid WHERE t.typtype = 'd' OR t.typcategory = 'A' AND t.typelem <> 0
), named AS (
  SELECT i.type, CASE WHEN t.typtype = 'c' THEN 'record' WHEN n.nspname = 'pg_catalog' THEN format_type(t.oid, NULL)
                      ELSE t.typname END AS name
  FROM inside i JOIN pg_type t ON t.oid = i.oid JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE t.typtype <> 'd' AND NOT (t.typcategory = 'A' AND t.typelem <> 0)
)
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, a.attnum::int, a.attname, a.atttypid::int8, y.name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
JOIN named y ON y.type = a.atttypid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT a.attisdropped AND n.nspname NOT LIKE 'pg\\_toast%'
ORDER BY c.oid, a.attnum"""
_VIEWS = """
SELECT DISTINCT r.ev_class::int8, d.refobjid::int8
FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class"""
_VIEW_FUNCTIONS = """
SELECT DISTINCT r.ev_class::int8
FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
LEFT JOIN pg_proc p ON p.oid = d.refobjid AND d.refclassid = 'pg_proc'::regclass
LEFT JOIN pg_operator o ON o.oid = d.refobjid AND d.refclassid = 'pg_operator'::regclass
WHERE p.oid >= 16384 OR o.oid >= 16384"""
# Relations that run code of others: by a trigger, by what hangs on a function (default, check, policy), or by a rule.
_CODE = """
SELECT tgrelid::int8 FROM pg_trigger WHERE NOT tgisinternal AND tgfoid >= 16384
UNION SELECT ev_class::int8 FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_class >= 16384
UNION SELECT coalesce(a.adrelid, c.conrelid, l.polrelid)::int8
FROM pg_depend d LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
LEFT JOIN pg_policy l ON d.classid = 'pg_policy'::regclass AND l.oid = d.objid
WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND d.refobjid >= 16384
  AND d.classid IN ('pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_policy'::regclass)"""
# Types whose values code of somebody's own makes or checks: by a cast, a domain's check, or in what they are made of.
# None of PostgreSQL's own types counts: whatever casts to one comes from a type that does.
_CODED = """
WITH RECURSIVE coded(type) AS (
  SELECT t.oid FROM pg_cast c JOIN pg_type t ON t.oid IN (c.castsource, c.casttarget)
  WHERE c.castfunc >= 16384 AND t.oid >= 16384 AND NOT EXISTS (
    SELECT FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
    WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype = 'e' AND e.extname = ANY($1))
  UNION
  SELECT c.contypid FROM pg_constraint c JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
  WHERE c.contypid <> 0 AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND d.refobjid >= 16384
  UNION
  SELECT made.type FROM coded JOIN (
    SELECT typbasetype AS of, oid AS type FROM pg_type WHERE typbasetype >= 16384
    UNION ALL SELECT typelem, oid FROM pg_type WHERE typelem >= 16384
    UNION ALL SELECT a.atttypid, t.oid FROM pg_attribute a JOIN pg_type t ON t.typrelid = a.attrelid
    WHERE a.atttypid >= 16384
  ) made ON made.of = coded.type
)"""
_CODED_TYPES = f"{_CODED} SELECT DISTINCT typname FROM coded JOIN pg_type t ON t.oid = coded.type"
_CODED_RELATIONS = f"{_CODED} SELECT DISTINCT attrelid::int8 FROM coded JOIN pg_attribute a ON a.atttypid = coded.type"
_INHERITS = "SELECT inhrelid::int8, inhparent::int8 FROM pg_inherits"
_GENERATED = """
SELECT d.adrelid::int8, d.adnum::int, p.refobjsubid
FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated <> ''
JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
  AND p.refobjid = d.adrelid AND p.refobjsubid NOT IN (0, d.adnum)"""
# Extensions whose functions and operators compute from their arguments, and do nothing else.
_PURE_EXTENSIONS = (
    "btree_gin", "btree_gist", "citext", "cube", "earthdistance", "fuzzystrmatch", "hstore", "intarray", "isn", "ltree",
    "pg_trgm", "pgcrypto", "seg", "unaccent", "uuid-ossp", "vector",
)  # fmt: skip
_OWN = """{0}.oid < 16384 AND n.nspname IN ('pg_catalog', 'information_schema') OR EXISTS (
  SELECT FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
  WHERE d.classid = '{1}'::regclass AND d.objid = {0}.oid AND d.deptype = 'e' AND e.extname = ANY($1))"""
# A name with a blank can't be a function's that anybody has written without quotes, and Facts names none in quotes so.
_FUNCTIONS = f"""
SELECT p.proname, {_OWN.format("p", "pg_proc")}, bool_or(p.provolatile = 'v')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace GROUP BY 1, 2
UNION ALL SELECT DISTINCT 'operator ' || o.oprname, {_OWN.format("o", "pg_operator")}, false
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace"""


class Snapshot(Struct, frozen=True):
    """What one load saw; immutable."""

    relations: Mapping[int, RelationInfo]
    names: Mapping[tuple[str, str], int]
    sensitive: Mapping[tuple[int, int], str]
    builtin: frozenset[str]
    others: frozenset[str]
    volatile: frozenset[str]
    newest: Mapping[int, int] = {}
    plain_names: frozenset[str] = frozenset()
    coded: frozenset[str] = frozenset()  # names of types


EMPTY = Snapshot({}, {}, {}, frozenset(), frozenset(), frozenset())
TEMPORARY = "pg_temp"
NAME_BYTES_MAX = 63
_PATH_PART = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"\s*|(?P<plain>[^",]*))(?:,|$)')
_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


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
        """The relation that the server would take, None where that isn't known.

        Without a schema it may be any of the path, since the server skips those that the role may not use, or a
        temporary one, since it isn't known whose they are: then all of them must be alike.
        """
        found = self.candidates(schema, name, search_path, role)
        return found[0] if found and all(_alike(found[0], other) for other in found[1:]) else None

    def candidates(self, schema: str, name: str, search_path: str, role: str) -> tuple[RelationInfo, ...]:
        names, relations = self._snapshot.names, self._snapshot.relations
        if schema:
            oid = names.get((schema, name))
            return () if oid is None else (relations[oid],)
        path = [role if part == "$user" else part for part in split_path(search_path)]
        if "pg_catalog" not in path and (oid := names.get(("pg_catalog", name))) is not None:
            return (relations[oid],)
        return tuple(relations[oid] for part in [*path, TEMPORARY] if (oid := names.get((part, name))) is not None)

    def named(self, name: str) -> bool:
        return name in self._snapshot.plain_names

    def by_oid(self, oid: int) -> RelationInfo | None:
        return self._snapshot.relations.get(oid)

    def builtin(self, function: str) -> bool:
        """Whether the name can only mean a function of PostgreSQL's own: nobody else has one of this name."""
        schema, _, name = function.rpartition(".")
        return name in self._snapshot.builtin and (schema == "pg_catalog" or name not in self._snapshot.others)

    def callable(self, name: str) -> bool:
        return name in self._snapshot.builtin or name in self._snapshot.others

    def runs_code(self, type_name: str) -> bool:
        return type_name in self._snapshot.coded

    def volatile(self, function: str) -> bool:
        name = function.rpartition(".")[2]
        return name in self._snapshot.volatile or not self.builtin(function)

    def sensitive(self) -> Mapping[tuple[int, int], str]:
        return self._snapshot.sensitive

    def oids(self) -> frozenset[int]:
        return frozenset() if self.epoch == 0 else self._oids

    def newest(self) -> Mapping[int, int]:
        return self._snapshot.newest


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
            functions = await connection.fetch(_FUNCTIONS, list(_PURE_EXTENSIONS))
            code = {row[0] for row in await connection.fetch(_CODE)}
            code |= {row[0] for row in await connection.fetch(_CODED_RELATIONS, list(_PURE_EXTENSIONS))}
            coded = await connection.fetch(_CODED_TYPES, list(_PURE_EXTENSIONS))
            inherits = await connection.fetch(_INHERITS)
            generated = await connection.fetch(_GENERATED)
        relations = self._known(_relations(rows, self._classify))
        relations = self._known(_inherited(_generated(relations, generated), inherits))
        relations = _with_views(relations, [(r[0], r[1]) for r in reads], opaque)
        relations |= {oid: structs.replace(relations[oid], code=True) for oid in code & relations.keys()}
        return Snapshot(
            relations,
            _names(relations),
            {(oid, c.attnum): c.data_class for oid, r in relations.items() for c in r.columns if c.data_class},
            builtin=frozenset(r[0] for r in functions if r[1]),
            others=frozenset(r[0] for r in functions if not r[1]),
            volatile=frozenset(r[0] for r in functions if r[2]),
            plain_names=frozenset(r.name for r in relations.values()),
            coded=frozenset(row[0] for row in coded),
            newest={oid: max((c.attnum for c in r.columns), default=0) for oid, r in relations.items()},
        )

    def _known(self, relations: dict[int, RelationInfo]) -> dict[int, RelationInfo]:
        """Once sensitive, a table's column stays so: renaming it doesn't change what it holds."""
        for oid, relation in relations.items():
            for column in relation.columns if relation.kind != "v" else ():
                if column.data_class:
                    self._ever.setdefault((oid, column.attnum), column.data_class)
        self._ever = {key: value for key, value in self._ever.items() if key[0] in relations}
        return {
            oid: _classed(relation, {c.attnum: self._ever.get((oid, c.attnum), "") for c in relation.columns})
            for oid, relation in relations.items()
        }


@lru_cache(1024)
def split_path(search_path: str) -> tuple[str, ...]:
    """The schemas of a search_path as the server reports it: quoted names keep their case, commas and blanks.

    As `SplitIdentifierString` of PostgreSQL's varlena.c: ASCII letters alone are folded, names end at 63 bytes.
    """
    parts = []
    for match in _PATH_PART.finditer(search_path):
        quoted, plain = match["quoted"], match["plain"]
        name = plain.strip().translate(_FOLDED) if quoted is None else quoted.replace('""', '"')
        if name:
            parts.append(name.encode()[:NAME_BYTES_MAX].decode(errors="ignore"))
    return tuple(parts)


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


def _classed(relation: RelationInfo, classes: Mapping[int, str]) -> RelationInfo:
    """The relation with classes for columns that have none yet; by column number."""
    if not any(classes.get(c.attnum) and not c.data_class for c in relation.columns):
        return relation
    columns = tuple(
        c if c.data_class or not classes.get(c.attnum) else structs.replace(c, data_class=classes[c.attnum])
        for c in relation.columns
    )
    return structs.replace(relation, columns=columns)


def _generated(relations: dict[int, RelationInfo], made_of: list[Any]) -> dict[int, RelationInfo]:
    """A generated column holds what it is made of. It can't be made of another generated one."""
    out = dict(relations)
    for oid, made, source in made_of:
        if oid in out:
            found = next((c.data_class for c in out[oid].columns if c.attnum == source), "")
            out[oid] = _classed(out[oid], {made: found})
    return out


def _inherited(relations: dict[int, RelationInfo], pairs: list[Any]) -> dict[int, RelationInfo]:
    """A parent shows its children's rows, and what holds personal data in one of them does so in all: by name."""
    out, changed = dict(relations), True
    known = [(a, b) for child, parent in pairs for a, b in ((child, parent), (parent, child)) if {a, b} <= out.keys()]
    while changed:
        changed = False
        for source, target in known:
            classes = {c.name: c.data_class for c in out[source].columns}
            found = _classed(out[target], {c.attnum: classes.get(c.name, "") for c in out[target].columns})
            changed = changed or found is not out[target]
            out[target] = found
    return out


def _alike(one: RelationInfo, other: RelationInfo) -> bool:
    """Whether it doesn't matter which of them is meant."""
    if one.oid == other.oid:
        return True
    classes = [{column.name: column.data_class for column in relation.columns} for relation in (one, other)]
    return classes[0] == classes[1] and (one.reads, one.code) == (other.reads, other.code) == ((), False)


def _names(relations: dict[int, RelationInfo]) -> dict[tuple[str, str], int]:
    """(schema, name) -> OID. Of sessions' temporary tables of one name the most sensitive one stands for all."""
    names: dict[tuple[str, str], int] = {}
    for oid, relation in relations.items():
        temporary = relation.schema.startswith("pg_temp_")
        key = (TEMPORARY if temporary else relation.schema, relation.name)
        if key not in names or _sensitivity(relation) > _sensitivity(relations[names[key]]):
            names[key] = oid
    return names


def _sensitivity(relation: RelationInfo) -> int:
    return sum(bool(column.data_class) for column in relation.columns)


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
        own = relation.schema in ("pg_catalog", "information_schema")
        hides = not own and (bool(({oid} | below) & opaque) or any(map(_holds_personal, bases)))
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
