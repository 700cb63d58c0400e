"""Users as an identity provider sees them over SCIM, and what its requests make of identities. Nothing is written here.

The identity's subject is the attribute that the settings name (`scim.subject`): it must be what the provider puts into
its tokens. A user that is deleted, or not active, is a revoked identity; one that was revoked by hand stays so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec.structs import replace

from taprail.connectors.scim.errors import ScimError, invalid
from taprail.connectors.scim.patch import clean
from taprail.connectors.scim.schemas import USER, USERS
from taprail.schemas.control import GROUP_KEY, Email, Group, Identity, Provisioned
from taprail.streams.identity import standing
from taprail.streams.identity.roster import Roster

SubjectFrom = Literal["userName", "externalId"]
INACTIVE, DELETED = "not active at the identity provider", "deleted at the identity provider"
NAME_MAX = 512


def resource(identity: Identity, roster: Roster, url: str) -> dict[str, Any]:
    """The user as SCIM shows it. `active` is what the provider has said: revoking by hand isn't its business."""
    user = _provisioned(identity)
    found: dict[str, Any] = {
        "schemas": [USER],
        "id": user.resource_id,
        "externalId": user.external_id,
        "userName": user.user_name,
        "name": _without_nothing(
            {"formatted": user.formatted, "familyName": user.family_name, "givenName": user.given_name}
        ),
        "displayName": user.display_name,
        "userType": user.user_type,
        "timezone": identity.zone,
        "emails": [_email(each) for each in user.emails],
        "groups": [
            {"value": group.group_id, "$ref": f"{url}/Groups/{group.group_id}", "display": group.name, "type": "direct"}
            for group in roster.groups_of(identity)
        ],
    }
    return _without_nothing(found) | {"active": "directory" not in standing.bars(identity)}


def create(
    roster: Roster, body: object, subject_from: SubjectFrom, resource_id: str, now_us: int
) -> Sequence[Identity]:
    wanted = clean(body, USERS)
    return _made(roster, None, wanted, subject_from, Provisioned(resource_id, _user_name(wanted), now_us))


def change(roster: Roster, before: Identity, wanted: dict[str, Any], subject_from: SubjectFrom) -> Sequence[Identity]:
    """`wanted` is the whole user: what isn't in it is taken away (RFC 7644, section 3.5.1)."""
    user = _provisioned(before)
    kept = Provisioned(user.resource_id, _user_name(wanted), user.created_us)
    made = _made(roster, before, wanted, subject_from, kept)
    return [] if list(made) == [before] else made


def delete(roster: Roster, before: Identity) -> Sequence[Identity | Group]:
    """Its groups are written, too: they have changed with their members."""
    return [_gone(before, DELETED), *roster.groups_of(before)]


def _gone(identity: Identity, reason: str) -> Identity:
    """The subject stays, so that its tokens open nothing; what else is known of the person goes."""
    left = replace(identity, name=identity.subject, groups=(), email="", owner="", zone="", scim=None)
    return standing.revoked(left, "directory", reason)


def _made(
    roster: Roster, before: Identity | None, wanted: dict[str, Any], subject_from: SubjectFrom, user: Provisioned
) -> Sequence[Identity]:
    """The identity, and before it the one that it was, where the subject is another now."""
    subject = _subject(wanted, subject_from)
    there = roster.get(subject)
    _check_unique(roster, there, subject, user)
    name = wanted.get("name", {})
    user = replace(
        user,
        external_id=wanted.get("externalId", ""),
        display_name=wanted.get("displayName", ""),
        formatted=name.get("formatted", ""),
        given_name=name.get("givenName", ""),
        family_name=name.get("familyName", ""),
        user_type=wanted.get("userType", ""),
        emails=tuple(
            Email(each["value"], each.get("type", ""), each.get("primary", False))
            for each in wanted.get("emails", ())
            if each.get("value")
        ),
    )
    base = there or before or Identity(subject, subject, "person", ())
    made = replace(
        base,
        subject=subject,
        name=_name(user),
        kind=_kind(user.user_type),
        groups=before.groups if before is not None else (),
        email=_address(user),
        zone=wanted.get("timezone", ""),
        source="scim",
        scim=user,
    )
    if before is not None and "hand" in standing.bars(before):  # nobody gets away by another name
        made = standing.revoked(made, "hand", before.reason)
    was = "directory" in standing.bars(made)
    # Left out it stays as it was: nobody comes back by that.
    active = wanted.get("active", before is None or not was)
    if not active and not was:
        made = standing.revoked(made, "directory", INACTIVE)
    elif active and was:
        made = standing.restored(made, "directory", "")
    if before is not None and before.subject != subject:
        return [_gone(before, f"is {subject} now, at the identity provider"), made]
    return [made]


def _subject(wanted: dict[str, Any], subject_from: SubjectFrom) -> str:
    subject = str(wanted.get(subject_from, ""))
    if not subject:
        raise invalid(f"{subject_from} is needed: it is the subject of the user's tokens here")
    if subject.startswith(GROUP_KEY) or len(subject) > NAME_MAX:
        raise invalid(f"{subject_from} can't be used as a subject")
    return subject


def _user_name(wanted: dict[str, Any]) -> str:
    name = str(wanted.get("userName", ""))
    if not name:
        raise invalid("userName is needed")
    return name


def _check_unique(roster: Roster, there: Identity | None, subject: str, user: Provisioned) -> None:
    """Raises ScimError where somebody else has the name or the subject."""
    named = roster.user_named(user.user_name)
    for other in (named, there):
        if other is not None and other.scim is not None and other.scim.resource_id != user.resource_id:
            raise ScimError(409, f"there is a user {user.user_name!r} with the subject {subject!r}", "uniqueness")
    if there is not None and there.source == "file" and "directory" not in standing.bars(there):
        text = f"a file of identities has {subject!r}: take it out there first"
        raise ScimError(409, text, "uniqueness")


def _kind(user_type: str) -> Literal["person", "service", "agent"]:
    lowered = user_type.lower()
    return "service" if lowered == "service" else "agent" if lowered == "agent" else "person"


def _name(user: Provisioned) -> str:
    parts = f"{user.given_name} {user.family_name}".strip()
    return user.display_name or user.formatted or parts or user.user_name


def _address(user: Provisioned) -> str:
    primary = [each.value for each in user.emails if each.primary] or [each.value for each in user.emails]
    return primary[0] if primary else ""


def _email(email: Email) -> dict[str, Any]:
    return _without_nothing({"value": email.value, "type": email.type}) | {"primary": email.primary}


def _without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", [], {})}


def _provisioned(identity: Identity) -> Provisioned:
    if identity.scim is None:
        raise ScimError(404, "there is no such user")
    return identity.scim
