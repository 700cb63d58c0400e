"""What an approval binds to: one statement as it would run, the same one run again, or all that are equal to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from taprail.schemas.guard import Request, Verdict
from taprail.streams.policy.sizes import LONG_CHARACTERS
from taprail.streams.policy.sql import literals_are_values


def binding(text: str, parameters: Sequence[bytes | None], role: str, search_path: str, catalog_epoch: int) -> str:
    """SHA-256 in hex over the length-prefixed parts: no two statements share one, however their parts are cut."""
    said = (text, role, search_path, str(catalog_epoch))
    return _digest(b"taprail/binding/v1", (*(part.encode() for part in said), *parameters))


def of_run(request: Request, verdict: Verdict) -> str:
    """Exactly this statement, while it waits: with the catalog that its names were resolved in."""
    session = request.session
    return binding(request.text, request.parameters, session.role, session.search_path, verdict.catalog_epoch)


def of_retry(request: Request, verdict: Verdict) -> str:
    """Exactly this statement, run again at any process of the tap: with the relations that its names stand for.

    Epochs of catalogs are a process's own, and every DDL makes a new one.
    """
    session = request.session
    relations = (f"{use.access} {use} {','.join(use.classes)}" for use in verdict.relations)
    said = (request.text, session.environment, session.server, session.database, session.role, session.search_path)
    parts = (*(part.encode() for part in said), str(len(verdict.relations)).encode())
    return _digest(b"taprail/retry/v1", (*parts, *(use.encode() for use in relations), *request.parameters))


def of_equals(request: Request, verdict: Verdict) -> str:
    """All statements that are equal but for their literals, by this role at this place; '' where none is.

    What isn't a query or DML is equal to its own text alone: its literals are names, passwords, code.
    """
    session, facts = request.session, verdict.facts
    if len(request.text) > LONG_CHARACTERS or facts.opaque or facts.executes or facts.fetches:
        return ""
    if not literals_are_values(request.text):
        return ""
    text = request.text if facts.utility or facts.settings else verdict.normalized
    said = (text, session.environment, session.server, session.database, session.role, session.search_path)
    relations = (f"{use.access} {use} {','.join(use.classes)}" for use in verdict.relations)
    return _digest(b"taprail/equals/v1", (verdict.rule.encode(), *(p.encode() for p in (*said, *relations))))


def _digest(domain: bytes, parts: Iterable[bytes | None]) -> str:
    counted = tuple(parts)
    digest = hashlib.sha256(domain)
    digest.update(len(counted).to_bytes(8, "big"))
    for part in counted:
        # NULL isn't the empty string: a length that no value can have stands for it.
        digest.update((-1 if part is None else len(part)).to_bytes(8, "big", signed=True) + (part or b""))
    return digest.hexdigest()
