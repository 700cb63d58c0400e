"""A policy, as its file says it.

The envelope (id, title, status, level, tags, …) is Sigma's, so that detection engineers know it; what it looks at are
CEL conditions over facts. Source: Sigma specification 2.1.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field, json

from taprail.schemas.records import PersonKind, Severity

Verb = Literal["deny", "allow", "hold", "mask", "alert"]
Dialect = Literal["postgresql", "mysql", "tsql"]
Status = Literal["stable", "test", "experimental", "deprecated"]
Id = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$")]
Line = Annotated[str, Meta(min_length=1, max_length=300)]
Text = Annotated[str, Meta(max_length=4_000)]
Names = tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...]
Conditions = str | tuple[str, ...]


class Where(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a policy applies: whatever is named must hold, of a list one of its names."""

    environments: Names = ()
    protected: bool | None = None
    servers: Names = ()
    databases: Names = ()
    kinds: tuple[PersonKind, ...] = ()
    groups: Names = ()

    def conditions(self) -> tuple[str, ...]:
        """The same in CEL."""
        found = []
        lists = {"session.environment": self.environments, "session.server": self.servers,
                 "session.database": self.databases, "person.kind": self.kinds}  # fmt: skip
        found += [f"{fact} in [{_literals(names)}]" for fact, names in lists.items() if names]
        if self.groups:
            found.append(f"person.groups.exists(g, g in [{_literals(self.groups)}])")
        if self.protected is not None:
            found.append("session.protected" if self.protected else "!session.protected")
        return tuple(found)


Seconds = Annotated[int, Meta(ge=1, le=86_400)]


class ApprovalTerms(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of a hold: who decides, and what an approval gives.

    by              groups; a member of any may decide, and with `every_group` one of each must
    quorum          persons who must approve
    emergency       groups of which one person alone suffices
    ticket          whoever approves must name a ticket
    mode            `wait`, or `retry`: told at once, to be run again once approved. Inside a transaction it is always
                    `retry`, for a transaction that waits keeps its locks, unless `in_transaction` insists on waiting
    seconds         how long the request stays open
    grant_seconds   how long an approval of `retry` lasts
    remember_days   how long whoever approves may have equal statements of the same role pass
    """

    by: Names = ()
    quorum: Annotated[int, Meta(ge=1, le=10)] = 1
    every_group: bool = False
    emergency: Names = ()
    ticket: bool = False
    mode: Literal["wait", "retry"] = "wait"
    in_transaction: bool = False
    seconds: Seconds | None = None
    grant_seconds: Seconds | None = None
    remember_days: Annotated[int, Meta(ge=0, le=365)] = 0


class Example(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A statement for a policy's own test, and whatever of person, session, time and history matters to it.

    dialect    whose SQL it is: PostgreSQL's unless MySQL's (and MariaDB's), or SQL Server's
    networks   what `session.networks` holds

    tables     `schema.name` to its columns, as `id integer, email text`; classes come from the names, as in a database
    prepared   SQL-level names that the session has given with PREPARE, to the whole PREPARE statement
    """

    sql: str
    dialect: Dialect | None = None
    person: dict[str, str | tuple[str, ...]] = {}
    session: dict[str, str | bool] = {}
    now: dict[str, int | str] = {}
    history: dict[str, int | tuple[str, ...]] = {}
    estimate: dict[str, bool | int] = {}
    networks: Names = ()
    tables: dict[str, str] = {}
    prepared: dict[str, str] = {}


class Defaults(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all examples of a policy have, unless they say otherwise."""

    dialect: Dialect | None = None
    person: dict[str, str | tuple[str, ...]] = {}
    session: dict[str, str | bool] = {}
    now: dict[str, int | str] = {}
    history: dict[str, int | tuple[str, ...]] = {}
    estimate: dict[str, bool | int] = {}
    networks: Names = ()
    tables: dict[str, str] = {}
    prepared: dict[str, str] = {}


class Tests(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"passes": "pass"}):
    """Statements that the policy must match, and ones that it must let pass."""

    given: Defaults = field(default_factory=Defaults)
    match: tuple[str | Example, ...] = ()
    passes: tuple[str | Example, ...] = ()


class Times(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many make it one: of events, or of different values of `field`."""

    gte: Annotated[int, Meta(ge=1, le=1_000)]
    field: Literal["relation", "database", "environment", "person", "policy"] | None = None


class Correlation(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"group_by": "group-by"}):
    """Matches of other policies that belong together (Sigma's correlation rules).

    type       event_count: so many matches; value_count: matches with so many different values; temporal: every one of
               the rules
    rules      ids of the policies whose matches count, those that are being tried included
    group_by   what the matches must have in common
    timespan   within which time, as `10m`
    """

    type: Literal["event_count", "value_count", "temporal"]
    rules: tuple[Id, ...]
    timespan: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}[smhd]$")]
    group_by: tuple[Literal["person", "environment", "server", "database", "session"], ...] = ("person",)
    condition: Times | None = None

    @property
    def timespan_us(self) -> int:
        seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400}[self.timespan[-1]]
        return int(self.timespan[:-1]) * seconds * 1_000_000


class Policy(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One file.

    status    a policy in `test` or `experimental` only records what it would have done; `deprecated` does nothing
    match     conditions that must all hold
    correlation  instead of conditions: what matches of other policies come to. It looks at no statement by itself
    unless    conditions of which none may hold
    message   what the person is told, instead of the title
    hint      what to do next
    rows_per_hour  of a deny: how many rows a person may be given in 60 minutes before it denies. A result that would
              cross that is cut
    """

    id: Id
    title: Line
    level: Severity
    verdict: Verb
    match: Conditions = ()
    correlation: Correlation | None = None
    status: Status = "stable"
    description: Text = ""
    author: str = ""
    date: str = ""
    modified: str = ""
    references: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    tags: tuple[Annotated[str, Meta(pattern=r"^[a-z0-9_-]+\.[a-z0-9_.-]+$")], ...] = ()
    where: Where = field(default_factory=Where)
    unless: Conditions = ()
    message: Line | None = None
    hint: Text = ""
    approval: ApprovalTerms = field(default_factory=ApprovalTerms)
    rows_per_hour: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    tests: Tests = field(default_factory=Tests)

    @property
    def acts(self) -> bool:
        """Whether it does what it says, rather than tell what it would do."""
        return self.status == "stable"


def listed(conditions: Conditions) -> tuple[str, ...]:
    return (conditions,) if isinstance(conditions, str) else conditions


def _literals(names: tuple[str, ...]) -> str:
    """As CEL's string literals, which know JSON's escapes."""
    return ", ".join(json.encode(name).decode() for name in names)
