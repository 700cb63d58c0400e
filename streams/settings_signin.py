"""The settings of how people and services prove who they are, besides the identity provider itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from taprail.schemas.errors import SettingsError
from taprail.streams.settings_base import Section

Patterns = tuple[str, ...]
GroupsFrom = Literal["token", "identities", "both"]


class SignInRule(Section, frozen=True, kw_only=True):
    """The first one that fits decides; where none does, a token is asked for as the password."""

    users: Annotated[Patterns, Meta(description="User names; `*` stands for any characters.")] = ("*",)
    databases: Annotated[Patterns, Meta(description="Databases, by the name that the client asks for.")] = ("*",)
    method: Annotated[
        Literal["password", "oauth"],
        Meta(description="How the token comes: as the `password`, or by the SASL mechanism OAUTHBEARER (`oauth`)."),
    ]


class Certificate(Section, frozen=True, kw_only=True):
    name: Annotated[
        str,
        Meta(
            pattern=r"^(cn|dns|email|uri):.+$",
            description="A name in the certificate: `cn:` common name, or `dns:`, `email:`, `uri:` alternative name.",
        ),
    ]
    user: Annotated[str, Meta(min_length=1, description="The user name that it proves.")]
    kind: Annotated[Literal["person", "service", "agent"], Meta(description="Who that is.")] = "service"
    subject: Annotated[str, Meta(description="A person's `sub` at the identity provider; empty: the user name.")] = ""
    groups: Annotated[tuple[str, ...], Meta(description="The groups of whoever shows it.")] = ()


def check_certificates(found: Iterable[Certificate], ca_file: str) -> None:
    """What types can't say. Raises SettingsError."""
    names = [each.name for each in found]
    if names and not ca_file:
        raise SettingsError("certificates: nobody's certificate can be verified", hint="set tap.client_ca_file")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"certificates: {twice[0]} stands there twice", hint="one name proves one user")
