"""Deciding in Slack: a button opens a dialog, the dialog is a vote of the person whom Slack and the directory name.

A request counts only with Slack's signature. Who pressed is the workspace's word for an e-mail address, and the
directory's for whose that is and in which groups; then the same rules hold as on the page. The statement's values
never go to Slack: what is shown is normalised, with a link to the page.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web
from msgspec import Struct, field

from taprail.connectors.slack import interactions
from taprail.connectors.slack.interactions import Decided, Press
from taprail.connectors.slack.people import Slack, SlackUser
from taprail.schemas.control import Identity
from taprail.schemas.errors import RefusedError, TaprailError
from taprail.schemas.records import Approval, Person
from taprail.streams.approvals.decide import check_approver
from taprail.streams.approvals.pending import Entry
from taprail.streams.approvals.serving import SERVICE, Service, as_json, log, now_us, take_vote
from taprail.streams.approvals.shown import allows, expects, history, lately, progress, remembers

PATH = "/slack/interactions"
# Words of statements that run what only a literal, or the session, says: wherever they stand, for a comment can stand
# before any. Of the clauses that share them only the plain forms are told apart.
_CODE = re.compile(
    r"\b(?:DO(?!\s+(?:NOTHING|UPDATE)\b)|CALL|EXECUTE|FUNCTION|PROCEDURE"
    r"|FETCH(?!\s+(?:FIRST|NEXT)\s+(?:\(?\$?\d+\)?\s+)?ROWS?\s+(?:ONLY|WITH)\b))\b",
    re.IGNORECASE,
)


class SlackDesk(Struct, frozen=True):
    """`team` is the workspace whose word counts; `identities` gives everybody whom the directory knows."""

    slack: Slack
    signing_secret: str
    team: str
    issuer: str
    url: str
    identities: Callable[[], list[Identity]]
    under_way: set[asyncio.Task[None]] = field(default_factory=set)


DESK = web.AppKey("slack_desk", SlackDesk)


def add_routes(app: web.Application, desk: SlackDesk) -> None:
    app[DESK] = desk
    app.router.add_post(PATH, _interact)


async def _interact(request: web.Request) -> web.Response:
    desk, service = request.app[DESK], request.app[SERVICE]
    body = await _body(request)
    said = interactions.read(interactions.verified(desk.signing_secret, request.headers, body))
    if isinstance(said, Press):
        await _pressed(desk, service, said)
    elif isinstance(said, Decided):
        return as_json(await _sent(desk, service, said))
    return web.Response()


async def _body(request: web.Request) -> bytes:
    """A press carries the whole message that it was in, which is more than any form of ours."""
    body = b""
    async for chunk in request.content.iter_chunked(64 << 10):
        body += chunk
        if len(body) > interactions.BODY_BYTES_MAX:
            raise RefusedError("this is larger than anything Slack sends")
    return body


async def _pressed(desk: SlackDesk, service: Service, press: Press) -> None:
    """Open the dialog, or tell whoever pressed why not."""
    try:
        person = await _person(desk, service, press.user, press.team)
        entry = service.pending.get(press.approval_id)
        service.pending.expire(now_us())
        check_approver(entry.approval, person)
        if entry.state != "requested":
            raise RefusedError(f"this is {entry.state} already", hint="nothing to do")
        if press.answer == "approve" and not _is_shown(entry.approval):
            text = "Slack can't show all of what this may run, and nobody approves what he hasn't seen"
            raise RefusedError(text, hint=f"approve it on {_page(desk, press.approval_id)}")
        await desk.slack.open(press.trigger_id, _dialog(desk, service, press, entry))
    except TaprailError as error:
        log.info("slack user %s may not decide on %s: %s", press.user, press.approval_id, error)
        await _whisper(desk, press, str(error))


def _dialog(desk: SlackDesk, service: Service, press: Press, entry: Entry) -> dict[str, object]:
    approval = entry.approval
    facts = {
        "Asked by": f"{approval.person.name} ({approval.person.kind})",
        "Where": f"{approval.database or 'all databases'} ({approval.environment}), as {approval.role or 'before'}",
        "Touches": ", ".join(approval.relations) or "nothing by name",
        "Planner expects": expects(approval),
        "Held by": f"{approval.rule}: {approval.reason}",
        "Decided by": progress(entry),
        "Approval allows": allows(approval),
        "Before": lately(history(service.pending.newest(), approval)),
        "With values": _page(desk, approval.approval_id),
    }
    needs = approval.terms.ticket and not approval.ticket
    return interactions.dialog(press, approval.normalized, facts, needs_ticket=needs, remembers=remembers(approval))


def _is_shown(approval: Approval) -> bool:
    """Whether the normalised text, as a dialog shows it, says what would run: code does by its literals alone."""
    return interactions.fits(approval.normalized) and not _CODE.search(approval.normalized)


def _page(desk: SlackDesk, approval_id: str) -> str:
    return f"{desk.url.rstrip('/')}/approvals/{quote(approval_id, safe='')}"


async def _sent(desk: SlackDesk, service: Service, said: Decided) -> dict[str, object]:
    """Vote, and answer the dialog; the message behind it tells the end to everybody."""
    fields = {"reason": said.reason, "ticket": said.ticket, "remember": "yes" if said.remember else ""}
    try:
        person = await _person(desk, service, said.user, said.team)
        came_of_it = await take_vote(service, said.approval_id, person, said.answer, fields)
    except TaprailError as error:
        return interactions.refused(str(error))
    if service.pending.get(said.approval_id).state != "requested":
        text = f"{came_of_it} ({person.name}: {said.reason})"
        task = asyncio.get_running_loop().create_task(_update(desk, said, text))
        desk.under_way.add(task)
        task.add_done_callback(desk.under_way.discard)
    return interactions.closed()


async def _person(desk: SlackDesk, service: Service, user_id: str, team: str) -> Person:
    """Whom the directory knows by the address that Slack has for this user. Raises RefusedError."""
    user = await desk.slack.user(user_id)
    if team != desk.team or user.team != desk.team:
        raise RefusedError("this isn't the workspace whose members decide", hint="alerts.slack.team names it")
    found = [each for each in desk.identities() if _is(each, user)]
    if len(found) != 1:
        text = f"{'nobody has' if not found else 'several have'} the address {user.email} in the directory"
        raise RefusedError(text, hint="SCIM, or `taprail identities apply`, says who has which")
    identity = found[0]
    return service.standing(Person(identity.subject, identity.name, "person", identity.groups, desk.issuer))


def _is(identity: Identity, user: SlackUser) -> bool:
    """One address alone: what somebody may add to his own profile proves nothing."""
    return identity.kind == "person" and bool(identity.email) and identity.email.casefold() == user.email.casefold()


async def _whisper(desk: SlackDesk, press: Press, text: str) -> None:
    try:
        await desk.slack.whisper(press.place.channel, press.user, text)
    except TaprailError as error:
        log.warning("slack user %s isn't told that %s: %s", press.user, text, error)


async def _update(desk: SlackDesk, said: Decided, text: str) -> None:
    try:
        await desk.slack.update(interactions.outcome(said.place, text))
    except TaprailError as error:
        log.warning("the message of %s in Slack stays as it was: %s", said.approval_id, error)
