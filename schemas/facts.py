"""The facts that a policy's conditions may name. `policy_facts.avsc` beside it is the contract; conditions are checked
against it when a policy is loaded, and docs/facts.md is made of it.

Names are as PostgreSQL folds them. What the text of a statement doesn't say is empty, never guessed.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Names = tuple[str, ...]


class RelationFacts(Struct, frozen=True):
    """A relation that the statement names, and one thing that it does to it."""

    schema: Annotated[str, Meta(description="As the catalog has it; as written where the catalog doesn't know it.")]
    name: Annotated[str, Meta(description="Without its schema.")]
    full: Annotated[str, Meta(description="`schema.name`; of DROP SCHEMA the schema alone.")]
    verb: Annotated[
        str,
        Meta(
            description="`read`, `insert`, `update`, `delete`, `truncate`, `create`, `alter`, `drop`, `grant`, `lock` "
            "(LOCK, FOR UPDATE) or `maintain` (VACUUM, REINDEX, CLUSTER, REFRESH)."
        ),
    ]
    filtered: Annotated[
        bool,
        Meta(
            description="A condition on a column says to which rows. False for a read, update or delete of all rows, "
            "`WHERE true` and `WHERE 1 = 1` included; true for other verbs."
        ),
    ]
    known: Annotated[bool, Meta(description="The catalog has it.")]
    system: Annotated[bool, Meta(description="It is PostgreSQL's own (pg_catalog, information_schema).")]
    columns: Annotated[Names, Meta(description="Columns of it that the statement may name; all of them for `*`.")]
    classes: Annotated[Names, Meta(description="Classes of the personal data in those columns, as `email`, `card`.")]


class StatementFacts(Struct, frozen=True):
    """What one statement is, read by the server's own grammar. Of a script, each of its statements is judged."""

    kind: Annotated[str, Meta(description="Command tag, as `SELECT`, `DROP TABLE`, `EXPLAIN`.")]
    kinds: Annotated[
        Names,
        Meta(
            description="Command tags of everything in it: also of WITH's queries, of what EXPLAIN ANALYZE, COPY, "
            "PREPARE and EXECUTE run, MERGE's actions, and UPDATE for ON CONFLICT DO UPDATE."
        ),
    ]
    relations: Annotated[tuple[RelationFacts, ...], Meta(description="One for each relation and verb.")]
    read: Annotated[Names, Meta(description="Full names of what is read.")]
    written: Annotated[
        Names, Meta(description="Full names of what is inserted into, updated, deleted from, truncated.")
    ]
    created: Annotated[Names, Meta(description="Full names of what is created.")]
    dropped: Annotated[Names, Meta(description="Full names of what is dropped, of any type.")]
    unfiltered: Annotated[Names, Meta(description="Full names of what is updated or deleted without a condition.")]
    columns: Annotated[
        Names,
        Meta(
            description="`schema.relation.column` of all columns that it may name; all of a relation for `*`, and "
            "for an INSERT without names."
        ),
    ]
    classes: Annotated[Names, Meta(description="Classes of the personal data in those columns.")]
    probes: Annotated[
        Names,
        Meta(
            description="Classes of columns that a condition compares otherwise than for equality (LIKE, <, a call), "
            "so that values can be found by asking often."
        ),
    ]
    functions: Annotated[
        Names,
        Meta(
            description="Functions it calls, with their schemas where written; `o.f` and "
            "`(o).f` call one where there is no such column."
        ),
    ]
    foreign_functions: Annotated[
        Names,
        Meta(
            description="Those of them that aren't PostgreSQL's own; operators, too, as `operator <->`, and "
            "types whose casts or checks run one, as `cast name`."
        ),
    ]
    settings: Annotated[
        Names, Meta(description="Settings that SET, RESET, set_config or BEGIN change; READ ONLY changes none.")
    ]
    alters: Annotated[Names, Meta(description="What ALTER TABLE does, as `DROP COLUMN`, `CHANGE OWNER`.")]
    privileges: Annotated[Names, Meta(description="What GRANT or REVOKE names: `SELECT`, `ALL`, `ROLE admin`.")]
    grantees: Annotated[Names, Meta(description="To or from whom, and new owners; `PUBLIC` for everybody.")]
    role_options: Annotated[Names, Meta(description="Of CREATE and ALTER ROLE: `SUPERUSER`, `NOLOGIN`, `PASSWORD`.")]
    definer: Annotated[bool, Meta(description="It makes a function that runs with its owner's rights.")]
    escapes: Annotated[Names, Meta(description="Ways out of the database: `program`, `file`, `dblink`.")]
    copy: Annotated[str, Meta(description="`in`, `out` or nothing.")]
    writes: Annotated[bool, Meta(description="It may change data or schema, functions that it calls included.")]
    opaque: Annotated[bool, Meta(description="DO, CALL, CREATE FUNCTION: what runs can't be seen in the text.")]
    limited: Annotated[bool, Meta(description="A SELECT with LIMIT or FETCH FIRST, whatever the number.")]
    masked: Annotated[bool, Meta(description="It can reach personal data, which this person sees masked.")]
    transaction: Annotated[
        str, Meta(description="`begin`, `commit`, `rollback`, `savepoint` and the like, or nothing.")
    ]
    text: Annotated[str, Meta(description="The text with every literal replaced by a parameter.")]
    fingerprint: Annotated[str, Meta(description="Names that text.")]


