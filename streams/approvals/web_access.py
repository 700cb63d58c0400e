"""Access for a time, over HTTP: ask for it, take it in an emergency, take it back, review what was taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from msgspec import to_builtins

from taprail.schemas.control import Grant
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person
from taprail.streams.approvals import pages_access
from taprail.streams.approvals.access import Wanted, emergency_of, request_of, rule_for, words
from taprail.streams.approvals.granting import state_of
from taprail.streams.approvals.serving import (
    SERVICE,
    Service,
    as_json,
    as_page,
    caller_of,
    log,
    now_us,
    sent_by,
    told,
    wants_json,
)
from taprail.streams.approvals.shown import minutes
from taprail.streams.approvals.votes import asked_by

OPEN_MAX = 20  # of a person, of each kind


def add_routes(app: web.Application) -> None:
    app.router.add_get("/access", _list)
    app.router.add_post("/access", _ask)
    app.router.add_post("/access/{id}/revocation", _revoke)
    app.router.add_post("/access/{id}/review", _review)


async def _list(request: web.Request) -> web.Response:
    """What the caller holds or answers for."""
    caller = await caller_of(request)
    service, at_us = request.app[SERVICE], now_us()
    found = list(service.granting.concerning(caller.person))
    if wants_json(request):
        return as_json({"grants": [_public(grant, at_us) for grant in found]})
    rules = [rule for rule in service.access if set(rule.groups) & set(caller.person.groups)]
    return as_page(pages_access.listing(found, rules, caller.person, caller.csrf, at_us))


async def _ask(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    service, at_us = request.app[SERVICE], now_us()
    wanted = _wanted(await sent_by(request, caller))
    rule = rule_for(service.access, caller.person, wanted)
    _not_too_many(service, caller.person, at_us)
    if wanted.emergency:
        grant = emergency_of(rule, caller.person, wanted, at_us)
        await service.granting.put(grant)
        log.warning("%s takes emergency access: %s, %s", caller.person.subject, words(grant), grant.grant_id)
        text = f"{grant.grant_id}: {words(grant)}, for {minutes(wanted.seconds)}; all of it is recorded and reviewed"
        return told(request, "Emergency access", text, caller.person)
    approval = request_of(rule, caller.person, wanted, at_us)
    await service.publish_approval(approval)
    service.pending.take_approval(approval)
    groups = " or ".join(rule.approvers)
    return told(request, "Asked", f"{approval.approval_id}: asked for; {groups} may approve it", caller.person)


def _not_too_many(service: Service, person: Person, at_us: int) -> None:
    """Nobody buries what others wait for. Raises RefusedError."""
    asked = [e for e in service.pending.of(person, at_us) if e.approval.kind == "access" and e.state == "requested"]
    held = [g for g in service.granting.concerning(person) if asked_by(g.person, person) and g.until_us > at_us]
    if len(asked) >= OPEN_MAX or len([g for g in held if not g.revoked]) >= OPEN_MAX:
        hint = "withdraw a request, or give access back, before you ask for more"
        raise RefusedError(f"{person.name} has {OPEN_MAX} requests or grants open already", hint=hint)


def _wanted(fields: Mapping[str, str]) -> Wanted:
    """Raises RefusedError."""
    seconds = fields.get("seconds", "3600")
    if not (seconds.isascii() and seconds.isdecimal()) or len(seconds) > 7:
        raise RefusedError(f"{seconds[:20]!r} is no number of seconds", hint="as 3600, for an hour")
    relations = tuple(dict.fromkeys(name.strip() for name in fields.get("relations", "").split(",") if name.strip()))
    return Wanted(
        environment=fields.get("environment", "").strip(),
        reason=fields.get("reason", ""),
        seconds=int(seconds),
        database=fields.get("database", "").strip(),
        role=fields.get("role", "").strip(),
        relations=relations,
        ticket=fields.get("ticket", ""),
        emergency=fields.get("emergency", "") in ("yes", "true"),
    )


async def _revoke(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    fields = await sent_by(request, caller)
    granting, identifier = request.app[SERVICE].granting, request.match_info["id"]
    grant = await granting.revoke(identifier, caller.person, fields.get("reason", ""))
    log.info("%s is taken back by %s", grant.grant_id, caller.person.subject)
    return told(request, "Taken back", f"{grant.grant_id}: taken back", caller.person)


async def _review(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    fields = await sent_by(request, caller)
    granting, identifier = request.app[SERVICE].granting, request.match_info["id"]
    grant = await granting.review(identifier, caller.person, fields.get("reason", ""))
    log.info("%s is reviewed by %s", grant.grant_id, caller.person.subject)
    return told(request, "Reviewed", f"{grant.grant_id}: the review is closed", caller.person)


def _public(grant: Grant, at_us: int) -> dict[str, Any]:
    fields: dict[str, Any] = to_builtins(grant)
    fields.pop("binding", None)
    return {**fields, "state": state_of(grant, at_us), "gives": words(grant)}
