"""The facts of a statement in its session, as the messages that conditions are evaluated over.

`reading.py` says what the text names; here the catalog says what the names stand for. A column without a name before it
counts for every relation that has one of this name; a column of an unknown relation counts as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from google.protobuf.message import Message

from taprail.schemas.guard import RelationInfo, SessionContext
from taprail.streams.policy.decision import Case
from taprail.streams.policy.descriptor import message_class
from taprail.streams.policy.named import STAR, Column, Reading, Touch

TICKET = re.compile(r"\b[A-Z][A-Z0-9]+-\d+\b|#\d+\b")
SYSTEM = ("pg_catalog", "information_schema")
_WRITING = frozenset({"insert", "update", "delete", "truncate"})
_READING = frozenset({"read", "update", "delete"})
_ESCAPES = {
    "copy program": "program", "copy file": "file", "lo_import": "file", "lo_export": "file",
    # MySQL's
    "load_file": "file", "sys_exec": "program", "sys_eval": "program",
    # SQL Server's
    "openrowset": "dblink", "openquery": "dblink", "opendatasource": "dblink", "xp_cmdshell": "program",
    "sp_oacreate": "program", "sp_execute_external_script": "program", "xp_dirtree": "file", "xp_regread": "file",
}  # fmt: skip
_StatementFacts, _RelationFacts = message_class("StatementFacts"), message_class("RelationFacts")
_PersonFacts, _SessionFacts = message_class("PersonFacts"), message_class("SessionFacts")


def describe(case: Case, reading: Reading, normalised: str, fingerprint: str, *, writes: bool) -> dict[str, Message]:
    """The facts that stay the same for all equal statements of the session, by the variable's name."""
    statement = _statement(case, reading, writes)
    statement.text, statement.fingerprint = normalised, fingerprint
    return {"statement": statement, "person": _person(case.session), "session": _session(case)}


def _statement(case: Case, reading: Reading, writes: bool) -> Any:
    facts = case.facts
    relations = [each for touch in reading.touches for each in _relations(touch, case, reading)]
    kinds = dict.fromkeys([facts.tag, *reading.kinds]) if facts.tag else {}
    columns = dict.fromkeys(f"{each.full}.{column}" for each in relations for column in each.columns)
    made: Any = _StatementFacts(
        kind=facts.tag,
        kinds=kinds,
        relations=relations,
        read=_full(relations, {"read"}),
        written=_full(relations, _WRITING),
        created=_full(relations, {"create"}),
        dropped=_full(relations, {"drop"}),
        unfiltered=dict.fromkeys(
            each.full for each in relations if each.verb in ("update", "delete") and not each.filtered
        ),
        columns=columns,
        classes=sorted({name for each in relations for name in each.classes}),
        probes=_probes(reading, case),
        functions=facts.functions,
        foreign_functions=_foreign(case),
        settings=dict.fromkeys([*(name.lower() for name, _ in facts.settings if name), *reading.settings]),
        alters=reading.alters,
        privileges=reading.privileges,
        grantees=reading.grantees,
        role_options=reading.role_options,
        definer=reading.definer,
        escapes=_escapes(facts.functions),
        copy=facts.copy,
        writes=writes,
        opaque=facts.opaque,
        limited=reading.limited,
        masked=case.masked,
        transaction=facts.transaction,
    )
    return made


def _relations(touch: Touch, case: Case, reading: Reading) -> Iterable[Any]:
    """The relation, all of them where the name may stand for several, and what it stands on where it is a view: of that
    no columns are known."""
    session = case.session
    found = case.catalog.candidates(touch.schema, touch.name, session.search_path, session.role)
    for info in found or (None,):
        yield _relation(touch, info, reading, case)
        for oid in info.reads if info is not None else ():
            if (below := case.catalog.by_oid(oid)) is not None:
                full = f"{below.schema}.{below.name}"
                yield _RelationFacts(schema=below.schema, name=below.name, full=full, verb=touch.verb,
                                     filtered=touch.filtered, known=True, system=below.schema in SYSTEM)  # fmt: skip


