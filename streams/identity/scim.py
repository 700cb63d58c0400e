"""The SCIM service without sockets: a request in, an answer out (RFC 7644).

One request is answered after the other. What a request changes is decided on what stands in the topic, and is answered
when Kafka has it: a second service on the same topic can't fork from it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from msgspec import DecodeError, Struct, field, json

from taprail.connectors.scim import schemas
from taprail.connectors.scim.errors import ScimError, invalid
from taprail.connectors.scim.filters import Filter, equals, fits, parse_filter
from taprail.connectors.scim.patch import clean, patch
from taprail.connectors.scim.schemas import COMMON, GROUPS, USERS, Attribute, Kind
from taprail.schemas.control import GROUP_KEY, Group, Identity, SignedRecord
from taprail.schemas.errors import StackError
from taprail.streams.identity import scim_groups, scim_users
from taprail.streams.identity.roster import Roster
from taprail.streams.identity.scim_users import SubjectFrom

PAGE = 100
RETRY_SECONDS = 5
Body = Identity | Group
Found = TypeVar("Found", Identity, Group)
_log = logging.getLogger("taprail.scim")


class Changes(Protocol):
    """What is there, and the one way to change it: see `Book`."""

    roster: Roster

    def change(self, decide: Callable[[Roster], Sequence[Body]]) -> list[SignedRecord]: ...


class Request(Struct, frozen=True):
    """`path` below the service's own address; names of `headers` in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Answer(Struct, frozen=True):
    """`body` None: there is none."""

    status: int
    body: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Scim:
    """Not for several threads. `url` is where providers reach it; `subject_from` see `scim_users`."""

    def __init__(self, changes: Changes, subject_from: SubjectFrom, url: str) -> None:
        self._changes, self._subject_from, self._url = changes, subject_from, url.rstrip("/")

    def answer(self, request: Request) -> Answer:
        """Every error is an answer, too."""
        try:
            return self._route(request)
        except ScimError as error:
            return Answer(error.status, error.body())
        except StackError as error:
            _log.error("%s %r: %s", request.method, request.path, error)
            failure = ScimError(503, "the change isn't known to be written: send it again")
            return Answer(503, failure.body(), {"Retry-After": str(RETRY_SECONDS)})

    @property
    def _roster(self) -> Roster:
        return self._changes.roster

    def _route(self, request: Request) -> Answer:
        first, _, rest = request.path.strip("/").partition("/")
        for kind in schemas.KINDS:
            if f"/{first}" == kind.endpoint:
                return self._one(request, kind, rest) if rest else self._all(request, kind)
        if first in ("Bulk", "Me", ".search"):
            raise ScimError(501, f"{first} isn't supported")
        if request.method != "GET":
            raise ScimError(405, f"{request.method} isn't for {request.path}")
        return self._discovery(first, rest)

    def _discovery(self, first: str, rest: str) -> Answer:
        """RFC 7644, section 4."""
        if first == "ServiceProviderConfig" and not rest:
            return Answer(200, schemas.service_provider_config(self._url))
        documents = {"ResourceTypes": schemas.resource_types, "Schemas": schemas.schemas}.get(first)
        if documents is None:
            raise ScimError(404, "there is nothing here")
        found = documents(self._url)
        if not rest:
            return Answer(200, _listed(found, len(found), 1))
        for document in found:
            if document["id"].lower() == rest.lower():
                return Answer(200, document)
        raise ScimError(404, f"there is no {rest!r}")

    def _all(self, request: Request, kind: Kind) -> Answer:
        if request.method == "GET":
            return self._list(request, kind)
        if request.method != "POST":
            raise ScimError(405, f"{request.method} isn't for {request.path}")
        body, made, now_us = _json(request.body), str(uuid.uuid4()), time.time_ns() // 1000

        def decide(roster: Roster) -> Sequence[Body]:
            if kind is USERS:
                return scim_users.create(roster, body, self._subject_from, made, now_us)
            return scim_groups.create(roster, body, made, now_us)

        self._change(request, decide)
        shown = self._shown(kind, made)
        return Answer(201, _selected(shown, request.query), _headers(shown))

    def _one(self, request: Request, kind: Kind, resource_id: str) -> Answer:
        if resource_id == ".search" and request.method == "POST":
            return self._list(Request("GET", request.path, _asked(_json(request.body))), kind)
        if request.method == "GET":
            shown = self._shown(kind, resource_id, members=_wants_members(request.query))
            if request.headers.get("if-none-match") == shown["meta"]["version"]:
                return Answer(304, None, _headers(shown))
            return Answer(200, _selected(shown, request.query), _headers(shown))
        if request.method not in ("PUT", "PATCH", "DELETE"):
            raise ScimError(405, f"{request.method} isn't for {request.path}")
        body = _json(request.body) if request.method != "DELETE" else None

        def decide(roster: Roster) -> Sequence[Body]:
            before = self._shown(kind, resource_id)  # decided again on what is there, so checked again, too
            expected = request.headers.get("if-match", "*")
            if expected not in ("*", before["meta"]["version"]):
                raise ScimError(412, "it has changed meanwhile")
            if request.method == "DELETE":
                return self._deleted(roster, kind, resource_id)
            wanted = clean(body if request.method == "PUT" else patch(before, body, kind), kind)
            return self._replaced(roster, kind, resource_id, wanted)

        self._change(request, decide)
        if request.method == "DELETE":
            return Answer(204)
        shown = self._shown(kind, resource_id)
        return Answer(200, _selected(shown, request.query), _headers(shown))

    def _deleted(self, roster: Roster, kind: Kind, resource_id: str) -> Sequence[Body]:
        if kind is USERS:
            return scim_users.delete(roster, _found(roster.user(resource_id), kind))
        return scim_groups.delete(roster, _found(roster.group(resource_id), kind))

    def _replaced(self, roster: Roster, kind: Kind, resource_id: str, wanted: dict[str, Any]) -> Sequence[Body]:
        if kind is USERS:
            return scim_users.change(roster, _found(roster.user(resource_id), kind), wanted, self._subject_from)
        return scim_groups.change(roster, _found(roster.group(resource_id), kind), wanted)

    def _change(self, request: Request, decide: Callable[[Roster], Sequence[Body]]) -> None:
        for record in self._changes.change(decide):
            _log.info("%s %r: %s %s", request.method, request.path, record.kind, record.key)

    def _shown(self, kind: Kind, resource_id: str, *, members: bool = True) -> dict[str, Any]:
        """The resource with its `meta`. Raises ScimError where there is none."""
        if kind is USERS:
            identity = _found(self._roster.user(resource_id), kind)
            created_us = identity.scim.created_us if identity.scim is not None else 0
            shown = scim_users.resource(identity, self._roster, self._url)
            changed_us = self._roster.signed_us(identity.subject)
        else:
            group = _found(self._roster.group(resource_id), kind)
            shown = scim_groups.resource(group, self._roster, self._url, members=members)
            created_us, changed_us = group.created_us, self._roster.signed_us(GROUP_KEY + group.group_id)
        return shown | {
            "meta": {
                "resourceType": kind.name,
                "created": _time(created_us),
                "lastModified": _time(changed_us),
                "location": f"{self._url}{kind.endpoint}/{resource_id}",
                "version": f'W/"{changed_us:x}"',
            }
        }

    def _list(self, request: Request, kind: Kind) -> Answer:
        """RFC 7644, section 3.4.2; numbers begin with 1."""
        start = max(1, _number(request.query, "startIndex", 1))
        count = min(max(0, _number(request.query, "count", PAGE)), schemas.RESULTS_MAX)
        text = request.query.get("filter", "")
        if text:
            filter_ = parse_filter(text)
            exact, chosen = _exact(kind), self._candidates(kind, filter_)
            asked = self._ids(kind) if chosen is None else chosen
            found = [each for each in asked if fits(filter_, self._shown(kind, each), exact)]
        else:
            found = self._ids(kind)
        page = found[start - 1 : start - 1 + count]
        members = _wants_members(request.query)
        shown = [_selected(self._shown(kind, each, members=members), request.query) for each in page]
        return Answer(200, _listed(shown, len(found), start))

    def _ids(self, kind: Kind) -> list[str]:
        if kind is USERS:
            return [each.scim.resource_id for each in self._roster.users() if each.scim is not None]
        return [each.group_id for each in self._roster.groups()]

    def _candidates(self, kind: Kind, filter_: Filter) -> list[str] | None:
        """Who can fit at all, by an index; None where none helps. Providers ask so before every change."""
        for name, text in equals(filter_):
            if name.sub or name.urn:
                continue
            if name.attribute == "id":
                there = self._roster.user(text) if kind is USERS else self._roster.group(text)
                return [text] if there is not None else []
            if kind is GROUPS and name.attribute == "displayname":
                group = self._roster.group_named(text)
                return [group.group_id] if group is not None else []
            if kind is USERS and name.attribute in ("username", "externalid"):
                by_name = name.attribute == "username"
                users = [self._roster.user_named(text)] if by_name else self._roster.users_known_as(text)
                return [each.scim.resource_id for each in users if each is not None and each.scim is not None]
        return None


