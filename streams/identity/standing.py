"""Who has taken somebody's access away, and what gives it back.

The directory (SCIM, a file) and somebody by hand each take and give for themselves: who was revoked by hand in an
emergency doesn't come back because the directory, which knows nothing of it, says once more that the account is active.
"""

from __future__ import annotations

from msgspec.structs import replace

from taprail.schemas.control import Identity, RevokedBy


def bars(identity: Identity) -> frozenset[RevokedBy]:
    """Who stands against its access. A record of the first form, which doesn't say it, was written by hand."""
    if identity.active:
        return frozenset()
    return frozenset(identity.revoked_by) or frozenset({"hand"})


def revoked(identity: Identity, by: RevokedBy, reason: str) -> Identity:
    return _with(identity, bars(identity) | {by}, reason)


def restored(identity: Identity, by: RevokedBy, reason: str) -> Identity:
    """What `by` took is given back; it stays revoked where somebody else stands against it, for their reason."""
    left = bars(identity) - {by}
    return _with(identity, left, identity.reason if left else reason)


def _with(identity: Identity, by: frozenset[RevokedBy], reason: str) -> Identity:
    return replace(identity, active=not by, revoked_by=tuple(sorted(by)), reason=reason)
