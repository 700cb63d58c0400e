"""Signed identities for `taprail.identities`: what revokes a person, and gives the access back."""

from __future__ import annotations

from collections.abc import Callable

from taprail.schemas.control import Identity, SignedRecord
from taprail.streams.identity import standing
from taprail.streams.identity.book import Book, read
from taprail.streams.identity.roster import TOPIC, Roster
from taprail.streams.settings import Loaded

__all__ = ["TOPIC", "known", "publish", "restore", "revoke"]


def publish(loaded: Loaded, identity: Identity) -> SignedRecord:
    """Sign it with the control key and wait for Kafka. Raises SettingsError without the key, StackError."""
    return Book(loaded).change(lambda _: [identity])[0]


def revoke(loaded: Loaded, subject: str, reason: str) -> Identity:
    """By hand: whatever the directory says, until it is restored by hand. What stands there now."""
    return _change(loaded, subject, lambda now: standing.revoked(now, "hand", reason))


def restore(loaded: Loaded, subject: str, reason: str) -> Identity:
    """By hand; it stays revoked where the directory has revoked it, too. What stands there now."""
    return _change(loaded, subject, lambda now: standing.restored(now, "hand", reason))


def known(loaded: Loaded) -> Roster:
    """Everybody whom the topic speaks of now. Raises StackError."""
    return read(loaded)


def _change(loaded: Loaded, subject: str, to: Callable[[Identity], Identity]) -> Identity:
    book = Book(loaded)

    def decide(roster: Roster) -> list[Identity]:
        return [to(roster.get(subject) or Identity(subject, subject, "person", ()))]

    book.change(decide)
    found = book.roster.get(subject)
    assert found is not None  # it was just written
    return found
