"""A statement without a database: the small world in which policies are tried and tested.

Tables are given by a few words, and their columns are classified by their names as in a database. Functions are
PostgreSQL's own by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

import msgspec
from google.protobuf.message import Message

from taprail.schemas.errors import PolicyError, RefusedError
from taprail.schemas.guard import Catalog, Column, Facts, RelationInfo, SessionContext
from taprail.schemas.records import Person
from taprail.streams.masking import plan as masking
from taprail.streams.masking.classify import classify
from taprail.streams.masking.readers import reads_by_itself
from taprail.streams.policy import dialects, sql, verdicts
from taprail.streams.policy.decision import Case, Decision, RuleSettings
from taprail.streams.policy.describe import describe
from taprail.streams.policy.descriptor import message_class
from taprail.streams.policy.dotted import calls
from taprail.streams.policy.facts import facts_of
from taprail.streams.policy.named import Reading
from taprail.streams.policy.own import NAMES, is_own
from taprail.streams.policy.policy import Defaults, Example
from taprail.streams.policy.prepared import with_body
from taprail.streams.policy.reading import read
from taprail.streams.policy.safeguards import SAFEGUARDS, server_programs

TABLES = {
    "public.customers": "id integer, name text, email text, phone text, note text",
    "public.orders": "id integer, customer_id integer, total numeric, note text, placed timestamptz",
    "public.payments": "id integer, order_id integer, card_number text, iban text, amount numeric",
    "public.patients": "id integer, name text, diagnosis text, date_of_birth date",
}
_PERSON: dict[str, Any] = {"subject": "ann", "name": "Ann", "kind": "person", "groups": ("engineers",)}
_SESSION: dict[str, Any] = {"environment": "prod", "server": "main", "database": "shop", "role": "app_engineer"}
_NOW: dict[str, Any] = {"hour": 11, "minute": 0, "weekday": 3, "date": "2026-01-07"}
_NAMES = ("pg_catalog", "information_schema", "public")
_WRITING = frozenset({"setval", "nextval", "set_config", "pg_notify", "lo_unlink", "pg_logical_emit_message"})


class _Tried(NamedTuple):
    """A statement of an example. The case has no `node` where it isn't PostgreSQL's."""

    text: str
    normalised: str
    case: Case
    reading: Reading


class ExampleCatalog:
    """Implements `Catalog`. `foreign` are functions that aren't the server's own, beside those with a schema; None
    where it is PostgreSQL, whose own have names that are known."""

    epoch, current = 1, True

    def __init__(self, tables: Mapping[str, str], foreign: frozenset[str] | None = None) -> None:
        self._foreign = foreign
        self._relations: dict[tuple[str, str], RelationInfo] = {}
        for oid, (full, words) in enumerate(tables.items(), 20_000):
            schema, dot, name = full.rpartition(".")
            relation = _relation(oid, schema if dot else "public", name, words)
            self._relations[relation.schema, relation.name] = relation

    def resolve(self, schema: str, name: str, search_path: str, role: str) -> RelationInfo | None:
        if schema:
            return self._relations.get((schema, name))
        return next((found for each in _NAMES if (found := self._relations.get((each, name)))), None)

    def candidates(self, schema: str, name: str, search_path: str, role: str) -> tuple[RelationInfo, ...]:
        found = self.resolve(schema, name, search_path, role)
        return () if found is None else (found,)

    def named(self, name: str) -> bool:
        return any(name == known for _, known in self._relations)

    def by_oid(self, oid: int) -> RelationInfo | None:
        return next((each for each in self._relations.values() if each.oid == oid), None)

    def builtin(self, function: str) -> bool:
        if self._foreign is None:
            return is_own(function)
        if function.startswith("operator "):
            return True
        own = function.rpartition(".")[0] in ("", "pg_catalog", "information_schema")
        return own and function not in self._foreign

    def callable(self, name: str) -> bool:
        """Of those that aren't the server's own the ones that matter by themselves: no database is asked which there
        are."""
        return name in NAMES or reads_by_itself(name) or server_programs.reaches_out(name)

    def runs_code(self, type_name: str) -> bool:
        return False

    def volatile(self, function: str) -> bool:
        return function.rpartition(".")[2] in _WRITING or not self.builtin(function)

    def sensitive(self) -> Mapping[tuple[int, int], str]:
        return {(r.oid, c.attnum): c.data_class for r in self._relations.values() for c in r.columns if c.data_class}

    def oids(self) -> frozenset[int]:
        return frozenset(each.oid for each in self._relations.values())

    def newest(self) -> Mapping[int, int]:
        return {each.oid: len(each.columns) for each in self._relations.values()}


def _relation(oid: int, schema: str, name: str, words: str) -> RelationInfo:
    columns = []
    pairs = [each.split(None, 1) for each in words.split(",") if each.strip()]
    names = tuple(pair[0] for pair in pairs)
    for number, pair in enumerate(pairs, 1):
        kind = pair[1].strip() if len(pair) > 1 else "text"
        columns.append(Column(number, pair[0], 25, kind, classify(schema, name, pair[0], kind, names)))
    return RelationInfo(oid, schema, name, "r", tuple(columns))


def facts_of_example(
    example: Example, given: Defaults | None = None, settings: RuleSettings | None = None
) -> Iterator[dict[str, Message]]:
    """All facts of each statement of the example, in order. Raises RefusedError for what isn't SQL, PolicyError for a
    person, session, time or history that can't be."""
    given = given or Defaults()
    changing = {
        "now": _message("NowFacts", {**_NOW, **given.now, **example.now}),
        "history": _message("HistoryFacts", {**given.history, **example.history}),
        "estimate": _message("EstimateFacts", {**given.estimate, **example.estimate}),
    }
    for each in _tried(example, given, settings):
        writes = verdicts.writes_itself(each.case.facts, each.case.catalog)
        lasting = describe(each.case, each.reading, each.normalised, sql.fingerprint(each.normalised), writes=writes)
        session: Any = lasting["session"]
        session.networks.extend(example.networks or given.networks)
        yield {**lasting, **changing}


