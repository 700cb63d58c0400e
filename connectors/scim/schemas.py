"""The resources that are kept, attribute by attribute (RFC 7643, sections 4 and 7), and the discovery documents.

A company's directory knows far more of people than their rights need. Of a user only names, addresses and whether the
account is active are kept; what else a provider sends is dropped unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
RESOURCE_TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
RESULTS_MAX = 200
Resource = Mapping[str, Any]


class Attribute(Struct, frozen=True):
    """One attribute, with the characteristics of RFC 7643, section 2.2."""

    name: str
    description: str
    type: Literal["string", "boolean", "complex", "reference"] = "string"
    sub: tuple[Attribute, ...] = ()
    many: bool = False
    required: bool = False
    exact: bool = False
    mutability: Literal["readWrite", "readOnly", "immutable"] = "readWrite"
    uniqueness: Literal["none", "server"] = "none"
    references: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "multiValued": self.many,
            "description": self.description,
            "required": self.required,
            "mutability": self.mutability,
            "returned": "default",
        }
        if self.type in ("string", "reference"):
            made |= {"caseExact": self.exact, "uniqueness": self.uniqueness}
        if self.references:
            made["referenceTypes"] = list(self.references)
        if self.canonical:
            made["canonicalValues"] = list(self.canonical)
        if self.sub:
            made["subAttributes"] = [each.document() for each in self.sub]
        return made

    def find(self, name: str) -> Attribute | None:
        """The sub-attribute of this name; names are without regard to case."""
        return next((each for each in self.sub if each.name.lower() == name.lower()), None)


_REF = Attribute("$ref", "Where it is.", "reference", exact=True, mutability="readOnly", references=("Group",))
_TYPE = Attribute("type", "What it is: work, home.")
_PRIMARY = Attribute("primary", "The one that counts.", "boolean")

# `id` and `meta` are common to all resources and stand in no schema (RFC 7643, section 3.1); so does externalId.
COMMON = (
    Attribute("id", "Ours.", exact=True, mutability="readOnly", uniqueness="server"),
    Attribute("externalId", "The provider's own identifier.", exact=True),
    Attribute(
        "meta",
        "About the resource.",
        "complex",
        mutability="readOnly",
        sub=(
            Attribute("resourceType", "User or Group.", exact=True, mutability="readOnly"),
            Attribute("created", "When it was made.", mutability="readOnly"),
            Attribute("lastModified", "When it was changed last.", mutability="readOnly"),
            Attribute("location", "Where it is.", "reference", exact=True, mutability="readOnly"),
            Attribute("version", "Its ETag.", exact=True, mutability="readOnly"),
        ),
    ),
)
USER_ATTRIBUTES = (
    Attribute("userName", "The name at the provider.", required=True, uniqueness="server"),
    Attribute(
        "name",
        "The name's parts.",
        "complex",
        sub=(
            Attribute("formatted", "The whole name."),
            Attribute("familyName", "Family name."),
            Attribute("givenName", "Given name."),
        ),
    ),
    Attribute("displayName", "The name to show."),
    Attribute("userType", "`service` and `agent` for programs; anything else is a person."),
    Attribute("timezone", "Time zone, as `Europe/Helsinki`; what policies mean by the hour."),
    Attribute("active", "Whether the account may be used. False ends sessions.", "boolean"),
    Attribute("emails", "Addresses.", "complex", many=True, sub=(Attribute("value", "The address."), _TYPE, _PRIMARY)),
    Attribute(
        "groups",
        "Groups that the user is in; changed through the groups.",
        "complex",
        many=True,
        mutability="readOnly",
        sub=(
            Attribute("value", "The group's id.", exact=True, mutability="readOnly"),
            _REF,
            Attribute("display", "The group's name.", mutability="readOnly"),
            Attribute("type", "Always `direct`.", mutability="readOnly"),
        ),
    ),
)
GROUP_ATTRIBUTES = (
    Attribute("displayName", "The name that policies and roles know.", required=True, uniqueness="server"),
    Attribute(
        "members",
        "Users in the group.",
        "complex",
        many=True,
        sub=(
            Attribute("value", "The user's id.", exact=True, mutability="immutable"),
            Attribute("$ref", "Where it is.", "reference", exact=True, mutability="immutable", references=("User",)),
            Attribute("type", "Always `User`.", mutability="immutable", canonical=("User",)),
        ),
    ),
)


class Kind(Struct, frozen=True):
    """A type of resource."""

    name: Literal["User", "Group"]
    endpoint: str
    urn: str
    attributes: tuple[Attribute, ...]

    def find(self, name: str) -> Attribute | None:
        """The attribute of this name, common ones included; names are without regard to case."""
        return next((each for each in (*COMMON, *self.attributes) if each.name.lower() == name.lower()), None)


USERS = Kind("User", "/Users", USER, USER_ATTRIBUTES)
GROUPS = Kind("Group", "/Groups", GROUP, GROUP_ATTRIBUTES)
KINDS = (USERS, GROUPS)


def service_provider_config(url: str) -> dict[str, Any]:
    no = {"supported": False}
    return {
        "schemas": [CONFIG],
        "patch": {"supported": True},
        "bulk": {**no, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": RESULTS_MAX},
        "changePassword": no,
        "sort": no,
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "The token that the service was given in its settings.",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{url}/ServiceProviderConfig"},
    }


def resource_types(url: str) -> list[dict[str, Any]]:
    return [
        {
            "schemas": [RESOURCE_TYPE],
            "id": kind.name,
            "name": kind.name,
            "endpoint": kind.endpoint,
            "schema": kind.urn,
            "schemaExtensions": [],
            "meta": {"resourceType": "ResourceType", "location": f"{url}/ResourceTypes/{kind.name}"},
        }
        for kind in KINDS
    ]


def schemas(url: str) -> list[dict[str, Any]]:
    return [
        {
            "schemas": [SCHEMA],
            "id": kind.urn,
            "name": kind.name,
            "description": f"{kind.name}, as far as it is kept.",
            "attributes": [attribute.document() for attribute in kind.attributes],
            "meta": {"resourceType": "Schema", "location": f"{url}/Schemas/{kind.urn}"},
        }
        for kind in KINDS
    ]
