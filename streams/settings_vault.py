"""The settings of Vault: where secrets are read that a setting names as `vault:path#field`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from taprail.schemas.errors import SettingsError
from taprail.streams.settings_base import Section

LocalSecretRef = Annotated[str, Meta(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]
SERVICE_ACCOUNT = "file:/var/run/secrets/kubernetes.io/serviceaccount/token"


class VaultSettings(Section, frozen=True, kw_only=True):
    address: Annotated[
        str,
        Meta(description="Of HashiCorp Vault or OpenBao, as `https://vault.example.com:8200`; empty: there is none."),
    ] = ""
    namespace: Annotated[str, Meta(description="Its namespace, where it has several.")] = ""
    ca_file: Annotated[str, Meta(description="CA certificates for it; empty for the system's.")] = ""
    method: Annotated[Literal["token", "approle", "kubernetes"], Meta(description="How taprail signs in there.")] = (
        "token"
    )
    mount: Annotated[str, Meta(description="Where the auth method is mounted; empty: under its own name.")] = ""
    role: Annotated[str, Meta(description="The AppRole's role id, or the Kubernetes role.")] = ""
    secret: Annotated[
        LocalSecretRef | None,
        Meta(
            description="The token, the AppRole's secret id, or the service account's JWT; for Kubernetes its usual "
            "place if empty. A file is read again at each sign-in, so an agent may renew it."
        ),
    ] = None


def check_vault(vault: VaultSettings) -> None:
    """What types can't say. Raises SettingsError."""
    if not vault.address:
        return
    if vault.method != "token" and not vault.role:
        raise SettingsError("vault.role is not set", hint=f"{vault.method} signs in with a role")
    if vault.method != "kubernetes" and vault.secret is None:
        raise SettingsError("vault.secret is not set", hint="write env:VAULT_TOKEN, or file:…")
