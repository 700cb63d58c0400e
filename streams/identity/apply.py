"""What a file of identities changes: who is added, who changed, and who is revoked because the file no longer has them.

Only identities that came from a file are revoked by being gone from it. Those of an identity provider (SCIM) are the
provider's: a file can't change them. Who was revoked by hand stays so, whatever the file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from taprail.schemas.control import Identity
from taprail.schemas.errors import RefusedError
from taprail.streams.identity import standing
from taprail.streams.identity.apply_file import Entry
from taprail.streams.identity.roster import Roster

Action = Literal["added", "changed", "revoked", "removed"]
GONE = "not in the file of identities any more"
INACTIVE = "not active in the file of identities"
_SHOWN = ("name", "kind", "email", "owner", "zone")


class Change(Struct, frozen=True):
    """One identity as it will be; `removed` is gone from the file, and revoked. `details` say what differs."""

    action: Action
    identity: Identity
    details: tuple[str, ...] = ()


def plan(entries: Sequence[Entry], roster: Roster) -> list[Change]:
    """By subject. Raises RefusedError where the file names somebody whom an identity provider keeps."""
    named = {entry.subject for entry in entries}
    changes = [_of_entry(entry, roster.get(entry.subject)) for entry in entries]
    for before in roster.all():
        gone = before.source == "file" and before.subject not in named
        if gone and "directory" not in standing.bars(before):
            after = replace(standing.revoked(before, "directory", GONE), groups=())
            changes.append(Change("removed", after, (GONE,)))
    return sorted((each for each in changes if each is not None), key=lambda each: each.identity.subject)


def identities(changes: Iterable[Change]) -> list[Identity]:
    return [change.identity for change in changes]


def _of_entry(entry: Entry, before: Identity | None) -> Change | None:
    if before is not None and before.scim is not None:
        raise RefusedError(
            f"line {entry.line}: {entry.subject!r} is kept by the identity provider over SCIM",
            hint="take the entry out of the file, or unassign it at the provider",
        )
    base = before or Identity(entry.subject, entry.name, entry.kind, ())
    after = replace(
        base,
        name=entry.name,
        kind=entry.kind,
        groups=entry.groups,
        email=entry.email,
        owner=entry.owner,
        zone=entry.zone,
        source="file",
    )
    if entry.active:
        after = standing.restored(after, "directory", "") if "directory" in standing.bars(after) else after
    elif "directory" not in standing.bars(after):
        after = standing.revoked(after, "directory", INACTIVE)
    if after == before:
        return None
    if before is None:
        return Change("added", after, _rights(after))
    revoked = before.active and not after.active
    return Change("revoked" if revoked else "changed", after, tuple(_differences(before, after)))


def _rights(identity: Identity) -> tuple[str, ...]:
    shown = [identity.kind, *(f"+{group}" for group in identity.groups)]
    return (*shown, INACTIVE) if not identity.active else tuple(shown)


def _differences(before: Identity, after: Identity) -> Iterable[str]:
    yield from (f"-{group}" for group in before.groups if group not in after.groups)
    yield from (f"+{group}" for group in after.groups if group not in before.groups)
    for field in _SHOWN:
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            yield f"{field} {old or '(none)'} → {new or '(none)'}"
    if before.active != after.active:
        yield "restored" if after.active else INACTIVE
    elif not after.active:
        yield "stays revoked by hand" if "hand" in standing.bars(after) else "stays revoked"
    if before.source != after.source:
        yield "kept by the file from now on"
