"""What a tap and a guard say to each other: Request in, Verdict out.

The guard decides and does no I/O; the proxy applies the verdict and the mask plan, and does the waiting that a
`hold` or a missing catalog asks for. `Recorder` is the third party: nothing runs that it has not written down.

Compiled by mypyc where a C compiler is at hand: what every statement makes has an `__init__` of its own, since the ones
that `dataclass` makes stay interpreted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from taprail.schemas.records import Action, Person, PolicyMatch, RelationUse, Terms

Transaction = Literal["", "begin", "commit", "rollback", "savepoint", "release", "rollback_to", "two_phase"]
TransactionStatus = Literal["I", "T", "E"]
# What a record survives before its statement runs: the tap's death, the machine's, or it is in Kafka (acks=all).
Durability = Literal["process", "machine", "kafka"]
UNKNOWN_ROWS, NOT_ASKED = -1, -2  # what the planner can't say, and what it wasn't asked
RETRY_SECONDS = 3600  # how long a request stays open that nobody waits for, unless a policy says otherwise
COLUMNS_MAX = 1600  # of a relation (MaxHeapAttributeNumber)
# What an expression makes can be chosen, so a hash of it would be a dictionary; "system": statistics of any column.
NEVER_HASHED = frozenset({"unproven", "system"})
NO_TERMS = Terms()
TEXT_TYPES = frozenset({18, 19, 25, 1042, 1043, 705})  # char, name, text, bpchar, varchar, unknown


class Kept:
    """Room for what somebody makes of an object again and again, as long as the object stays what it is."""

    def __init__(self) -> None:
        self.made: object = None


@dataclass
class SessionContext:
    """What the guard may know of a session. The proxy keeps it current; `settings` are the ones the server reports."""

    session: str
    tap: str
    environment: str
    server: str
    database: str
    role: str
    person: Person
    method: Literal["oidc", "scram", "certificate", "none"]
    client: str = ""
    client_address: str = ""
    purpose: str = ""
    device: str = ""  # that the person signed in from, as the provider says or a certificate proves
    search_path: str = '"$user", public'
    transaction_status: TransactionStatus = "I"
    prepared: dict[str, str] = field(default_factory=dict)  # SQL-level PREPARE name -> statement text
    cursors: dict[str, str] = field(default_factory=dict)  # DECLAREd cursor -> statement text
    grant: str = ""  # the grant that its role stands on, '' where its person has the role anyway
    # Lasting grants that what runs, or the open transaction, stands on; one set for all copies of a session's context.
    leans_on: set[str] = field(default_factory=set)
    reshaped: bool = False  # the open transaction has changed what names stand for, which no catalog shows yet
    kept: Kept = field(default_factory=Kept, init=False, repr=False, compare=False)


@dataclass(init=False)
class Request:
    """One statement that a session wants to run.

    parameters   the Bind values as sent, None for NULL
    transaction  which of the session's transactions it is part of, from 0
    expected     rows that the planner expects, where a policy wants to know
    """

    text: Final[str]
    session: Final[SessionContext]
    protocol: Final[Literal["simple", "extended"]]
    parameters: Final[tuple[bytes | None, ...]]
    transaction: Final[int]
    expected: Final[int]

    def __init__(
        self,
        text: str,
        session: SessionContext,
        protocol: Literal["simple", "extended"],
        parameters: tuple[bytes | None, ...] = (),
        transaction: int = 0,
        expected: int = NOT_ASKED,
    ) -> None:
        self.text, self.session, self.protocol = text, session, protocol
        self.parameters, self.transaction, self.expected = parameters, transaction, expected


@dataclass(frozen=True)
class Facts:
    """What a statement is, by libpg_query's parse alone: no catalog, no session.

    tag            command tag as the server would say it ('SELECT', 'DROP TABLE', 'EXPLAIN')
    writes         changes data or schema by itself (data-modifying CTEs included), function calls aside
    targets        names of settings it sets, prepared statements or cursors it makes, uses or drops
    """

    tag: str
    relations: tuple[RelationUse, ...] = ()
    functions: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()  # without their schemas
    writes: bool = False
    utility: bool = False
    opaque: bool = False  # DO, CALL, CREATE FUNCTION: what runs can't be seen in the text
    has_where: bool = True  # false only for an UPDATE or DELETE (in a CTE, too) without WHERE
    copy: Literal["", "in", "out"] = ""
    transaction: Transaction = ""
    savepoint: str = ""  # that it makes, releases or rolls back to
    settings: tuple[tuple[str, str], ...] = ()  # SET and literal set_config: (name, value); '' where not literal
    prepares: str = ""
    executes: str = ""
    declares: str = ""
    fetches: str = ""
    deallocates: str | None = None  # a name; '' for ALL
    explain_analyze: bool = False
    reshapes: bool = False  # DDL after which a name may stand for something else, or code that may do it
    markable: bool = True  # may share a transaction with a mark


class Column(Struct, frozen=True):
    attnum: int
    name: str
    type_oid: int
    type_name: str
    data_class: str = ""  # '' is clean: otherwise email, phone, person_name, address, ...


class RelationInfo(Struct, frozen=True):
    """A relation as the catalog has it.

    reads  the OIDs that a view stands on, transitively
    code   a trigger, rule, policy, default or check of it runs code that isn't PostgreSQL's own
    """

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[Column, ...]
    reads: tuple[int, ...] = ()
    code: bool = False


class Catalog(Protocol):
    """A database's catalog at one epoch. DDL makes a new one; a stale one answers nothing (`current` is false)."""

    @property
    def epoch(self) -> int: ...
    @property
    def current(self) -> bool: ...
    def resolve(self, schema: str, name: str, search_path: str, role: str) -> RelationInfo | None: ...
    # All that the name may stand for: more than one where it isn't known which the server takes.
    def candidates(self, schema: str, name: str, search_path: str, role: str) -> tuple[RelationInfo, ...]: ...
    def named(self, name: str) -> bool: ...  # whether any schema has a relation of this name
    def by_oid(self, oid: int) -> RelationInfo | None: ...
    def volatile(self, function: str) -> bool: ...
    def builtin(self, function: str) -> bool: ...
    def callable(self, name: str) -> bool: ...  # whether any schema has a function of this name
    def runs_code(self, type_name: str) -> bool: ...  # whether values of the type are made by code of somebody's own
    def sensitive(self) -> Mapping[tuple[int, int], str]: ...
    def oids(self) -> frozenset[int]: ...
    def newest(self) -> Mapping[int, int]: ...