def _found(found: Found | None, kind: Kind) -> Found:
    if found is None:
        raise ScimError(404, f"there is no such {kind.name}")
    return found


def _json(body: bytes) -> Any:
    try:
        return json.decode(body)
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise invalid(f"the body is no JSON: {error}", "invalidSyntax") from error


def _asked(body: Any) -> dict[str, str]:
    """A search request (RFC 7644, section 3.4.3) as the query that it stands for."""
    if not isinstance(body, dict):
        raise invalid("the body is no object", "invalidSyntax")
    return {
        str(name): ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in body.items()
        if value is not None
    }


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        raise invalid(f"{name} is no number") from None


def _time(microseconds: int) -> str:
    return (
        datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _headers(shown: Mapping[str, Any]) -> dict[str, str]:
    return {"ETag": shown["meta"]["version"], "Location": shown["meta"]["location"]}


def _listed(found: Sequence[Mapping[str, Any]], total: int, start: int) -> dict[str, Any]:
    return {
        "schemas": [schemas.LIST],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(found),
        "Resources": list(found),
    }


def _exact(kind: Kind) -> frozenset[str]:
    def names(attribute: Attribute, prefix: str = "") -> list[str]:
        name = f"{prefix}{attribute.name.lower()}"
        value = attribute.find("value")
        own = [name] if attribute.exact or (value is not None and value.exact) else []
        return own + [each for sub in attribute.sub for each in names(sub, f"{name}.")]

    return frozenset(name for attribute in (*COMMON, *kind.attributes) for name in names(attribute))


def _named(query: Mapping[str, str], parameter: str) -> set[str]:
    names = (name.strip().lower() for name in query.get(parameter, "").split(",") if name.strip())
    urns = tuple(f"{kind.urn.lower()}:" for kind in schemas.KINDS)
    return {name.removeprefix(next((urn for urn in urns if name.startswith(urn)), "")) for name in names}


def _wants_members(query: Mapping[str, str]) -> bool:
    """A group may have thousands, and Entra ID leaves them out wherever it can."""
    asked = _named(query, "attributes")
    if asked:
        return any(name.partition(".")[0] == "members" for name in asked)
    return "members" not in _named(query, "excludedAttributes")


def _selected(shown: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """RFC 7644, section 3.9: `schemas` and `id` are always there."""
    wanted, unwanted = _named(query, "attributes"), _named(query, "excludedAttributes")
    found: dict[str, Any] = {}
    for name, value in shown.items():
        lowered = name.lower()
        if lowered in ("schemas", "id"):
            found[name] = value
        elif wanted:
            subs = {each.partition(".")[2] for each in wanted if each.partition(".")[0] == lowered}
            if subs:
                found[name] = value if "" in subs else _parts(value, subs)
        elif lowered not in unwanted:
            subs = {each.partition(".")[2] for each in unwanted if each.startswith(f"{lowered}.")}
            found[name] = _parts(value, subs, keep=False) if subs else value
    return found


def _parts(value: Any, subs: set[str], *, keep: bool = True) -> Any:
    if isinstance(value, list):
        return [_parts(each, subs, keep=keep) for each in value]
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if (name.lower() in subs) == keep}
    return value
