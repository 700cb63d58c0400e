"""What every page of the approvals service stands on: who asks, what was sent, how it is answered, and a vote taken."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from aiohttp import web
from msgspec import Struct, json

from taprail.connectors.oidc.tokens import TokenVerifier
from taprail.schemas.control import SignedRecord
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import RefusedError, TaprailError
from taprail.schemas.records import Approval, ApprovalState, Person
from taprail.streams.approvals import pages
from taprail.streams.approvals.browser import BrowserSession, BrowserSessions, NotSignedInError
from taprail.streams.approvals.decide import decide, sign_decision
from taprail.streams.approvals.granting import Granting
from taprail.streams.approvals.pending import PendingApprovals, may_decide
from taprail.streams.approvals.shown import allows
from taprail.streams.approvals.votes import bars, question_of
from taprail.streams.keys import ControlKey
from taprail.streams.settings_access import AccessRule

FORM_TYPE = "application/x-www-form-urlencoded"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer` browsers would send our own forms as from nowhere
    "Cache-Control": "no-store",
}
log = logging.getLogger("taprail.approvals")


class Service(Struct, frozen=True):
    """What the handlers stand on. Each `publish` returns when its record is in the topic; `standing` gives a person the
    groups that count, and raises RefusedError for one whose access is revoked; `owner_of` is the subject of who answers
    for a program, '' where nobody is known to."""

    pending: PendingApprovals
    granting: Granting
    verifier: TokenVerifier
    browser: BrowserSessions
    sealer: Sealer
    key: ControlKey
    publish: Callable[[SignedRecord], Awaitable[None]]
    publish_approval: Callable[[Approval], Awaitable[None]]
    publish_state: Callable[[ApprovalState], Awaitable[None]]
    access: tuple[AccessRule, ...] = ()
    standing: Callable[[Person], Person] = lambda person: person
    owner_of: Callable[[Person], str] = lambda person: ""


SERVICE = web.AppKey("service", Service)


class Caller(Struct, frozen=True):
    """Who asks; `session` is his browser's, None for a program with a token."""

    person: Person
    session: BrowserSession | None

    @property
    def csrf(self) -> str:
        return self.session.csrf if self.session is not None else ""


async def caller_of(request: web.Request) -> Caller:
    """Raises RefusedError for nobody, for a token that doesn't hold, and for whose access is revoked."""
    service = request.app[SERVICE]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return Caller(service.standing((await service.verifier.verify(token)).person), None)
    session = service.browser.session(request)
    return Caller(service.standing(session.person), session)


async def sent_by(request: web.Request, caller: Caller) -> Mapping[str, str]:
    """The fields of a form that we made for this browser, or of a program's JSON. Raises RefusedError."""
    if caller.session is None:
        return await _json_fields(request)
    fields = await _form_fields(request)
    request.app[SERVICE].browser.check_form(request, fields.get("csrf", ""))
    return fields


async def _form_fields(request: web.Request) -> Mapping[str, str]:
    if request.content_type != FORM_TYPE:
        raise RefusedError(f"a form is {FORM_TYPE}", hint="open the page, and send it there")
    try:
        return {name: str(value) for name, value in (await request.post()).items()}
    except (ValueError, LookupError) as error:
        raise RefusedError("the form can't be read", hint="open the page again") from error


async def _json_fields(request: web.Request) -> Mapping[str, str]:
    try:
        return json.decode(await request.read(), type=dict[str, str])
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the body is not a JSON object of texts: {error}", hint="send names and texts") from error


async def take_vote(
    service: Service,
    approval_id: str,
    person: Person,
    answer: Literal["approve", "deny"],
    fields: Mapping[str, str],
) -> str:
    """A person's vote, wherever it comes from: checked, published, counted. What came of it, in a sentence."""
    entry, at_us = service.pending.get(approval_id), now_us()
    with service.pending.deciding(approval_id, at_us):
        if not may_decide(entry, person) and bars(question_of(entry.approval), person) is None:
            raise RefusedError("you have approved this already", hint="somebody else must, too")
        if answer == "approve" and service.owner_of(entry.approval.person) == person.subject:
            raise RefusedError("nobody approves what a program asks that he answers for", hint="ask another approver")
        reason, ticket = fields.get("reason", ""), fields.get("ticket", "")
        remember = fields.get("remember", "") in ("yes", "true")
        vote = decide(entry.approval, person, answer, reason, now_us=at_us, ticket=ticket, remember=remember)
        await service.publish(sign_decision(vote, service.key.private, service.key.name))
        service.pending.take_decision(vote, confirmed=False)
    log.info("%s: %s by %s", approval_id, answer, person.subject)
    if entry.state == "approved":
        return f"{approval_id}: approved; {allows(entry.approval)}"
    return f"{approval_id}: {'denied' if answer == 'deny' else 'your approval counts; more are needed'}"


@web.middleware
async def answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except NotSignedInError as error:
        to_browser = request.method == "GET" and not wants_json(request)
        response = web.HTTPFound("/sign-in") if to_browser else _refusal(request, error, 401)
    except TaprailError as error:
        response = _refusal(request, error, 403)
    except web.HTTPException as error:
        response = error
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        response = _refusal(request, TaprailError("this failed", hint="the service's log says why"), 500)
    response.headers.update(HEADERS)
    if isinstance(response, web.HTTPException):
        raise response
    return response


def _refusal(request: web.Request, error: TaprailError, status: int) -> web.Response:
    if wants_json(request):
        response = as_json({"error": error.message, "hint": error.hint}, status)
    else:
        response = as_page(pages.message("Refused", str(error), None), status)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def told(request: web.Request, title: str, text: str, person: Person) -> web.Response:
    """A sentence, as the caller wants it."""
    return as_json({"message": text}) if wants_json(request) else as_page(pages.message(title, text, person))


def wants_json(request: web.Request) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def as_json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=json.encode(body), content_type="application/json", status=status)


def as_page(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, content_type="text/html", status=status)


def now_us() -> int:
    return time.time_ns() // 1000