class Field(Struct, frozen=True):
    """A column of RowDescription. `format` is 0 for text, 1 for binary; OID and attnum 0 where it isn't a column."""

    name: str
    table_oid: int
    attnum: int
    type_oid: int
    format: int


class Keep(Struct, frozen=True):
    """Pass the value as it is."""


class Null(Struct, frozen=True):
    """Send NULL instead."""


class Replace(Struct, frozen=True):
    """Send these bytes instead of any value that isn't NULL; the same bytes in text and binary format."""

    value: bytes


class Hash(Struct, frozen=True):
    """Send a hash under this key of any value that isn't NULL: equal values stay equal, so joins and counts hold."""

    key: bytes

    def __repr__(self) -> str:
        return "Hash()"


ColumnAction = Keep | Null | Replace | Hash
KEEP, NULL = Keep(), Null()


@dataclass(frozen=True)
class MaskPlan:
    """How the rows of one statement are masked: clear only what is proven clean.

    sensitive   (table OID, attnum) -> class of every column in the database that holds personal data
    known       OIDs of the relations that the catalog knew at this epoch; any other OID is unproven
    newest      OID -> highest column number then; a column that came later is unproven
    clean       positions in the output, from 0, that the guard has proven clean by their construction
    width       how many output columns that proof counted; another width voids it. -1: no proof
    redactions  class -> what a text value becomes; 'unproven' for what has no proof
    hash_key    text of a known class becomes a hash under this key instead; b"" where it doesn't
    scrub       also take values out of errors and notices
    """

    sensitive: Mapping[tuple[int, int], str]
    known: frozenset[int]
    clean: frozenset[int] = frozenset()
    width: int = -1
    redactions: Mapping[str, bytes] = field(default_factory=dict)
    scrub: bool = True
    newest: Mapping[int, int] = field(default_factory=dict)
    hash_key: bytes = field(default=b"", repr=False)

    def actions(self, fields: tuple[Field, ...]) -> tuple[ColumnAction, ...]:
        clean = self.clean if self.width == len(fields) else frozenset()
        return tuple(KEEP if i in clean else self.action(column) for i, column in enumerate(fields))

    def action(self, column: Field) -> ColumnAction:
        """A direct column of a known relation is what its class says; anything else is unproven, so masked."""
        known = column.table_oid in self.known and column.attnum != 0
        if known and column.attnum <= self.newest.get(column.table_oid, COLUMNS_MAX):
            data_class = self.sensitive.get((column.table_oid, column.attnum))
            if data_class is None:
                return KEEP
        else:
            data_class = "unproven"
        if column.type_oid in TEXT_TYPES:
            if self.hash_key and data_class not in NEVER_HASHED:
                return Hash(self.hash_key)
            return Replace(self.redactions.get(data_class, b"***"))
        return NULL


