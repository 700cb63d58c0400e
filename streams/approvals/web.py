"""The approvals service: GET shows and never changes anything, a signed-in POST decides.

Programs sign in with `Authorization: Bearer`, browsers through the identity provider (see `browser.py`). The
statement's full text is shown to those who may decide on it, and to nobody else; each look at it is logged.
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
from taprail.schemas.errors import RefusedError, TaprailError
from taprail.schemas.records import Approval, Person
from taprail.streams.approvals import pages
from taprail.streams.approvals.browser import BrowserSessions
from taprail.streams.approvals.decide import decide, sign_decision
from taprail.streams.approvals.pending import PendingApprovals, may_decide
from taprail.streams.recording import Values

FORM_BYTES_MAX = 16 << 10
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_log = logging.getLogger("taprail.approvals")


class Service(Struct, frozen=True):
    """What the handlers stand on. `publish` returns when the signed decision is in the topic."""

    pending: PendingApprovals
    verifier: TokenVerifier
    browser: BrowserSessions
    sealer: Sealer
    private_key: Ed25519PrivateKey
    key_id: str
    publish: Callable[[SignedRecord], Awaitable[None]]


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


async def _person(request: web.Request) -> Person:
    """Who asks. Raises RefusedError for nobody."""
    service = request.app[SERVICE]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return (await service.verifier.verify(token)).person
    return service.browser.session(request).person


async def _list(request: web.Request) -> web.Response:
    person = await _person(request)
    found = request.app[SERVICE].pending.for_approver(person, _now_us())
    if _wants_json(request):
        return _json({"approvals": [_public(approval) for approval in found]})
    return _html(pages.listing(found, person))


async def _show(request: web.Request) -> web.Response:
    person = await _person(request)
    service = request.app[SERVICE]
    service.pending.expire(_now_us())
    entry = service.pending.get(request.match_info["id"])
    may = may_decide(entry.approval, person)
    text = _text(service, entry.approval, person) if may else entry.approval.normalized
    if _wants_json(request):
        return _json({**_public(entry.approval), "state": entry.state, "text": text})
    csrf = "" if "Authorization" in request.headers else service.browser.session(request).csrf
    return _html(pages.detail(entry, text, person, csrf, may))


async def _decide(request: web.Request) -> web.Response:
    person = await _person(request)
    service = request.app[SERVICE]
    by_token = "Authorization" in request.headers
    fields = await _fields(request, by_token)
    if not by_token:
        service.browser.check_csrf(request, fields.get("csrf", ""))
    if fields.get("decision") not in ("approve", "deny"):
        raise RefusedError("a decision is `approve` or `deny`", hint="send one of them")
    answer = cast(Literal["approve", "deny"], fields["decision"])
    entry = service.pending.get(request.match_info["id"])
    service.pending.expire(_now_us())
    if entry.state != "requested":
        raise RefusedError(f"approval {entry.approval.approval_id} is {entry.state} already", hint="nothing to do")
    decision = decide(
        entry.approval, person, answer, fields.get("reason", ""), now_us=_now_us(), ticket=fields.get("ticket", "")
    )
    service.pending.take_decision(decision)  # before the await: a second click finds it decided
    await service.publish(sign_decision(decision, service.private_key, service.key_id))
    _log.info("%s: %s by %s", decision.approval_id, answer, person.subject)
    told = f"{decision.approval_id}: {'approved; it runs once' if answer == 'approve' else 'denied'}"
    return _json({"message": told}) if _wants_json(request) else _html(pages.message("Decided", told, person))


async def _fields(request: web.Request, as_json: bool) -> Mapping[str, str]:
    if not as_json:
        return {name: str(value) for name, value in (await request.post()).items()}
    try:
        fields: dict[str, Any] = json.decode(await request.read(), type=dict[str, Any])
    except ValueError as error:
        raise RefusedError(f"the body is not a JSON object: {error}") from error
    return {name: str(value) for name, value in fields.items()}


def _text(service: Service, approval: Approval, person: Person) -> str:
    """What was typed: whoever decides must see what he decides on."""
    _log.info("%s reads the text of %s", person.subject, approval.approval_id)
    if approval.values is None:
        return approval.normalized
    values = json.decode(service.sealer.open(approval.values), type=Values)
    shown = [None if p is None else p.decode(errors="backslashreplace") for p in values.parameters]
    return values.text + "".join(f"\n-- ${number} = {value!r}" for number, value in enumerate(shown, 1))


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
    except TaprailError as error:
        nobody = not request.headers.get("Authorization") and not request.app[SERVICE].browser.known(request)
        if nobody and request.method == "GET" and not _wants_json(request):
            raise web.HTTPFound("/sign-in") from None
        status = 401 if nobody else 403
        if _wants_json(request):
            response = _json({"error": error.message, "hint": error.hint}, status)
        else:
            response = _html(pages.message("Refused", str(error), None), status)
    response.headers.update(HEADERS)
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
