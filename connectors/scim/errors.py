"""What a SCIM service answers where it can't do what was asked (RFC 7644, section 3.12)."""

from __future__ import annotations

from typing import Any, Literal

from taprail.schemas.errors import RefusedError

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
ScimType = Literal[
    "",
    "invalidFilter",
    "tooMany",
    "uniqueness",
    "mutability",
    "invalidSyntax",
    "invalidPath",
    "noTarget",
    "invalidValue",
]


class ScimError(RefusedError):
    """`status` is HTTP's; `scim_type` the detail that RFC 7644 has names for, '' where it has none."""

    def __init__(self, status: int, message: str, scim_type: ScimType = "") -> None:
        super().__init__(message)
        self.status, self.scim_type = status, scim_type

    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = {"schemas": [ERROR], "status": str(self.status), "detail": self.message}
        return found | ({"scimType": self.scim_type} if self.scim_type else {})


def invalid(message: str, scim_type: ScimType = "invalidValue") -> ScimError:
    return ScimError(400, message, scim_type)