class Context(Struct, frozen=True):
    """What of the session decides what a statement says: the path that its names are looked up in, the PREPARE or
    DECLARE that EXECUTE or FETCH stands for, and the relations that its names stand for."""

    search_path: str
    stands_for: str
    relations: tuple[RelationUse, ...]


class Meter(Protocol):
    """Counts the rows that one person is given, while they flow, all sessions together."""

    def take(self, rows: int) -> int:
        """How many of so many rows may be given; these are counted."""
        ...


class RowLimit(Struct, frozen=True):
    """How many rows the person of a statement may be given in 60 minutes, by which rule, and what is said beyond it."""

    rows: int
    rule: str
    message: str
    hint: str
    meter: Meter


@dataclass(frozen=True)
class Verdict:
    """What a guard says of one statement.

    needs_rows      the guard can't judge before the planner says how many rows it expects: ask, and judge again
    own_code        it calls nothing but PostgreSQL's own functions and operators, as far as its text says
    explainable     planning it runs nothing but PostgreSQL's own code, so it may be explained before it is decided
    needs_catalog   the guard can't judge before the catalog is current: refresh it and ask again
    rule            id of the rule that decided ('' where none had to)
    reason          why, without anything that a person typed as a value: it is written down in the clear
    mark            the statement may write, so it must carry a mark: 'carried', or 'impossible' where it can't
    hold_seconds    how long a held statement may wait
    position        of the character that a syntax error is about, from 1, as the server would say it; 0 for none
    hold_in_transaction  whether it may wait inside an open transaction, which keeps locks
    terms           of a hold: what it takes to approve, and what an approval gives
    approval        what lets it run: a grant's id; '' for none
    alone           it is asked for by itself, whatever else of the same message is held
    statements      of a script that is asked for as a whole: how many they are
    contexts        of such a script: what each of them says in its place
    touches         full names of all relations that it can touch, also below views; empty where one isn't known
    spends          that grant is for one run, and this is it
    by_policy       a policy has decided, not a safeguard: what access for a time may lift
    estimated_rows  what the planner expects, -1 where it wasn't asked
    matched         policies that matched, those being tried and those that only alert included
    limit           its rows count against this while they flow, and none beyond it is given
    pending         what the guard needs to decide it anew for the next equal statement; nobody else's
    inert           proven to change neither the catalog nor how the session's next text is read; false where not known
    """

    action: Action
    facts: Facts
    normalized: str
    fingerprint: str
    policy_version: str
    catalog_epoch: int = 0
    needs_catalog: bool = False
    needs_rows: bool = False
    own_code: bool = False
    explainable: bool = False
    rule: str = ""
    reason: str = ""
    hint: str = ""
    sqlstate: str = "42501"
    message: str = ""  # what the person sees instead of `reason`: it may quote what they typed
    position: int = 0
    mark: Literal["carried", "none", "impossible"] = "none"
    mask: MaskPlan | None = None
    approvers: tuple[str, ...] = ()
    hold_seconds: int = 300
    hold_in_transaction: bool = False
    terms: Terms = NO_TERMS
    approval: str = ""
    spends: bool = False
    by_policy: bool = False
    alone: bool = False
    statements: int = 1
    contexts: tuple[Context, ...] = ()
    touches: frozenset[str] = frozenset()
    estimated_rows: int = UNKNOWN_ROWS
    lineage: tuple[str, ...] = ()
    relations: tuple[RelationUse, ...] = ()  # facts.relations resolved through the catalog, with their classes
    matched: tuple[PolicyMatch, ...] = ()
    limit: RowLimit | None = field(default=None, repr=False, compare=False)
    pending: Any = field(default=None, repr=False, compare=False)
    inert: bool = False
    kept: Kept = field(default_factory=Kept, init=False, repr=False, compare=False)
    familiar: Kept = field(default_factory=Kept, init=False, repr=False, compare=False)
    limited: Kept = field(default_factory=Kept, init=False, repr=False, compare=False)


def context_of(request: Request, verdict: Verdict) -> Context:
    session, facts = request.session, verdict.facts
    stands_for = session.prepared.get(facts.executes, "") if facts.executes else ""
    if facts.fetches:
        stands_for = session.cursors.get(facts.fetches, "")
    return Context(session.search_path, stands_for, verdict.relations)


