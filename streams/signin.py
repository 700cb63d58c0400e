"""Who may sign in at a tap, and where to: tokens for people and agents, SCRAM for services, roles by group."""

from __future__ import annotations

from typing import Literal

from taprail.connectors.oidc.tokens import TokenRules, TokenVerifier
from taprail.connectors.postgres.signin import Identity, Login, ScramSecret, scram_secret
from taprail.connectors.postgres.upstream import Target
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person
from taprail.streams.routing import Directory
from taprail.streams.settings import IdentityProvider, Loaded
from taprail.streams.upstreams import target_of, upstream_tls


class SignIn:
    """Implements `Authenticator` and `Route` from the settings. Secrets are read once, at the start."""

    def __init__(self, loaded: Loaded) -> None:
        self._verifier = TokenVerifier(token_rules(loaded.settings.identity))
        self._services = {
            s.name: (Person(s.name, s.name, s.kind, s.groups, "taprail"), scram_secret(loaded.secret(s.password)))
            for s in loaded.settings.services
        }
        self._directory = Directory(loaded.settings.databases, loaded.settings.tap)
        self._passwords = {
            (d.name, mapping.role): loaded.secret(mapping.password, f"databases.{d.name}.roles")
            for d in loaded.settings.databases
            for mapping in d.roles
        }
        self._tls = {d.name: upstream_tls(d, loaded) for d in loaded.settings.databases}

    def method(self, login: Login) -> Literal["token", "scram", "none"]:
        return "scram" if login.user in self._services else "token"

    async def token(self, login: Login, token: str) -> Identity:
        """The token says who it is; the user name that the client sent must be that person's, or it is a mistake."""
        person = (await self._verifier.verify(token)).person
        if login.user not in (person.subject, person.name):
            raise RefusedError(
                f"the token is {person.name}'s, but the connection asks for user {login.user!r}",
                hint=f"connect as user {person.subject!r}",
            )
        return Identity(person, "oidc")

    def secret(self, login: Login) -> ScramSecret | None:
        found = self._services.get(login.user)
        return found[1] if found else None

    def identity(self, login: Login) -> Identity:
        found = self._services.get(login.user)
        if found is None:
            raise RefusedError(f"there is no service {login.user!r}", hint="sign in with an access token")
        return Identity(found[0], "scram")

    def route(self, login: Login, identity: Identity) -> Target:
        """The first of the database's roles that one of the person's groups maps to."""
        database = self._directory.find(login)
        groups = set(identity.person.groups)
        role = next((m.role for m in database.roles if m.group == "*" or m.group in groups), None)
        if role is None:
            raise RefusedError(
                f"none of {identity.person.name}'s groups may use {database.name}",
                hint="ask whoever manages your groups for access",
            )
        return target_of(database, role, self._passwords[database.name, role], self._tls[database.name])


def token_rules(identity: IdentityProvider) -> TokenRules:
    return TokenRules(
        issuer=identity.issuer,
        audience=identity.audience,
        groups_claim=identity.groups_claim,
        kind_claim=identity.kind_claim,
        agent_clients=identity.agent_clients,
        require_at_jwt=identity.require_at_jwt,
    )
