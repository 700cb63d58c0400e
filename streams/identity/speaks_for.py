"""The real user inside a shared account: a service states by a signature who acts, and the tap verifies it.

A statement is a JWT in compact form, one of two kinds:

- signed by the service with a key that it shares with the tap (HS256). Header `typ: taprail-person+jwt`; claims `iss`
  the service's name, `aud` ours, `sub` the person, `iat`, `exp` at most a day later, `jti`; `name` and `groups` may be
  there, too.
- the person's own access token from the identity provider, which says and proves everything itself.

A service may speak for the groups that its setting `speaks_for` names, `*` for everybody. Of a statement that it signs
itself only those groups count, so whoever steals the key can't become more than that. Nothing is taken over from an
unverified statement, and the session's statements run as nobody where it doesn't hold: they don't run.

Sources: RFC 7519 (JWT), RFC 8725 (types, algorithms), RFC 7518, section 3.2 (length of the key), sqlcommenter's format.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import jwt
from msgspec import Struct, field
from msgspec.structs import replace

from taprail.connectors.oidc.tokens import TOKEN_BYTES_MAX, TokenVerifier
from taprail.schemas.errors import RefusedError, SettingsError
from taprail.schemas.records import Person

OURSELVES = "taprail"  # the issuer of service accounts, which the tap's own settings name
TYPE = "taprail-person+jwt"
COMMENT_KEY = "taprail_person"
LIFETIME_SECONDS_MAX = 86_400
KEY_BYTES_MIN = 32
KEPT_MAX, KEPT_SECONDS = 10_000, 300.0  # like the provider's keys: what it withdrew isn't believed for longer
HINT = "the service must state who acts with a signature that holds"
_REQUIRED = ["iss", "aud", "sub", "iat", "exp", "jti"]


class Speaker(Struct, frozen=True):
    """A service that may name people. `key` b"" where it may only pass their own tokens on."""

    service: str
    speaks_for: tuple[str, ...]
    key: bytes = field(default=b"")

    def __repr__(self) -> str:
        return f"Speaker({self.service!r}, {self.speaks_for!r})"


class Spoken(Struct, frozen=True):
    """Who acts, and until when the statement of it holds: microseconds since 1970 UTC."""

    person: Person
    expires_us: int


class Speakers:
    """Verifies statements. What has been verified is remembered for a while, and never beyond its end."""

    def __init__(
        self,
        speakers: Mapping[str, Speaker],
        verifier: TokenVerifier,
        standing: Callable[[Person], Person] = lambda person: person,
    ) -> None:
        """`standing` says who is named may act, and with which groups; asked each time, as it may change."""
        for speaker in speakers.values():
            if speaker.key and len(speaker.key) < KEY_BYTES_MIN:
                raise SettingsError(
                    f"services.{speaker.service}.statement_key has {len(speaker.key)} bytes",
                    hint=f"HS256 needs {KEY_BYTES_MIN} at least (RFC 7518)",
                )
        self._speakers, self._verifier, self._standing = speakers, verifier, standing
        self._kept: OrderedDict[tuple[str, bytes], tuple[Spoken, float]] = OrderedDict()  # with its end

    @property
    def any_may_speak(self) -> bool:
        return any(speaker.speaks_for for speaker in self._speakers.values())

    def listens_to(self, person: Person) -> bool:
        """Whether it is a service account that may name people."""
        speaker = self._speakers.get(person.subject) if person.issuer == OURSELVES else None
        return speaker is not None and bool(speaker.speaks_for)

    async def verify(self, service: str, statement: str) -> Spoken:
        """Raises RefusedError where the service may not name people, or the statement doesn't hold."""
        known = self.known(service, statement)
        if known is not None:
            return known
        speaker = self._speaker(service)
        token = await self._verifier.verify(statement)
        spoken = Spoken(replace(token.person, via=service), token.expires_us)
        return self._allowed(speaker, self._keep(service, statement, spoken), own=False)

    def known(self, service: str, statement: str) -> Spoken | None:
        """The same without I/O; None where the provider's key must be looked at first. Raises RefusedError."""
        speaker = self._speaker(service)
        if len(statement) > TOKEN_BYTES_MAX or not statement.isascii():
            raise RefusedError("the statement of who acts is no token", hint=HINT)
        kept = self._kept.get((service, _digest(statement)))
        own = signed_by_a_service(statement)
        if kept is not None and time.time() < kept[1]:
            return self._allowed(speaker, kept[0], own=own)
        if not own:
            return None
        return self._allowed(speaker, self._keep(service, statement, self._own(speaker, statement)), own=True)

    def _speaker(self, service: str) -> Speaker:
        speaker = self._speakers.get(service)
        if speaker is None or not speaker.speaks_for:
            raise RefusedError(
                f"{service!r} may not say that somebody else acts",
                hint="only a service account with `speaks_for` in the tap's settings may",
            )
        return speaker

    def _own(self, speaker: Speaker, statement: str) -> Spoken:
        if not speaker.key:
            raise RefusedError(f"{speaker.service} has no key to sign statements with", hint="pass the person's token")
        try:
            claims = jwt.decode(
                statement,
                speaker.key,
                algorithms=["HS256"],
                audience=self._verifier.rules.audience,
                issuer=speaker.service,
                leeway=self._verifier.rules.leeway_seconds,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError:
            raise RefusedError("the statement of who acts has expired", hint="make a new one") from None
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            text = f"the statement of who acts doesn't hold: {type(error).__name__}"
            raise RefusedError(text, hint=HINT) from None
        return Spoken(_person(speaker, claims, self._verifier.rules.issuer), int(claims["exp"]) * 1_000_000)

    def _allowed(self, speaker: Speaker, spoken: Spoken, *, own: bool) -> Spoken:
        """With the groups that count: of what the service signs, those that it speaks for. Raises RefusedError."""
        person = self._standing(spoken.person)
        if "*" not in speaker.speaks_for:
            common = tuple(group for group in person.groups if group in speaker.speaks_for)
            if not common:
                raise RefusedError(
                    f"{speaker.service} may not speak for {person.name}",
                    hint="the person must be in one of the groups that the service speaks for",
                )
            if own and common != person.groups:
                person = replace(person, groups=common)
        return spoken if person is spoken.person else Spoken(person, spoken.expires_us)

    def _keep(self, service: str, statement: str, spoken: Spoken) -> Spoken:
        until = min(spoken.expires_us / 1_000_000, time.time() + KEPT_SECONDS)
        self._kept[service, _digest(statement)] = spoken, until
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return spoken


def signed_by_a_service(statement: str) -> bool:
    """Whether it says that it is; nothing is verified. Raises RefusedError where it is no token."""
    try:
        return jwt.get_unverified_header(statement).get("typ") == TYPE
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise RefusedError("the statement of who acts is no token", hint=HINT) from None


def _person(speaker: Speaker, claims: dict[str, Any], issuer: str) -> Person:
    """The issuer is the provider's: it is the same person who signs in there."""
    if claims["exp"] - claims["iat"] > LIFETIME_SECONDS_MAX:
        raise RefusedError("the statement of who acts holds for more than a day", hint="make one for each session")
    subject, name = claims["sub"], claims.get("name") or claims["sub"]
    groups = claims.get("groups", [])
    if not isinstance(name, str) or not subject.strip() or not name.strip() or not claims["jti"].strip():
        raise RefusedError("the statement of who acts names nobody", hint=HINT)
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise RefusedError("the statement's groups aren't a list of names", hint=HINT)
    return Person(subject, name, "person", tuple(groups), issuer, via=speaker.service)


def statement_in_comment(text: str) -> str:
    """The statement in the comment that ends a text (sqlcommenter: `/*key='value',…*/`, URL-encoded), '' for none.

    Raises RefusedError where there are two. Whatever else the comment holds is nobody's business here. Nothing is
    believed because of where it stands: the signature is what counts.
    """
    end = text.rstrip("; \t\r\n")
    if COMMENT_KEY not in end or not end.endswith("*/"):
        return ""
    found = []
    for pair in end[end.rfind("/*") + 2 : -2].split(","):
        key, equals, value = pair.strip().partition("=")
        if equals and unquote(key) == COMMENT_KEY and len(value) >= 2 and value[0] == value[-1] == "'":
            found.append(unquote(value[1:-1]))
    if len(found) > 1:
        raise RefusedError("the comment says twice who acts", hint=HINT)
    return found[0] if found else ""


def _digest(statement: str) -> bytes:
    return hashlib.sha256(statement.encode()).digest()
