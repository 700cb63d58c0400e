"""The approvals service: GET shows and never changes anything, a signed-in POST decides.

Programs sign in with `Authorization: Bearer`, browsers through the identity provider (see `browser.py`). An approval is
shown to those who may decide on it and to who asked for it; the statement's full text to the former only, and each look
at it is logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, cast

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct, json, to_builtins

from taprail.connectors.oidc.tokens import TokenVerifier
from taprail.schemas.control import SignedRecord
from taprail.schemas.envelope import Sealer
from taprail.schemas.errors import RefusedError, SignatureError, TaprailError
from taprail.schemas.records import Approval, Person, statement_id
from taprail.streams.approvals import pages
from taprail.streams.approvals.browser import BrowserSession, BrowserSessions, NotSignedInError
from taprail.streams.approvals.decide import asked_by, decide, sign_decision
from taprail.streams.approvals.pending import Entry, PendingApprovals, may_decide
from taprail.streams.values import Cut, Values

FORM_BYTES_MAX = 16 << 10
FORM_TYPE = "application/x-www-form-urlencoded"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer` browsers would send our own forms as from nowhere
    "Cache-Control": "no-store",
}
_log = logging.getLogger("taprail.approvals")


class Service(Struct, frozen=True):
    """What the handlers stand on. `publish` returns when the signed decision is in the topic; `standing` gives a person
    the groups that count, and raises RefusedError for one whose access is revoked."""

    pending: PendingApprovals
    verifier: TokenVerifier
    browser: BrowserSessions
    sealer: Sealer
    private_key: Ed25519PrivateKey
    key_id: str
    publish: Callable[[SignedRecord], Awaitable[None]]
    standing: Callable[[Person], Person] = lambda person: person


SERVICE = web.AppKey("service", Service)


def application(service: Service) -> web.Application:
    app = web.Application(middlewares=[_answer_errors], client_max_size=FORM_BYTES_MAX)
    app[SERVICE] = service
    app.router.add_get("/", _home)
    app.router.add_get("/health", _health)
    app.router.add_get("/style.css", _style)
    app.router.add_get("/sign-in", service.browser.sign_in)
    app.router.add_get("/signed-in", service.browser.signed_in)
    app.router.add_get("/approvals", _list)
    app.router.add_get("/approvals/{id}", _show)
    app.router.add_post("/approvals/{id}/decision", _decide)
    return app


class Caller(Struct, frozen=True):
    """Who asks; `session` is his browser's, None for a program with a token."""

    person: Person
    session: BrowserSession | None


async def _caller(request: web.Request) -> Caller:
    """Raises RefusedError for nobody, for a token that doesn't hold, and for whose access is revoked."""
    service = request.app[SERVICE]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return Caller(service.standing((await service.verifier.verify(token)).person), None)
    session = service.browser.session(request)
    return Caller(service.standing(session.person), session)


def _entry(request: web.Request, person: Person) -> Entry:
    """The approval that is asked for. Raises RefusedError for whom it doesn't concern."""
    entry = request.app[SERVICE].pending.get(request.match_info["id"])
    if not may_decide(entry.approval, person) and not asked_by(entry.approval.person, person):
        groups = ", ".join(entry.approval.approvers) or "nobody"
        raise RefusedError(f"{person.name} may not decide on this", hint=f"these groups may: {groups}")
    return entry


async def _list(request: web.Request) -> web.Response:
    person = (await _caller(request)).person
    found = request.app[SERVICE].pending.for_approver(person, _now_us())
    if _wants_json(request):
        return _json({"approvals": [_public(approval) for approval in found]})
    return _html(pages.listing(found, person))


async def _show(request: web.Request) -> web.Response:
    caller = await _caller(request)
    service, person = request.app[SERVICE], caller.person
    service.pending.expire(_now_us())
    entry = _entry(request, person)
    may = may_decide(entry.approval, person)
    text = _text(service, entry.approval, person) if may else entry.approval.normalized
    if _wants_json(request):
        return _json({**_public(entry.approval), "state": entry.state, "text": text})
    return _html(pages.detail(entry, text, person, caller.session.csrf if caller.session else "", may))


async def _decide(request: web.Request) -> web.Response:
    caller = await _caller(request)
    service, person = request.app[SERVICE], caller.person
    if caller.session is None:
        fields = await _json_fields(request)
    else:
        fields = await _form_fields(request)
        service.browser.check_form(request, fields.get("csrf", ""))
    if fields.get("decision") not in ("approve", "deny"):
        raise RefusedError("a decision is `approve` or `deny`", hint="send one of them")
    answer = cast(Literal["approve", "deny"], fields["decision"])
    approval, now_us = _entry(request, person).approval, _now_us()
    with service.pending.deciding(approval.approval_id, now_us):
        reason, ticket = fields.get("reason", ""), fields.get("ticket", "")
        decision = decide(approval, person, answer, reason, now_us=now_us, ticket=ticket)
        await service.publish(sign_decision(decision, service.private_key, service.key_id))
        service.pending.take_decision(decision, confirmed=False)
    _log.info("%s: %s by %s", decision.approval_id, answer, person.subject)
    told = f"{decision.approval_id}: {'approved; it runs once' if answer == 'approve' else 'denied'}"
    return _json({"message": told}) if _wants_json(request) else _html(pages.message("Decided", told, person))


async def _form_fields(request: web.Request) -> Mapping[str, str]:
    if request.content_type != FORM_TYPE:
        raise RefusedError(f"a form is {FORM_TYPE}", hint="open the page, and decide there")
    try:
        return {name: str(value) for name, value in (await request.post()).items()}
    except (ValueError, LookupError) as error:
        raise RefusedError("the form can't be read", hint="open the page again") from error


async def _json_fields(request: web.Request) -> Mapping[str, str]:
    try:
        return json.decode(await request.read(), type=dict[str, str])
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the body is not a JSON object of texts: {error}", hint="send decision, reason") from error


def _text(service: Service, approval: Approval, person: Person) -> str:
    """What was typed: whoever decides must see what he decides on."""
    _log.info("%s reads the text of %s", person.subject, approval.approval_id)
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


def _public(approval: Approval) -> dict[str, Any]:
    fields: dict[str, Any] = to_builtins(approval)
    del fields["values"]
    return fields


@web.middleware
async def _answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except NotSignedInError as error:
        to_browser = request.method == "GET" and not _wants_json(request)
        response = web.HTTPFound("/sign-in") if to_browser else _refusal(request, error, 401)
    except TaprailError as error:
        response = _refusal(request, error, 403)
    except web.HTTPException as error:
        response = error
    except Exception:
        _log.exception("%s %s failed", request.method, request.path)
        response = _refusal(request, TaprailError("this failed", hint="the service's log says why"), 500)
    response.headers.update(HEADERS)
    if isinstance(response, web.HTTPException):
        raise response
    return response


def _refusal(request: web.Request, error: TaprailError, status: int) -> web.Response:
    if _wants_json(request):
        response = _json({"error": error.message, "hint": error.hint}, status)
    else:
        response = _html(pages.message("Refused", str(error), None), status)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _wants_json(request: web.Request) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=json.encode(body), content_type="application/json", status=status)


def _html(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, content_type="text/html", status=status)


def _now_us() -> int:
    return time.time_ns() // 1000


async def _home(_: web.Request) -> web.Response:
    raise web.HTTPFound("/approvals")


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _style(_: web.Request) -> web.Response:
    return web.Response(text=pages.STYLE, content_type="text/css")
