"""A guard over a catalog made by hand, with customers (personal data), orders and a decoy: no database is needed."""

from __future__ import annotations

from typing import Any, Literal

from taprail.connectors.postgres.catalog import PostgresCatalog, Snapshot
from taprail.schemas.guard import Column, RelationInfo, Request, SessionContext, Verdict
from taprail.schemas.records import Person
from taprail.streams.masking.classify import classify
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.guard import PolicyGuard

TABLES = {
    "public.customers": "id integer, name text, email text, phone text, note text, payload jsonb",
    "public.orders": "id integer, customer_id integer, note text, total numeric, row_to_json integer",
    "decoy.customers": "id integer, email integer, note text",
    "public.people": "id integer, email text",
    "public.peoplelog": "id integer, note text",
    "pg_catalog.pg_settings": "name text, setting text",
    "public.scratch": "ts_stat integer, keep integer",
}
BUILTIN = [
         "now", "lower", "upper", "length", "count", "sum", "min", "max", "avg",
    "coalesce", "row_to_json", "to_json", "string_agg", "hashtext", "set_config",
    "pg_notify", "current_setting", "pg_advisory_lock", "nextval", "setval", "pg_sleep",
    "random", "pg_relation_size", "pg_logical_emit_message", "lo_get", "table_to_xml",
    "query_to_xml", "pg_read_file", "version", "concat", "unnest", "ts_stat", "pg_terminate_backend", "generate_series",
    "abs", "ascii",
    "pg_stat_get_backend_activity", "lo_tell64", "lo_lseek64", "lo_truncate64",
]  # fmt: skip
OPERATORS = ["=", "<>", "<", ">", "<=", ">=", "||", "+", "-", "*", "/", "~", "~~", "->>", "->", "@>"]
VOLATILE = {"set_config", "pg_notify", "nextval", "setval", "pg_sleep", "random", "pg_logical_emit_message", "keep"}
OTHERS = {"customer_email", "keep", "operator @@@"}
INTEGER, TEXT = 23, 25


def snapshot(tables: dict[str, str] | None = None) -> Snapshot:
    relations = {}
    for oid, (name, described) in enumerate((tables or TABLES).items(), 20_000):
        schema, _, relation = name.partition(".")
        columns = [column.split(" ") for column in described.split(", ")]
        names = tuple(column for column, _ in columns)
        made = [
            Column(
                i, column, TEXT if kind == "text" else INTEGER, kind, classify(schema, relation, column, kind, names)
            )
            for i, (column, kind) in enumerate(columns, 1)
        ]
        relations[oid] = RelationInfo(oid, schema, relation, "r", tuple(made))
    return Snapshot(
        relations,
        {(r.schema, r.name): oid for oid, r in relations.items()},
        {(oid, c.attnum): c.data_class for oid, r in relations.items() for c in r.columns if c.data_class},
        builtin=frozenset([*BUILTIN, *(f"operator {name}" for name in OPERATORS)]),
        others=frozenset(OTHERS),
        volatile=frozenset(VOLATILE),
        plain_names=frozenset(r.name for r in relations.values()),
        coded=frozenset({"customer_ref"}),
        newest={oid: len(r.columns) for oid, r in relations.items()},
    )


def catalog(tables: dict[str, str] | None = None) -> PostgresCatalog:
    made = PostgresCatalog()
    made.replace(snapshot(tables))
    return made


def guard(of: PostgresCatalog | None = None) -> PolicyGuard:
    found = of or catalog()
    return PolicyGuard(lambda _: found, RuleSettings(clear_groups=("data-owners",)))


def session(person: str = "ann", **fields: Any) -> SessionContext:
    """Ann sees masked data in prod; `owner` sees it clear; `agent` is one."""
    kind: Literal["agent", "person"] = "agent" if person == "agent" else "person"
    groups = ("data-owners",) if person == "owner" else ("engineers",)
    given = {"environment": "prod", "server": "main", "database": "shop", "role": "app", "method": "none", **fields}
    return SessionContext("s-1", "tap-1", person=Person(person, person, kind, groups), **given)


def judge(by: PolicyGuard, text: str, person: str = "ann", **fields: Any) -> Verdict:
    return by.judge(Request(text, session(person, **fields), "simple"))
