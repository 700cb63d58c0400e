"""Groups as an identity provider sees them over SCIM, and what its requests make of them. Nothing is written here.

A group's record has its name; who is in it, each identity says itself. So a change of members is a change of those
members, and a new name one of everybody in the group, written together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from taprail.connectors.scim.errors import ScimError, invalid
from taprail.connectors.scim.patch import clean
from taprail.connectors.scim.schemas import GROUP, GROUPS
from taprail.schemas.control import Group, Identity
from taprail.streams.identity.roster import Roster

EVERYONE = "*"  # what the settings call everyone: no group can have that name
NAME_MAX = 256


def resource(group: Group, roster: Roster, url: str, *, members: bool = True) -> dict[str, Any]:
    """The group as SCIM shows it; without its members where nobody asks for them."""
    found: dict[str, Any] = {"schemas": [GROUP], "id": group.group_id, "displayName": group.name}
    if group.external_id:
        found["externalId"] = group.external_id
    if members:
        found["members"] = [
            {
                "value": each.scim.resource_id,
                "$ref": f"{url}/Users/{each.scim.resource_id}",
                "type": "User",
            }
            for each in roster.members(group)
            if each.scim is not None
        ]
    return found


def create(roster: Roster, body: object, group_id: str, now_us: int) -> Sequence[Identity | Group]:
    wanted = clean(body, GROUPS)
    group = Group(group_id, _name(roster, wanted, group_id), now_us, wanted.get("externalId", ""))
    return [group, *(_with(each, group.name) for each in _members(roster, wanted))]


def change(roster: Roster, before: Group, wanted: dict[str, Any]) -> Sequence[Identity | Group]:
    """`wanted` is the whole group: whoever isn't in it leaves."""
    name = _name(roster, wanted, before.group_id)
    after = replace(before, name=name, external_id=wanted.get("externalId", ""))
    were = {each.subject: each for each in roster.members(before)}
    are = {each.subject: each for each in _members(roster, wanted)}
    changed: list[Identity] = []
    for subject in sorted(were | are):
        identity = were.get(subject) or are[subject]
        without = _without(identity, before.name)
        made = _with(without, name) if subject in are else without
        if made != identity:
            changed.append(made)
    return [after, *changed] if changed or after != before else []


def delete(roster: Roster, before: Group) -> Sequence[Identity | Group]:
    return [replace(before, deleted=True), *(_without(each, before.name) for each in roster.members(before))]


def _name(roster: Roster, wanted: dict[str, Any], group_id: str) -> str:
    name = str(wanted.get("displayName", ""))
    if not name or name == EVERYONE or len(name) > NAME_MAX:
        raise invalid(f"displayName is needed: a name of up to {NAME_MAX} characters, other than {EVERYONE!r}")
    other = roster.group_named(name)
    if other is not None and other.group_id != group_id:
        raise ScimError(409, f"there is a group {other.name!r}: rights hang on the name", "uniqueness")
    return name


def _members(roster: Roster, wanted: dict[str, Any]) -> list[Identity]:
    """Raises ScimError where one isn't a user that is known: groups in groups are the provider's to resolve."""
    found: dict[str, Identity] = {}
    for each in wanted.get("members", ()):
        user = roster.user(str(each.get("value", "")))
        if user is None:
            raise invalid(f"the member {each.get('value')!r} is no user here: users come before their groups")
        found[user.subject] = user
    return list(found.values())


def _with(identity: Identity, group: str) -> Identity:
    return replace(identity, groups=tuple(sorted({*identity.groups, group})))


def _without(identity: Identity, group: str) -> Identity:
    return replace(identity, groups=tuple(each for each in identity.groups if each != group))
