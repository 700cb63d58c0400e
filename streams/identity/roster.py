"""Everybody and every group that `taprail.identities` speaks of, found by what SCIM asks for.

`Directory` is what a tap and the stream need of the same records; this is for those who change them.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import MsgspecError

from taprail.schemas.control import GROUP_KEY, Group, Identity, SignedRecord, open_signed
from taprail.schemas.errors import SignatureError
from taprail.streams.identity.enrich import Directory

TOPIC = "taprail.identities"
_log = logging.getLogger("taprail.identity")


class Roster:
    """Not for several threads. What isn't signed, and what is older than what is known, changes nothing."""

    def __init__(self, public_keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._directory = Directory(public_keys)
        self._public_keys = dict(public_keys)
        self._groups: dict[str, Group] = {}
        self._group_by_name: dict[str, str] = {}
        self._signed_us: dict[str, int] = {}  # by the record's key
        self._by_id: dict[str, str] = {}  # to the subject
        self._by_user_name: dict[str, str] = {}
        self._by_external_id: dict[str, set[str]] = defaultdict(set)
        self._by_group: dict[str, set[str]] = defaultdict(set)

    def take(self, record: SignedRecord) -> None:
        if record.kind == "group":
            self._take_group(record)
            return
        before = self._directory.get(record.key)
        after = self._directory.take(record)
        if after is None:
            return
        self._signed_us[record.key] = record.signed_us
        if before is not None:
            self._forget(before)
        if after.scim is not None:
            self._by_id[after.scim.resource_id] = after.subject
            self._by_user_name[after.scim.user_name.casefold()] = after.subject
            self._by_external_id[after.scim.external_id].add(after.subject)
            for group in after.groups:
                self._by_group[group].add(after.subject)

    def get(self, subject: str) -> Identity | None:
        return self._directory.get(subject)

    def all(self) -> list[Identity]:
        return self._directory.all()

    def signed_us(self, key: str) -> int:
        """When the record of this key was signed; 0 where there is none."""
        return self._signed_us.get(key, 0)

    def users(self) -> list[Identity]:
        """Those whom an identity provider has made and not deleted, the oldest first."""
        found = [each for each in self._directory.all() if each.scim is not None]
        return sorted(found, key=lambda each: (each.scim.created_us, each.subject) if each.scim else (0, ""))

    def user(self, resource_id: str) -> Identity | None:
        return self._directory.get(self._by_id.get(resource_id, ""))

    def user_named(self, user_name: str) -> Identity | None:
        """`userName` is unique without regard to case (RFC 7643, section 4.1.1)."""
        return self._directory.get(self._by_user_name.get(user_name.casefold(), ""))

    def users_known_as(self, external_id: str) -> list[Identity]:
        found = (self._directory.get(subject) for subject in sorted(self._by_external_id.get(external_id, ())))
        return [each for each in found if each is not None]

    def groups(self) -> list[Group]:
        """Those that aren't deleted, the oldest first."""
        found = (each for each in self._groups.values() if not each.deleted)
        return sorted(found, key=lambda each: (each.created_us, each.group_id))

    def all_groups(self) -> list[Group]:
        """Those that are deleted, too."""
        return [self._groups[group_id] for group_id in sorted(self._groups)]

    def group(self, group_id: str) -> Group | None:
        found = self._groups.get(group_id)
        return None if found is None or found.deleted else found

    def group_named(self, name: str) -> Group | None:
        return self.group(self._group_by_name.get(name.casefold(), ""))

    def groups_of(self, identity: Identity) -> list[Group]:
        """The groups of a provider's that it is in, by name."""
        found = (self.group_named(name) for name in sorted(identity.groups))
        return [each for each in found if each is not None and each.name in identity.groups]

    def members(self, group: Group) -> list[Identity]:
        """The users in it, by subject."""
        found = (self._directory.get(subject) for subject in sorted(self._by_group.get(group.name, ())))
        return [each for each in found if each is not None]

    def _forget(self, identity: Identity) -> None:
        if identity.scim is None:
            return
        for index, key in ((self._by_id, identity.scim.resource_id), (self._by_user_name, _name(identity))):
            if index.get(key) == identity.subject:  # a renamed user's are somebody else's by now
                del index[key]
        self._by_external_id[identity.scim.external_id].discard(identity.subject)
        for group in identity.groups:
            self._by_group[group].discard(identity.subject)

    def _take_group(self, record: SignedRecord) -> None:
        try:
            group = open_signed(record, Group, public_keys=self._public_keys)
            if record.key != GROUP_KEY + group.group_id:
                raise SignatureError(f"the group {group.group_id} stands under the key {record.key!r}")
        except (SignatureError, MsgspecError) as error:
            _log.error("a group is not believed: %s", error)
            return
        if record.signed_us < self.signed_us(record.key):
            return
        before = self._groups.get(group.group_id)
        if before is not None and self._group_by_name.get(before.name.casefold()) == group.group_id:
            del self._group_by_name[before.name.casefold()]
        if not group.deleted:
            self._group_by_name[group.name.casefold()] = group.group_id
        self._groups[group.group_id], self._signed_us[record.key] = group, record.signed_us


def _name(identity: Identity) -> str:
    return identity.scim.user_name.casefold() if identity.scim else ""
