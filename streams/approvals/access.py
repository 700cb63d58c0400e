"""Access for a time: who may ask for what, and what it is asked for as."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence

from msgspec import Struct, json

from taprail.schemas.control import Grant
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Access, Approval, Person, Terms
from taprail.streams.approvals.decide import check_words
from taprail.streams.settings_access import AccessRule

REQUEST_SECONDS = 4 * 3600  # how long such a request stays open
RELATIONS_MAX = 50
RULE, EMERGENCY_RULE = "access", "break-glass"


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody asks for. Without a role: not to be asked for approvals, on these relations or on all."""

    environment: str
    reason: str
    seconds: int = 3600
    database: str = ""
    role: str = ""
    relations: tuple[str, ...] = ()
    ticket: str = ""
    emergency: bool = False


def rule_for(rules: Sequence[AccessRule], person: Person, wanted: Wanted) -> AccessRule:
    """The first rule that lets this person ask for this. Raises RefusedError that says which part doesn't fit."""
    check_words(wanted.reason, wanted.ticket)
    if person.kind != "person":
        raise RefusedError(f"a {person.kind} can't ask for access", hint="the person behind it can, for himself")
    left = [rule for rule in rules if rule.emergency == wanted.emergency]
    what = "take emergency access" if wanted.emergency else "ask for access"
    groups, database = set(person.groups), wanted.database
    narrowed = (
        (f"to {wanted.environment!r}", [r for r in left if wanted.environment in r.environments]),
        ("with these groups", [r for r in left if groups & set(r.groups)]),
        (f"to database {database!r}", [r for r in left if not r.databases or database in r.databases]),
        (f"to role {wanted.role!r}", [r for r in left if not wanted.role or wanted.role in r.roles]),
    )
    for why, fitting in narrowed:
        left = [rule for rule in left if rule in fitting]
        if not left:
            hint = "`[[access]]` in the settings says who may ask for what"
            raise RefusedError(f"{person.name} may not {what} {why}", hint=hint)
    if wanted.role and wanted.relations:
        raise RefusedError(
            "a role isn't given on some relations alone: whoever has it has all of it",
            hint="ask for the role, or for the relations",
        )
    rule = left[0]
    if not 1 <= wanted.seconds <= rule.seconds_max:
        hint = f"ask for at most {rule.seconds_max} s"
        raise RefusedError(f"{wanted.seconds} s is not a time that may be asked for", hint=hint)
    if rule.ticket and not wanted.ticket.strip():
        raise RefusedError("a ticket is needed", hint="name the ticket that it belongs to")
    if len(wanted.relations) > RELATIONS_MAX or any("." not in name for name in wanted.relations):
        raise RefusedError("relations are named as schema.name", hint=f"at most {RELATIONS_MAX} of them")
    return rule


def request_of(rule: AccessRule, person: Person, wanted: Wanted, now_us: int) -> Approval:
    """What the approvers are asked."""
    identifier = f"access-{now_us:x}-{secrets.token_hex(4)}"
    return Approval(
        approval_id=identifier,
        time_us=now_us,
        expires_us=now_us + REQUEST_SECONDS * 1_000_000,
        tap="",
        epoch=0,
        sequence=0,
        session="",
        environment=wanted.environment,
        server="",
        database=wanted.database,
        person=person,
        purpose="",
        role=wanted.role,
        rule=RULE,
        reason=wanted.reason.strip(),
        tag="ACCESS",
        relations=wanted.relations,
        normalized="",
        fingerprint="",
        binding=hashlib.sha256(json.encode((identifier, person, wanted))).hexdigest(),
        approvers=rule.approvers,
        kind="access",
        terms=Terms("retry", rule.quorum, rule.every_group, (), False, wanted.seconds),
        ticket=wanted.ticket.strip(),
        access=Access(wanted.seconds, wanted.role, wanted.relations),
    )


def emergency_of(rule: AccessRule, person: Person, wanted: Wanted, now_us: int) -> Grant:
    """What is given at once."""
    return Grant(
        grant_id=f"emergency-{now_us:x}-{secrets.token_hex(4)}",
        kind="break_glass",
        person=person,
        environment=wanted.environment,
        database=wanted.database,
        reason=wanted.reason.strip(),
        from_us=now_us,
        until_us=now_us + wanted.seconds * 1_000_000,
        approvers=rule.approvers,
        role=wanted.role,
        relations=wanted.relations,
        rule=EMERGENCY_RULE,
        ticket=wanted.ticket.strip(),
        review="open",
    )


def words(grant: Grant | Approval) -> str:
    """What it gives, in words."""
    access = grant.access if isinstance(grant, Approval) else None
    relations: Iterable[str] = access.relations if access is not None else grant.relations
    role = access.role if access is not None else grant.role
    where = f"{grant.database} in {grant.environment}" if grant.database else grant.environment
    on = f", on {', '.join(relations)} alone" if relations else ""
    return f"role {role} for {where}{on}" if role else f"no approvals asked for {where}{on}"