def safeguards_of_example(
    example: Example, settings: RuleSettings | None = None
) -> Iterator[tuple[str, bool, tuple[Decision, ...]]]:
    """Of each statement: its text, whether it is masked, and what safeguards say. Those are PostgreSQL's alone."""
    for each in _tried(example, Defaults(), settings):
        judges = SAFEGUARDS if each.case.node is not None else ()
        yield each.text, each.case.masked, tuple(found for judge in judges if (found := judge(each.case)) is not None)


def _tried(example: Example, given: Defaults, settings: RuleSettings | None) -> Iterator[_Tried]:
    settings = settings or RuleSettings(clear_groups=("data-owners",))
    session = session_of(example, given)
    tables = {**TABLES, **given.tables, **example.tables}
    dialect = example.dialect or given.dialect or "postgresql"
    if dialect != "postgresql":
        for each in dialects.statements(example.sql, dialect):
            catalog = cast(Catalog, ExampleCatalog(tables, each.foreign))
            case = _judged(each.facts, None, session, catalog, settings)
            yield _Tried(each.text, each.normalised, case, each.reading)
        return
    catalog = cast(Catalog, ExampleCatalog(tables))
    text = example.sql.encode()
    for part in sql.split(example.sql):
        statement = text[part.start : part.start + part.length].decode().strip()
        yield _read(statement, session, catalog, settings)


def session_of(example: Example, given: Defaults) -> SessionContext:
    person = _converted({**_PERSON, **given.person, **example.person}, Person)
    fields = {**_SESSION, **given.session, **example.session}
    fields["client_address"] = fields.pop("address", "")
    try:
        made = SessionContext("session", "tap", person=person, method=fields.pop("method", "oidc"), **fields)
    except TypeError as error:
        raise PolicyError(f"an example's session: {error}", hint="its keys are those of the fact `session`") from None
    made.prepared = {**given.prepared, **example.prepared}
    return made


def _read(text: str, session: SessionContext, catalog: Catalog, settings: RuleSettings) -> _Tried:
    node = sql.parse(text).stmts[0].stmt
    facts = facts_of(node)
    arguments: tuple[Any, ...] = ()
    if facts.executes:
        if facts.executes not in session.prepared:
            raise RefusedError(f"no statement {facts.executes!r} is prepared", hint="name it under `prepared`")
        arguments = tuple(node.execute_stmt.params)
        facts, node = with_body(facts, session.prepared[facts.executes])
    reading = read(node, arguments)
    called = calls(reading, session, catalog)
    facts = replace(facts, functions=(*facts.functions, *called))
    case = msgspec.structs.replace(_judged(facts, node, session, catalog, settings), calls=frozenset(called))
    return _Tried(text, sql.normalise(text), case, reading)


def _judged(facts: Facts, node: Any, session: SessionContext, catalog: Catalog, settings: RuleSettings) -> Case:
    relations = tuple(catalog.resolve(r.schema, r.name, session.search_path, session.role) for r in facts.relations)
    clear = set(session.person.groups) & set(settings.clear_groups)
    masked = not clear and masking.reaches(facts, verdicts.judged(facts, relations), catalog)
    return Case(facts, node, (), session, catalog, relations, masked, settings)


def _message(name: str, fields: Mapping[str, Any]) -> Message:
    try:
        return message_class(name)(**fields)
    except (ValueError, TypeError) as error:
        raise PolicyError(f"an example's {name.removesuffix('Facts').lower()}: {error}") from None


def _converted(fields: Mapping[str, Any], kind: type[Person]) -> Person:
    try:
        return msgspec.convert({**fields, "groups": list(fields["groups"])}, kind)
    except msgspec.ValidationError as error:
        raise PolicyError(f"an example's person: {error}") from None
