"""Who may sign in at a tap, and where to: tokens for people and agents, SCRAM for services, certificates for whoever is
listed; roles by group. `docs/sign-in.md` says it for users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from msgspec.structs import replace

from taprail.connectors.oidc.tokens import TokenRules, TokenVerifier
from taprail.connectors.postgres.certificates import name_of
from taprail.connectors.postgres.oauth import Offer
from taprail.connectors.postgres.scram import ScramSecret, scram_secret
from taprail.connectors.postgres.signin import Identity, Login, Method
from taprail.connectors.postgres.upstream import Target
from taprail.schemas.control import Grant
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person
from taprail.streams.identity.groups import Standing
from taprail.streams.identity.speaks_for import OURSELVES, Speaker, Speakers
from taprail.streams.routing import Directory
from taprail.streams.settings import Database, IdentityProvider, Loaded, Service
from taprail.streams.settings_signin import Certificate
from taprail.streams.upstreams import target_of, upstream_tls


class SignIn:
    """Implements `Authenticator` and `Route` from the settings. Secrets are read once, at the start."""

    def __init__(
        self,
        loaded: Loaded,
        standing: Standing | None = None,
        granted: Callable[[Person, str, str], Grant | None] = lambda person, environment, database: None,
    ) -> None:
        """`standing` is the directory's word on who may act, and with which groups; None: nothing is known of it.

        `granted` gives the grant with a role that a person has in an environment and a database, if there is one.
        """
        self._granted = granted
        settings = loaded.settings
        self._proven = standing.proven if standing is not None else _as_it_is
        self._listed = standing.listed if standing is not None else _as_it_is
        self._provider, self._rules = settings.identity, settings.sign_in
        self._verifier = TokenVerifier(token_rules(settings.identity))
        self._services = {
            s.name: (Person(s.name, s.name, s.kind, s.groups, OURSELVES), scram_secret(loaded.secret(s.password)))
            for s in settings.services
        }
        self._certificates = {name_of(*each.name.split(":", 1)): each for each in settings.certificates}
        speakers = {s.name: _speaker(loaded, s) for s in settings.services}
        self.speakers = Speakers(speakers, self._verifier, self._proven)
        self._directory = Directory(settings.databases, settings.tap)
        self._passwords = {
            (d.name, mapping.role): loaded.secret(mapping.password, f"databases.{d.name}.roles")
            for d in loaded.settings.databases
            for mapping in d.roles
        }
        self._tls = {d.name: upstream_tls(d, loaded) for d in loaded.settings.databases}
        self._durability = loaded.settings.tap.durability

    def method(self, login: Login) -> Method:
        if self._shown(login) is not None:
            return "certificate"
        if login.user in self._services:
            return "scram"
        for rule in self._rules:
            if _fits(rule.users, login.user) and _fits(rule.databases, login.database):
                return "oauth" if rule.method == "oauth" else "token"
        return "token"

    async def token(self, login: Login, token: str) -> Identity:
        """The token says who it is; the user name that the client sent must be that person's, or it is a mistake."""
        verified = await self._verifier.verify(token)
        person = verified.person
        if login.user not in (person.subject, person.name):
            raise RefusedError(
                f"the token is {person.name}'s, but the connection asks for user {login.user!r}",
                hint=f"connect as user {person.subject!r}",
            )
        return Identity(self._proven(person), "oidc", expires_us=self._end(verified.expires_us), device=verified.device)

    def offer(self, login: Login) -> Offer:
        issuer = self._provider.issuer.rstrip("/")
        return Offer(f"{issuer}/.well-known/openid-configuration", self._provider.scope)

    def secret(self, login: Login) -> ScramSecret | None:
        found = self._services.get(login.user)
        return found[1] if found else None

    def identity(self, login: Login) -> Identity:
        shown = self._shown(login)
        if shown is not None:
            issuer = self._provider.issuer if shown.kind == "person" else OURSELVES
            person = Person(shown.subject or shown.user, shown.user, shown.kind, shown.groups, issuer)
            expires_us = self._end(login.certificate_expires_us)
            return Identity(
                self._listed(person), "certificate", expires_us=expires_us, device=login.certificate_fingerprint
            )
        found = self._services.get(login.user)
        if found is None:
            raise RefusedError(f"there is no service {login.user!r}", hint="sign in with an access token")
        return Identity(self._listed(found[0]), "scram")

    async def speaks_for(self, login: Login, identity: Identity, statement: str) -> Identity:
        """The person whom a service names; the session is the person's own, and ends when the statement does. Its
        device stays the service's: the person's own isn't what is connected here."""
        if identity.person.issuer != OURSELVES:
            raise RefusedError("only a service account may say who acts in its session", hint="sign in as yourself")
        spoken = await self.speakers.verify(identity.person.subject, statement)
        ends = [end for end in (identity.expires_us, self._end(spoken.expires_us)) if end]
        return replace(identity, person=spoken.person, expires_us=min(ends, default=0))

    def route(self, login: Login, identity: Identity) -> Target:
        """The role that the person was given for a time, or the first that one of the person's groups maps to."""
        database, person = self._directory.find(login), identity.person
        grant = self._granted(person, database.environment, database.name)
        if grant is not None and (database.name, grant.role) in self._passwords:
            role = grant.role
        else:
            grant, role = None, role_of(database, person.groups)
        if not role:
            raise RefusedError(
                f"none of {person.name}'s groups may use {database.name}",
                hint="ask whoever manages your groups for access, or for some time with `taprail access request`",
            )
        password, tls = self._passwords[database.name, role], self._tls[database.name]
        target = target_of(database, role, password, tls, self._durability)
        return replace(target, grant=grant.grant_id) if grant is not None else target

    def _shown(self, login: Login) -> Certificate | None:
        """Whom the client's certificate proves it to be. Raises RefusedError where that is only somebody else.

        One that isn't listed proves nothing: whoever shows it is asked for a token or a password, like anybody.
        """
        proven = [self._certificates[name] for name in login.certificate if name in self._certificates]
        if not proven:
            return None
        for each in proven:
            if each.user == login.user:
                return each
        raise RefusedError(
            f"the certificate is for user {proven[0].user!r}, but the connection asks for {login.user!r}",
            hint=f"connect as user {proven[0].user!r}, or without the certificate (sslcertmode=disable)",
        )

    def _end(self, expires_us: int) -> int:
        """When a session ends whose proof ends then."""
        if self._provider.session_end == "never" or not expires_us:
            return 0
        return expires_us + self._provider.leeway_seconds * 1_000_000


def _speaker(loaded: Loaded, service: Service) -> Speaker:
    key = b""
    if service.statement_key is not None:
        key = loaded.secret(service.statement_key, f"services.{service.name}.statement_key").encode()
    return Speaker(service.name, service.speaks_for, key)


def role_of(database: Database, groups: Iterable[str]) -> str:
    """The first of the database's roles that one of the groups maps to, '' where none does. One of no group is only
    ever given for a time."""
    held = set(groups) - {""}
    return next((m.role for m in database.roles if m.group == "*" or m.group in held), "")


def _as_it_is(person: Person) -> Person:
    return person


def _fits(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def token_rules(identity: IdentityProvider) -> TokenRules:
    return TokenRules(
        issuer=identity.issuer,
        audience=identity.audience,
        groups_claim=identity.groups_claim,
        kind_claim=identity.kind_claim,
        agent_clients=identity.agent_clients,
        require_at_jwt=identity.require_at_jwt,
        leeway_seconds=identity.leeway_seconds,
        subject_claim=identity.subject_claim,
        device_claim=identity.device_claim,
    )