def _relation(touch: Touch, info: RelationInfo | None, reading: Reading, case: Case) -> Any:
    schema = info.schema if info else touch.schema
    names = _columns(touch, info, [*reading.columns, *reading.written], reading)
    if info is not None:
        classes = {c.data_class for c in info.columns if c.data_class and c.name in names}
    elif case.session.reshaped:  # what DDL in the open transaction has given this name may hold anything
        classes = {each for each in case.catalog.sensitive().values() if each != "system"}
    else:
        classes = set()
    made: Any = _RelationFacts(
        schema=schema,
        name=touch.name,
        full=".".join(part for part in (schema, touch.name) if part),
        verb=touch.verb,
        filtered=touch.filtered,
        known=info is not None,
        system=schema in SYSTEM,
        columns=names,
        classes=sorted(classes),
    )
    return made


def _columns(touch: Touch, info: RelationInfo | None, written: Collection[Column], reading: Reading) -> dict[str, None]:
    """Columns of the relation among those that the text names, in the catalog's order."""
    named = {c.name for c in written if not c.of or touch.name in reading.aliases.get(c.of, {c.of})}
    if info is None:
        return dict.fromkeys(sorted(named - {STAR}))
    whole = STAR in named or touch.verb in ("truncate", "drop")
    # A row as a whole: `SELECT c FROM customers c`, and what is done to it: `SELECT c.row_to_json FROM customers c`
    whole = whole or any(touch.name in reading.aliases.get(name, ()) for name in named)
    has = {c.name for c in info.columns}
    whole = whole or any(c.name not in has and touch.name in reading.aliases.get(c.of, ()) for c in written)
    return {c.name: None for c in info.columns if c.attnum > 0 and (whole or c.name in named)}


def _probes(reading: Reading, case: Case) -> list[str]:
    found: set[str] = set()
    for touch in reading.touches if reading.probes else ():
        if touch.verb not in _READING:
            continue
        for info in case.catalog.candidates(touch.schema, touch.name, case.session.search_path, case.session.role):
            names = _columns(touch, info, reading.probes, reading)
            found |= {c.data_class for c in info.columns if c.data_class and c.name in names}
    return sorted(found)


def _full(relations: Iterable[Any], verbs: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(each.full for each in relations if each.verb in verbs)


def _foreign(case: Case) -> list[str]:
    functions = [name for name in case.facts.functions if not name.startswith("copy ")]  # "copy file" is none
    called = (*functions, *(f"operator {name}" for name in case.facts.operators))
    return [name for name in called if not case.catalog.builtin(name)]


def _escapes(functions: Iterable[str]) -> list[str]:
    found = set()
    for function in functions:
        name = function.rpartition(".")[2]
        if name.startswith("dblink"):
            found.add("dblink")
        elif escape := _ESCAPES.get(function, _ESCAPES.get(name)):
            found.add(escape)
    return sorted(found)


def _person(session: SessionContext) -> Message:
    person = session.person
    return _PersonFacts(
        subject=person.subject,
        name=person.name,
        kind=person.kind,
        groups=person.groups,
        on_behalf_of=person.on_behalf_of,
        via=person.via,
    )


@lru_cache(maxsize=10_000)
def _networks(address: str, networks: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[str, ...]:
    """The names of those that an address is in; none over a Unix socket."""
    try:
        at = ip_address(address)
    except ValueError:
        return ()
    mapped = getattr(at, "ipv4_mapped", None)  # an IPv4 client at an address that takes both
    return tuple(name for name, ranges in networks if any((mapped or at) in ip_network(each) for each in ranges))


def _session(case: Case) -> Message:
    session = case.session
    ticket = TICKET.search(session.purpose)
    return _SessionFacts(
        environment=session.environment,
        protected=case.protected,
        server=session.server,
        database=session.database,
        role=session.role,
        purpose=session.purpose,
        ticket=ticket.group() if ticket else "",
        client=session.client,
        address=session.client_address,
        networks=_networks(session.client_address, case.settings.networks),
        method=session.method,
        device=session.device,
    )