class PersonFacts(Struct, frozen=True):
    """Who acts, as the identity provider or the directory says it."""

    subject: Annotated[str, Meta(description="The provider's name for them.")]
    name: Annotated[str, Meta(description="For people.")]
    kind: Annotated[str, Meta(description="`person`, `service` or `agent`.")]
    groups: Annotated[Names, Meta(description="Groups that they are in.")]
    on_behalf_of: Annotated[str, Meta(description="Subject of whose rights an agent uses.")]
    via: Annotated[str, Meta(description="The service account whose session it is, where a service names people.")]


class SessionFacts(Struct, frozen=True):
    """Where, and what for."""

    environment: Annotated[str, Meta(description="`prod`, `staging`, `dev`, as the settings name it.")]
    protected: Annotated[bool, Meta(description="The environment is one of `policy.protected`.")]
    server: Annotated[str, Meta(description="The server's name in the settings.")]
    database: Annotated[str, Meta(description="The database's name at the tap.")]
    role: Annotated[str, Meta(description="The role on the server.")]
    purpose: Annotated[str, Meta(description="What the person said it is for (`taprail.purpose`).")]
    ticket: Annotated[str, Meta(description="The first ticket number in the purpose, as `OPS-123` or `#45`.")]
    client: Annotated[str, Meta(description="The client's application_name: said by the client, proves nothing.")]
    address: Annotated[str, Meta(description="The client's IP address; empty over a Unix socket.")]
    networks: Annotated[Names, Meta(description="Names of `policy.networks` that the address is in.")]
    method: Annotated[str, Meta(description="How the person signed in: `oidc`, `scram`, `certificate`, `none`.")]
    device: Annotated[
        str,
        Meta(
            description="The device that the person signed in from: what the provider says (`identity.device_claim`), "
            "or the client certificate as `sha256:<hex>`. Empty where neither does; never said by the client."
        ),
    ]


class NowFacts(Struct, frozen=True):
    """When, in the person's time zone where the directory knows it, else in `policy.zone`. A condition that names it is
    decided for every statement anew."""

    hour: Annotated[int, Meta(description="0 to 23.")]
    minute: Annotated[int, Meta(description="0 to 59.")]
    weekday: Annotated[int, Meta(description="1 for Monday to 7 for Sunday.")]
    date: Annotated[str, Meta(description="As `2026-01-31`.")]
    zone: Annotated[str, Meta(description="The time zone, as `Europe/Helsinki`.")]


class HistoryFacts(Struct, frozen=True):
    """What this person has done at this tap lately. A condition that names it is decided for every statement anew."""

    rows_last_hour: Annotated[int, Meta(description="Rows that they were given in the last 60 minutes.")]
    statements_last_minute: Annotated[int, Meta(description="Statements of theirs that ran in the last 60 seconds.")]
    denied_last_hour: Annotated[int, Meta(description="Statements of theirs that were denied in the last 60 minutes.")]
    new_relations: Annotated[
        Names,
        Meta(
            description="Full names of what the statement touches and this person never touched here before. None "
            "while the tap is younger than `policy.learning_days`."
        ),
    ]


class EstimateFacts(Struct, frozen=True):
    """What the planner expects (EXPLAIN). A condition that names it makes the tap ask before it decides, which takes
    milliseconds; it isn't asked of statements that call code of your own, for planning may run that."""

    known: Annotated[bool, Meta(description="The planner has answered.")]
    rows: Annotated[int, Meta(description="Rows that it expects to give or to change; 0 where it isn't known.")]


class PolicyFacts(Struct, frozen=True):
    """Everything that a condition may name. `statement`, `person` and `session` decide once for equal statements."""

    statement: StatementFacts
    person: PersonFacts
    session: SessionFacts
    now: NowFacts
    history: HistoryFacts
    estimate: EstimateFacts
