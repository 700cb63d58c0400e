"""The approvals service: GET shows and never changes anything, a signed-in POST decides.

Programs sign in with `Authorization: Bearer`, browsers through the identity provider (see `browser.py`). An approval is
shown to those who may decide on it and to who asked for it; the statement's full text to the former only, and each look
at it is logged.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from aiohttp import web
from msgspec import json, to_builtins

from taprail.schemas.errors import RefusedError, SignatureError
from taprail.schemas.records import Approval, ApprovalState, Person, statement_id
from taprail.streams.approvals import pages, web_access, web_slack
from taprail.streams.approvals.pending import Entry, may_decide
from taprail.streams.approvals.serving import (
    SERVICE,
    Service,
    answer_errors,
    as_json,
    as_page,
    caller_of,
    log,
    now_us,
    sent_by,
    take_vote,
    told,
    wants_json,
)
from taprail.streams.approvals.shown import allows, expects, history, progress, remembers
from taprail.streams.approvals.votes import asked_by, bars, question_of
from taprail.streams.approvals.web_slack import SlackDesk
from taprail.streams.values import Cut, Values

FORM_BYTES_MAX = 16 << 10


def application(service: Service, slack: SlackDesk | None = None) -> web.Application:
    """`slack` is where people decide in Slack, too."""
    app = web.Application(middlewares=[answer_errors], client_max_size=FORM_BYTES_MAX)
    app[SERVICE] = service
    app.router.add_get("/", _home)
    app.router.add_get("/health", _health)
    app.router.add_get("/style.css", _style)
    app.router.add_get("/sign-in", service.browser.sign_in)
    app.router.add_get("/signed-in", service.browser.signed_in)
    app.router.add_get("/approvals", _list)
    app.router.add_get("/approvals/{id}", _show)
    app.router.add_post("/approvals/{id}/decision", _decide)
    app.router.add_post("/approvals/{id}/withdrawal", _withdraw)
    web_access.add_routes(app)
    if slack is not None:
        web_slack.add_routes(app, slack)
    return app


def _entry(request: web.Request, person: Person) -> Entry:
    """The approval that is asked for. Raises RefusedError for whom it doesn't concern."""
    entry = request.app[SERVICE].pending.get(request.match_info["id"])
    barred = bars(question_of(entry.approval), person)
    if barred is not None and not asked_by(entry.approval.person, person):
        raise barred
    return entry


async def _list(request: web.Request) -> web.Response:
    person = (await caller_of(request)).person
    pending = request.app[SERVICE].pending
    if request.query.get("of") == "me":
        mine = pending.of(person, now_us())
        return as_json({"approvals": [{**public(e.approval), "state": e.state} for e in mine]})
    found = pending.for_approver(person, now_us())
    if wants_json(request):
        return as_json({"approvals": [public(approval) for approval in found]})
    return as_page(pages.listing(found, person))


async def _show(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    service, person = request.app[SERVICE], caller.person
    service.pending.expire(now_us())
    entry = _entry(request, person)
    approval = entry.approval
    decides = bars(question_of(approval), person) is None
    text = _text(service, approval, person) if decides else approval.normalized
    found = history(service.pending.newest(), approval)
    if wants_json(request):
        return as_json(
            {
                **public(approval),
                "state": entry.state,
                "text": text,
                "votes": [_public_vote(vote) for vote in to_builtins(entry.votes)],
                "decides": progress(entry),
                "allows": allows(approval),
                "remembers": remembers(approval),
                "planner": expects(approval),
                "history": found,
            }
        )
    return as_page(pages.detail(entry, text, person, caller.csrf, may_decide(entry, person), found))


async def _decide(request: web.Request) -> web.Response:
    caller = await caller_of(request)
    fields = await sent_by(request, caller)
    if fields.get("decision") not in ("approve", "deny"):
        raise RefusedError("a decision is `approve` or `deny`", hint="send one of them")
    answer = cast(Literal["approve", "deny"], fields["decision"])
    identifier = _entry(request, caller.person).approval.approval_id
    came_of_it = await take_vote(request.app[SERVICE], identifier, caller.person, answer, fields)
    return told(request, "Decided", came_of_it, caller.person)


async def _withdraw(request: web.Request) -> web.Response:
    """Whoever asked doesn't ask any more. Who waits at a tap cancels his statement there."""
    caller = await caller_of(request)
    fields = await sent_by(request, caller)
    service, entry = request.app[SERVICE], _entry(request, caller.person)
    approval = entry.approval
    if not asked_by(approval.person, caller.person):
        raise RefusedError("only who asked may withdraw it", hint="deny it, if it is up to you")
    if entry.course.waits:
        raise RefusedError("a statement waits for it", hint="cancel the statement")
    with service.pending.deciding(approval.approval_id, now_us()):
        reason = fields.get("reason", "")[:500] or "withdrawn"
        state = ApprovalState(
            approval_id=approval.approval_id,
            time_us=now_us(),
            status="cancelled",
            environment=approval.environment,
            database=approval.database,
            person=caller.person,
            reason=reason,
        )
        await service.publish_state(state)
        service.pending.take_state(state)
    return told(request, "Withdrawn", f"{approval.approval_id}: withdrawn", caller.person)


def _text(service: Service, approval: Approval, person: Person) -> str:
    """What was typed: whoever decides must see what he decides on."""
    log.info("%s reads the text of %s", person.subject, approval.approval_id)
    if approval.values is None:
        return approval.normalized
    if approval.values.purpose != statement_id(approval.tap, approval.epoch, approval.sequence):
        raise SignatureError("the text in this approval is another statement's", hint="don't decide; find out why")
    values = json.decode(service.sealer.open(approval.values), type=Values)
    rest = f"\n-- the beginning of {_shown(values.whole)}" if values.whole is not None else ""
    return (
        values.text + rest + "".join(f"\n-- ${number} = {_shown(p)}" for number, p in enumerate(values.parameters, 1))
    )


def _shown(parameter: bytes | Cut | None) -> str:
    if isinstance(parameter, Cut):
        return f"({parameter.size} bytes, SHA-256 {parameter.sha256})"
    return repr(None if parameter is None else parameter.decode(errors="backslashreplace"))


def public(approval: Approval) -> dict[str, Any]:
    fields: dict[str, Any] = to_builtins(approval)
    del fields["values"]
    return fields


def _public_vote(vote: dict[str, Any]) -> dict[str, Any]:
    return {name: vote[name] for name in ("decision", "approver", "reason", "decided_us", "ticket", "remember")}


async def _home(_: web.Request) -> web.Response:
    raise web.HTTPFound("/approvals")


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _style(_: web.Request) -> web.Response:
    return web.Response(text=pages.STYLE, content_type="text/css")
