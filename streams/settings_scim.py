"""The settings of SCIM: how an identity provider tells taprail who there is."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from taprail.schemas.errors import SettingsError
from taprail.streams.settings_base import Port, SecretRef, Section

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Scim(Section, frozen=True, kw_only=True):
    token: Annotated[
        SecretRef | None,
        Meta(description="Bearer token of the provider, at least 32 characters. Without it SCIM isn't served."),
    ] = None
    previous_token: Annotated[
        SecretRef | None, Meta(description="The token before, which holds as well until it is taken out here.")
    ] = None
    subject: Annotated[
        Literal["userName", "externalId"] | None,
        Meta(
            description="The attribute that is the subject of the provider's tokens. There is no default to get wrong."
        ),
    ] = None
    host: Annotated[str, Meta(description="Where SCIM listens, in the role `agents`.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Its port.")] = 6490
    url: Annotated[str, Meta(description="How the provider reaches it; goes into `meta.location`.")] = (
        "http://127.0.0.1:6490/scim/v2"
    )
    certificate: Annotated[str, Meta(description="PEM file of its certificate chain. Empty: plain HTTP.")] = ""
    private_key: Annotated[str, Meta(description="PEM file of its private key.")] = ""
    plaintext: Annotated[
        bool, Meta(description="Plain HTTP beyond loopback: a proxy before it ends TLS, and nobody else reaches it.")
    ] = False


def check_scim(scim: Scim) -> None:
    """What types can't say. Raises SettingsError."""
    if scim.token is None:
        return
    if scim.subject is None:
        raise SettingsError(
            "scim.subject: which attribute is the subject (`sub`) of the provider's tokens must be said",
            hint="'externalId' or 'userName': a wrong one would revoke nobody",
        )
    if bool(scim.certificate) != bool(scim.private_key):
        raise SettingsError("scim.certificate and scim.private_key go together", hint="set both, or neither")
    if scim.host not in LOOPBACK and not scim.certificate and not scim.plaintext:
        raise SettingsError(
            f"scim.host: the token would come in the clear to {scim.host}",
            hint="set scim.certificate, or scim.plaintext where a proxy before it ends TLS",
        )