def asks_otherwise(now: Verdict, held: Verdict) -> bool:
    """Whether what was approved as `held` asks others by now, or for more."""
    if now.action != "hold":
        return False
    asked = [(verdict.terms.demands(verdict.approvers), verdict.terms.ticket) for verdict in (now, held)]
    return asked[0] != asked[1]


class Part(Struct, frozen=True):
    """One statement inside a Query message: UTF-8 byte offset and length."""

    start: int
    length: int


class Guard(Protocol):
    def split(self, text: str) -> tuple[Part, ...]:
        """The statements of a Query message, by the server's own grammar. Raises RefusedError where it can't parse."""
        ...

    def judge(self, request: Request) -> Verdict:
        """Pure and synchronous; cached under a key that is safe (never libpg_query's fingerprint)."""
        ...

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        """A held or denied statement's verdict where something given for a time lets it run; else the same verdict."""
        ...


@dataclass(init=False)
class Ticket:
    """A statement that was written down: its place in the tap's sequence, and its mark ('' where it carries none).

    `approval` is the one that its end ends, '' for none.
    """

    epoch: Final[int]
    sequence: Final[int]
    mark: Final[str]
    started_us: Final[int]
    approval: Final[str]

    def __init__(self, epoch: int, sequence: int, mark: str, started_us: int, approval: str = "") -> None:
        self.epoch, self.sequence, self.mark, self.started_us = epoch, sequence, mark, started_us
        self.approval = approval


# What a hold came to is `error` where the approval was given and couldn't be used.
Status = Literal["ok", "error", "denied", "expired", "cancelled", "unknown"]
Ending = Literal["committed", "open", "rolled_back", "none", "unknown"]


@dataclass(init=False)
class Result:
    """How a statement ended, as the proxy saw it.

    first_row_us  a time since the epoch, 0 where no row came
    undoes_from   a ROLLBACK TO has undone the transaction's statements from this sequence on, 0 for none
    metered       of the rows, those that its verdict's limit has counted while they flowed
    """

    status: Final[Status]
    rows: Final[int]
    bytes: Final[int]
    masked_columns: Final[int]
    sqlstate: Final[str]
    transaction_status: Final[Ending]
    bytes_in: Final[int]
    first_row_us: Final[int]
    undoes_from: Final[int]
    metered: Final[int]

    def __init__(
        self,
        status: Status,
        rows: int = 0,
        bytes: int = 0,
        masked_columns: int = 0,
        sqlstate: str = "",
        transaction_status: Ending = "none",
        bytes_in: int = 0,
        first_row_us: int = 0,
        undoes_from: int = 0,
        metered: int = 0,
    ) -> None:
        self.status, self.rows, self.bytes, self.masked_columns = status, rows, bytes, masked_columns
        self.sqlstate, self.transaction_status = sqlstate, transaction_status
        self.bytes_in, self.first_row_us, self.undoes_from = bytes_in, first_row_us, undoes_from
        self.metered = metered


class Recorder(Protocol):
    """Writes down what happens before it happens. Raises SpoolError where it can't: the statement doesn't run then.

    `spend` uses up an approval that is for one run; it raises RefusedError where it was used before.
    """

    def statement(
        self, request: Request, verdict: Verdict, *, approval: str = "", held_sequence: int = 0
    ) -> Ticket: ...
    def outcome(self, ticket: Ticket, request: Request, verdict: Verdict, result: Result) -> None: ...
    def spend(self, approval: str) -> None: ...
    def session(
        self, context: SessionContext, event: Literal["opened", "closed", "refused"], reason: str = ""
    ) -> None: ...


class Release(Struct, frozen=True):
    """How a wait ended: the approval that lets the statement run, or why it doesn't."""

    approved: bool
    approval_id: str = ""
    reason: str = ""
    status: Literal["ok", "denied", "expired", "cancelled", "error"] = "ok"
    hint: str = ""


class Gate(Protocol):
    """Does the waiting that a verdict asks for; the proxy awaits it off the hot path."""

    async def catalog(self, request: Request) -> None:
        """Returns when the catalog of the request's database is current. Raises RefusedError where it can't be."""
        ...

    async def recorded(self, durability: Durability) -> None:
        """Returns when everything that was written down so far is that durable. Raises RefusedError where it isn't."""
        ...

    async def approval(
        self, request: Request, verdict: Verdict, ticket: Ticket, requests: tuple[Request, ...] = ()
    ) -> Release:
        """Waits for the decision on a held statement, at most `hold_seconds`; or, where the terms say that it is told
        at once, until it is known to be asked for. Of a script, `requests` are the statements."""
        ...
