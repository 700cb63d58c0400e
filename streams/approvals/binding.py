"""What an approval binds to: one statement as it would run, the same one run again, or all that are equal to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from msgspec import json

from taprail.schemas.guard import Request, Verdict, context_of
from taprail.streams.policy.sizes import LONG_CHARACTERS
from taprail.streams.policy.sql import literals_are_values


def binding(request: Request, verdict: Verdict, catalog_epoch: int) -> str:
    """SHA-256 in hex over the length-prefixed parts: no two statements share one, however their parts are cut."""
    said = (request.text, request.session.role, str(catalog_epoch))
    return _digest(b"taprail/binding/v2", (*_encoded(said), *_contexts(request, verdict), *request.parameters))


def of_run(request: Request, verdict: Verdict) -> str:
    """Exactly this statement, while it waits: with the catalog that its names were resolved in."""
    return binding(request, verdict, verdict.catalog_epoch)


def of_retry(request: Request, verdict: Verdict) -> str:
    """Exactly this statement, run again at any process of the tap: with the relations that its names stand for, and as
    long as the same is asked for it.

    Epochs of catalogs are a process's own, and every DDL makes a new one.
    """
    parts = (*_encoded((request.text, *_place(request))), *_contexts(request, verdict), *_asked(verdict))
    return _digest(b"taprail/retry/v2", (*parts, *request.parameters))


def of_equals(request: Request, verdict: Verdict) -> str:
    """All statements that are equal but for their literals, by this role at this place, as long as the same is asked
    for them; '' where none is.

    What isn't a query or DML is equal to its own text alone: its literals are names, passwords, code.
    """
    facts = verdict.facts
    if len(request.text) > LONG_CHARACTERS or facts.opaque or facts.executes or facts.fetches:
        return ""
    if not literals_are_values(request.text):
        return ""
    text = request.text if facts.utility or facts.settings else verdict.normalized
    parts = (*_encoded((text, *_place(request))), *_contexts(request, verdict), *_asked(verdict))
    return _digest(b"taprail/equals/v2", parts)


def _place(request: Request) -> tuple[str, ...]:
    session = request.session
    return session.environment, session.server, session.database, session.role


def _contexts(request: Request, verdict: Verdict) -> Iterable[bytes]:
    """What names stand for, for each statement of a script in its place."""
    for context in verdict.contexts or (context_of(request, verdict),):
        uses = [f"{use.access} {use} {','.join(use.classes)}" for use in context.relations]
        yield from _encoded((context.search_path, context.stands_for, str(len(uses)), *uses))


def _asked(verdict: Verdict) -> Iterable[bytes]:
    """Which policies hold it, and whom they ask."""
    holders = sorted(match.policy for match in verdict.matched if match.verdict == "hold" and not match.trial)
    yield json.encode((verdict.rule, holders, verdict.terms.demands(verdict.approvers), verdict.terms.ticket))


def _encoded(parts: Iterable[str]) -> Iterable[bytes]:
    return (part.encode() for part in parts)


def _digest(domain: bytes, parts: Iterable[bytes | None]) -> str:
    counted = tuple(parts)
    digest = hashlib.sha256(domain)
    digest.update(len(counted).to_bytes(8, "big"))
    for part in counted:
        # NULL isn't the empty string: a length that no value can have stands for it.
        digest.update((-1 if part is None else len(part)).to_bytes(8, "big", signed=True) + (part or b""))
    return digest.hexdigest()
