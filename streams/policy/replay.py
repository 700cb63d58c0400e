"""A recorded statement as policies see it: the facts of then, from the record alone.

Person, groups, place and purpose are the record's; how the person signed in, and from which device, its session's. What
the text names is read from its normalised text; what a relation held then, the record's classes tell, and a column of
it has a class where its name says so. What isn't in the record isn't known: the columns behind `*` (all of the
relation's classes count then), whose a function is that has a name of PostgreSQL's, and what EXECUTE and FETCH had
prepared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from google.protobuf.message import Message
from msgspec import Struct, json

from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import UNKNOWN_ROWS, Catalog, Column, RelationInfo, SessionContext
from taprail.schemas.records import Person, RelationUse
from taprail.streams.masking import plan as masking
from taprail.streams.masking.classify import classify
from taprail.streams.policy import sql, verdicts
from taprail.streams.policy.decision import Case, RuleSettings
from taprail.streams.policy.describe import describe
from taprail.streams.policy.facts import facts_of
from taprail.streams.policy.named import STAR
from taprail.streams.policy.own import is_own
from taprail.streams.policy.reading import read

FIELDS = (
    "normalized", "fingerprint", "tag", "writes", "environment", "server", "database", "role", "client",
    "client_address", "purpose", "person_subject", "person_name", "person_kind", "person_groups",
    "person_issuer", "person_on_behalf_of", "person_via", "relations", "method", "device",
)  # fmt: skip
# The view `statements` with what their sessions' records say. A log may have begun after one of those, or hold records
# of before a column was.
STATEMENTS = f"""(
    SELECT s.* REPLACE (coalesce(s.estimated_rows, {UNKNOWN_ROWS}) AS estimated_rows),
           coalesce(o.method, 'none') AS method, coalesce(o.device, '') AS device FROM statements s
    LEFT JOIN (SELECT tap, session, any_value(method) AS method, any_value(device) AS device FROM sessions
               GROUP BY ALL) o USING (tap, session)
)"""
_UNREPLAYED = ("EXECUTE", "FETCH")


class Recorded(Struct, frozen=True):
    """Statements that agree in all of FIELDS, in their order. Of the first one `time_us`, and how many rows the planner
    `expected`, negative where it wasn't asked."""

    values: tuple[Any, ...]
    time_us: int = 0
    expected: int = UNKNOWN_ROWS

    def __getitem__(self, name: str) -> Any:
        return self.values[FIELDS.index(name)]


class RecordedCatalog:
    """Implements `Catalog`, of the relations of one record."""

    epoch, current = 1, True

    def __init__(self, relations: Sequence[RelationUse], columns: Sequence[str]) -> None:
        self._relations: dict[tuple[str, str], RelationInfo] = {}
        for oid, use in enumerate(relations, 20_000):
            if use.schema:
                self._relations[use.schema, use.name] = _relation(oid, use, columns)

    def resolve(self, schema: str, name: str, search_path: str, role: str) -> RelationInfo | None:
        if schema:
            return self._relations.get((schema, name))
        return next((info for (_, known), info in self._relations.items() if known == name), None)

    def candidates(self, schema: str, name: str, search_path: str, role: str) -> tuple[RelationInfo, ...]:
        found = self.resolve(schema, name, search_path, role)
        return () if found is None else (found,)

    def named(self, name: str) -> bool:
        return False

    def by_oid(self, oid: int) -> RelationInfo | None:
        return None

    def builtin(self, function: str) -> bool:
        return is_own(function)

    def callable(self, name: str) -> bool:
        """None: which columns a relation has isn't known, so what stands behind a dot is taken for one."""
        return False

    def runs_code(self, type_name: str) -> bool:
        return False

    def volatile(self, function: str) -> bool:
        return False

    def sensitive(self) -> Mapping[tuple[int, int], str]:
        return {(r.oid, c.attnum): c.data_class for r in self._relations.values() for c in r.columns if c.data_class}

    def oids(self) -> frozenset[int]:
        return frozenset(info.oid for info in self._relations.values())

    def newest(self) -> Mapping[int, int]:
        return {}


def facts_of_record(recorded: Recorded, settings: RuleSettings) -> dict[str, Message]:
    """The lasting facts. Raises RefusedError where the record doesn't tell what the statement was."""
    text = recorded["normalized"]
    if recorded["tag"].startswith(_UNREPLAYED):
        raise RefusedError(f"what {recorded['tag']} ran isn't in its record")
    statements = sql.parse(text).stmts
    if len(statements) != 1:
        raise RefusedError("the record holds no whole statement")
    node = statements[0].stmt
    facts = facts_of(node)
    relations = msgspec.convert(json.decode(recorded["relations"]), tuple[RelationUse, ...])
    reading = read(node)
    columns = [column.name for column in (*reading.columns, *reading.written)]
    catalog = cast(Catalog, RecordedCatalog(relations, columns))
    session = _session(recorded)
    infos = tuple(catalog.resolve(r.schema, r.name, "", "") for r in facts.relations)
    clear = set(session.person.groups) & set(settings.clear_groups)
    masked = not clear and masking.reaches(facts, verdicts.judged(facts, infos), catalog)
    case = Case(facts, node, (), session, catalog, infos, masked, settings)
    return describe(case, reading, text, recorded["fingerprint"], writes=recorded["writes"])


def _relation(oid: int, use: RelationUse, columns: Sequence[str]) -> RelationInfo:
    names = dict.fromkeys(name for name in columns if name != STAR)
    made = []
    for number, name in enumerate(names, 1):
        found = classify(use.schema, use.name, name, "text", tuple(names))
        made.append(Column(number, name, 25, "text", found if found in use.classes else ""))
    rest = set(use.classes) - {column.data_class for column in made}
    made += [Column(len(made) + n, f"({found})", 25, "text", found) for n, found in enumerate(sorted(rest), 1)]
    return RelationInfo(oid, use.schema, use.name, "r", tuple(made))


def _session(recorded: Recorded) -> SessionContext:
    person = Person(
        recorded["person_subject"],
        recorded["person_name"],
        recorded["person_kind"],
        tuple(json.decode(recorded["person_groups"])),
        recorded["person_issuer"] or "",
        recorded["person_on_behalf_of"] or "",
        recorded["person_via"] or "",
    )
    return SessionContext(
        session="",
        tap="",
        environment=recorded["environment"],
        server=recorded["server"],
        database=recorded["database"],
        role=recorded["role"],
        person=person,
        method=recorded["method"],
        client=recorded["client"],
        client_address=recorded["client_address"],
        purpose=recorded["purpose"],
        device=recorded["device"],
    )
