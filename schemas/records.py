"""What taps, change feeds and streams say to each other: one frozen record each, one .avsc each.

The .avsc files beside this module are the contract; `schemas/avro.py` derives them from these types and a test holds
the two together.

A record of a tap is named by (tap, epoch, sequence): `epoch` grows with every start of the tap, `sequence` counts every
record of that epoch, statements, outcomes and sessions alike, without a gap. Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

PersonKind = Literal["person", "service", "agent"]
Action = Literal["allow", "mask", "hold", "deny"]
Severity = Literal["informational", "low", "medium", "high", "critical"]


class Person(Struct, frozen=True):
    """Who acts, as the identity provider said it at sign-in: a snapshot, so that a record stays true later.

    on_behalf_of  whose rights an agent uses
    via           the service account whose session it is, where the service stated by a signature who acts
    """

    subject: str
    name: str
    kind: PersonKind
    groups: tuple[str, ...] = ()
    issuer: str = ""
    on_behalf_of: str = ""
    via: str = ""


class RelationUse(Struct, frozen=True):
    """A relation that a statement names, and what it does with it. `classes` are the personal data that it holds."""

    schema: str
    name: str
    access: Literal["read", "write"]
    classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


class PolicyMatch(Struct, frozen=True):
    """A policy that matched a statement. `trial`: it is being tried, so it did nothing but say so."""

    policy: str
    verdict: Literal["deny", "allow", "hold", "mask", "alert"]
    level: Severity
    title: str
    trial: bool = False


class Envelope(Struct, frozen=True):
    """An encrypted value: AES-256-GCM under a data key that is named, never carried.

    `scope` says whose key it is: `record` today; `subject:<id>` when keys belong to data subjects, so that destroying
    a key erases what it encrypted. The associated data binds the value to its record (`purpose`).
    """

    algorithm: str
    key_id: str
    scope: str
    purpose: str
    nonce: bytes
    ciphertext: bytes


class Demand(Struct, frozen=True):
    """Whose yes one policy wants: `quorum` persons of the groups in `approvers`, one of each with `every_group`, or one
    of `emergency` alone."""

    approvers: tuple[str, ...]
    quorum: int = 1
    every_group: bool = False
    emergency: tuple[str, ...] = ()


class Terms(Struct, frozen=True):
    """What it takes to approve, and what an approval gives.

    mode              'wait': the session waits; 'retry': it is told at once, and may run it again once approved
    quorum            persons who must approve
    every_group       one of each group must, no person standing for two
    emergency         groups of which one person alone suffices
    ticket            whoever approves must name a ticket
    grant_seconds     how long an approval lasts that isn't used at once
    remember_seconds  how long equal statements of the role may pass, where whoever approves wants it; 0: never
    also              what other policies that hold the same statement want as well
    """

    mode: Literal["wait", "retry"] = "wait"
    quorum: int = 1
    every_group: bool = False
    emergency: tuple[str, ...] = ()
    ticket: bool = False
    grant_seconds: int = 0
    remember_seconds: int = 0
    also: tuple[Demand, ...] = ()

    def demands(self, approvers: tuple[str, ...]) -> tuple[Demand, ...]:
        """All that must be met, `approvers` being who decides on these terms."""
        return (Demand(approvers, self.quorum, self.every_group, self.emergency), *self.also)


class Statement(Struct, frozen=True):
    """A statement that a tap has judged. It is in the spool before the server sees a byte of the statement.

    A held one says who may decide (`approvers`, groups), until when, on which terms, and what the decision binds to;
    `remember` names all that would be equal to it. When it runs, it is written down again with its `approval`, and
    `held_sequence` names the first record. `matched` are the policies that had something to say, whether they decided
    or not. `estimated_rows` is what the planner expects, -1 where it wasn't asked.
    """

    tap: str
    epoch: int
    sequence: int
    time_us: int
    session: str
    environment: str
    server: str
    database: str
    person: Person
    purpose: str
    action: Action
    rule: str
    tag: str
    writes: bool
    relations: tuple[RelationUse, ...]
    fingerprint: str
    normalized: str
    reason: str
    policy_version: str
    catalog_epoch: int
    role: str
    client: str
    client_address: str
    protocol: Literal["simple", "extended"]
    transaction: int
    mark: Literal["carried", "none", "impossible"]
    approval: str = ""
    binding: str = ""
    expires_us: int = 0
    approvers: tuple[str, ...] = ()
    held_sequence: int = 0
    terms: Terms | None = None
    remember: str = ""
    statements: int = 1
    estimated_rows: int = -1
    lineage: tuple[str, ...] = ()
    matched: tuple[PolicyMatch, ...] = ()
    values: Envelope | None = None


class Outcome(Struct, frozen=True):
    """How a statement ended. `unknown` is an honest answer: the tap or the server died before it was known.

    rows, bytes    of the result as the server sent it, or that COPY took
    bytes_in       of COPY data that the client sent
    duration_us    from the statement's record to this one
    first_row_us   from the statement's record to the first bytes of its result, 0 where it had no rows
    transaction_status  'open' where more statements of its transaction follow: the outcome of the last one tells
    undoes_from    of a ROLLBACK TO SAVEPOINT: statements of this transaction are undone from this sequence on, 0 else
    approval       the approval that ends with this: it was used, or nobody waits for it any more
    """

    tap: str
    epoch: int
    sequence: int
    time_us: int
    session: str
    environment: str
    server: str
    database: str
    person: Person
    purpose: str
    statement_epoch: int
    statement_sequence: int
    status: Literal["ok", "error", "denied", "expired", "cancelled", "unknown"]
    tag: str
    relations: tuple[RelationUse, ...]
    rows: int
    bytes: int
    masked_columns: int
    duration_us: int
    sqlstate: str
    transaction: int
    transaction_status: Literal["committed", "open", "rolled_back", "none", "unknown"]
    fingerprint: str
    bytes_in: int = 0
    first_row_us: int = 0
    undoes_from: int = 0
    approval: str = ""


class Session(Struct, frozen=True):
    """A connection that opened, closed, or was refused.

    device  that the person signed in from: as the provider names it, or the certificate's `sha256:<hex>`; '' else
    """

    tap: str
    epoch: int
    sequence: int
    time_us: int
    session: str
    environment: str
    server: str
    database: str
    person: Person
    event: Literal["opened", "closed", "refused"]
    method: Literal["oidc", "scram", "certificate", "none"]
    role: str
    client: str
    client_address: str
    reason: str = ""
    device: str = ""


class Enrichment(Struct, frozen=True):
    """What the stream adds to a tap's record; the audit schema is the record's fields followed by these."""

    directory_name: str
    directory_groups: tuple[str, ...]
    directory_active: bool
    sensitivity: tuple[str, ...]
    detections: tuple[str, ...]
    enriched_us: int


class Change(Struct, frozen=True):
    """A committed row change, TRUNCATE or DDL, joined to the statement and the person that made it.

    `key` shows numbers and UUIDs in the clear and anything else as a keyed hash; row values stay in envelopes.
    """

    change_id: str
    time_us: int
    environment: str
    server: str
    database: str
    attribution: Literal["statement", "known_writer", "probable", "unattributed"]
    operation: Literal["insert", "update", "delete", "truncate", "ddl"]
    schema: str
    table: str
    key: str
    reason: str
    transaction: str
    order: int
    lsn: int
    tap: str
    epoch: int
    sequence: int
    person: Person | None
    purpose: str
    approval: str
    fingerprint: str
    before: Envelope | None = None
    after: Envelope | None = None


class AcceptedMark(Struct, frozen=True):
    """A mark that was accepted; it counts once, and this record is the memory of that."""

    tap: str
    epoch: int
    sequence: int
    server: str
    database: str
    transaction: str


class Match(Struct, frozen=True):
    """A policy that denied, held or reported a statement: what correlations count. `value`s are its relations."""

    policy: str
    verdict: Literal["deny", "hold", "alert"]
    trial: bool
    time_us: int
    tap: str
    epoch: int
    sequence: int
    session: str
    environment: str
    server: str
    database: str
    person: Person
    purpose: str
    tag: str
    relations: tuple[str, ...]


class Detection(Struct, frozen=True):
    """A rule that fired. `detection_id` is the same whenever the same rule fires on the same record."""

    detection_id: str
    time_us: int
    rule: str
    severity: Severity
    title: str
    summary: str
    environment: str
    server: str
    database: str
    person: Person | None
    purpose: str
    tap: str
    epoch: int
    sequence: int
    record: str
    tag: str
    relations: tuple[str, ...]
    policy_version: str


class Access(Struct, frozen=True):
    """Access for a time: to a database role, or without being asked on these relations; on all where none is named."""

    seconds: int
    role: str = ""
    relations: tuple[str, ...] = ()


class Approval(Struct, frozen=True):
    """What asks for a decision. `binding` ties the decision to exactly this.

    A held statement; the held statements of one script, of which `tag` is the first one's, and `statements` says how
    many they are; or access for a time, whose `reason` is the requester's, and which no statement stands behind.
    """

    approval_id: str
    time_us: int
    expires_us: int
    tap: str
    epoch: int
    sequence: int
    session: str
    environment: str
    server: str
    database: str
    person: Person
    purpose: str
    role: str
    rule: str
    reason: str
    tag: str
    relations: tuple[str, ...]
    normalized: str
    fingerprint: str
    binding: str
    approvers: tuple[str, ...]
    kind: Literal["statement", "script", "access"] = "statement"
    terms: Terms = Terms()
    remember: str = ""
    statements: int = 1
    estimated_rows: int = -1
    ticket: str = ""
    access: Access | None = None
    values: Envelope | None = None


ApprovalStatus = Literal["requested", "approved", "refused", "expired", "cancelled", "run", "failed"]


class ApprovalState(Struct, frozen=True):
    """A step of an approval: what it came to, when, by whom and why. The same step has the same approval and status.

    person   who did it; null where time did
    """

    approval_id: str
    time_us: int
    status: ApprovalStatus
    environment: str
    database: str
    person: Person | None
    reason: str = ""
    ticket: str = ""


class Alert(Struct, frozen=True):
    """A message for people. It names rule, person and place, never a row's values; `link` is where to act on it.

    approval_id  what it asks to be approved, where it does
    """

    alert_id: str
    time_us: int
    detection_id: str
    rule: str
    severity: Severity
    title: str
    summary: str
    environment: str
    server: str
    database: str
    person: str
    statement: str
    link: str = ""
    approval_id: str = ""


class Range(Struct, frozen=True):
    """Sequence numbers first to last, both included."""

    first: int
    last: int


class Coverage(Struct, frozen=True):
    """Which sequence numbers of a tap's epoch one stream transaction has seen; totals, so applying it twice is safe."""

    tap: str
    epoch: int
    time_us: int
    ranges: tuple[Range, ...]


class DeadLetter(Struct, frozen=True):
    """A record that no step could take, with the error; its bytes are encrypted, for they may be anything."""

    topic: str
    partition: int
    offset: int
    time_us: int
    step: str
    error: str
    value: Envelope | None


def approval_id_of(tap: str, epoch: int, sequence: int) -> str:
    """The name of the approval that a held statement asks for; fit for a URL, and the same whoever computes it."""
    return f"{tap}-{epoch}-{sequence}"


def statement_id(tap: str, epoch: int, sequence: int) -> str:
    """The readable name of a tap's record, as people see it in alerts and answers."""
    return f"{tap}/{epoch}/{sequence}"
