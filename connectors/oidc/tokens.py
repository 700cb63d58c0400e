"""An access token becomes a person: JWT per RFC 9068, our audience, the provider's keys.

Errors name the claim that failed and never repeat the token.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import jwt
from msgspec import Struct

from taprail.connectors.oidc.keys import ProviderKeys
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Person

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")
LEEWAY_SECONDS = 30
TOKEN_BYTES_MAX = 16 << 10
HINT = "get a new token and use it as the password"
Kind = Literal["person", "service", "agent"]


class TokenRules(Struct, frozen=True):
    """What a token must be, and which of its claims say what."""

    issuer: str
    audience: str
    groups_claim: str = "groups"
    kind_claim: str = "actor_type"
    agent_clients: tuple[str, ...] = ()
    require_at_jwt: bool = True
    leeway_seconds: int = LEEWAY_SECONDS
    subject_claim: str = "sub"
    device_claim: str = ""


class Token(Struct, frozen=True):
    """A verified token. `expires_us` is when it stops to hold, microseconds since 1970 UTC.

    device  the one that the person signed in from, as the provider names it; "" where it doesn't
    """

    person: Person
    token_id: str
    expires_us: int
    device: str = ""


class TokenVerifier:
    def __init__(self, rules: TokenRules, keys: ProviderKeys | None = None) -> None:
        self.rules = rules
        self.keys = keys or ProviderKeys(rules.issuer)

    async def verify(self, token: str) -> Token:
        """Raises RefusedError where the token doesn't hold."""
        size = len(token.encode(errors="surrogatepass"))
        if size > TOKEN_BYTES_MAX:
            raise RefusedError(f"a token of {size} bytes is refused unread", hint=HINT)
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise RefusedError("the password is not an access token (JWT)", hint=HINT) from None
        self._check_header(header)
        key = await self.keys.key(str(header.get("kid", "")))
        claims = self._claims(token, key)
        for name in ("sub", "jti"):  # PyJWT asks that they are there, not that they say something
            if not claims[name].strip():
                raise RefusedError(f"the token's claim {name!r} is blank", hint=HINT)
        expires_us = int(claims["exp"]) * 1_000_000
        return Token(self._person(claims), str(claims["jti"]), expires_us, self._device(claims))

    def _check_header(self, header: dict[str, Any]) -> None:
        if header.get("alg") not in ALGORITHMS:
            raise RefusedError(f"the token's algorithm {header.get('alg')!r} isn't accepted", hint=HINT)
        kind = str(header.get("typ", "")).lower()
        if self.rules.require_at_jwt and kind not in ACCESS_TOKEN_TYPES:
            raise RefusedError(
                f"the token's type is {kind!r}, not at+jwt: it isn't an access token (RFC 9068)",
                hint="use the access token, not the ID token; or set identity.require_at_jwt = false",
            )

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self.rules.audience,
                issuer=self.rules.issuer,
                leeway=self.rules.leeway_seconds,
                options={"require": ["iss", "exp", "aud", "sub", "iat", "jti"]},
            )
        except jwt.ExpiredSignatureError:
            raise RefusedError("the token has expired", hint=HINT) from None
        except jwt.InvalidAudienceError:
            raise RefusedError(
                f"the token isn't for {self.rules.audience!r} (aud)", hint="ask for our audience"
            ) from None
        except jwt.InvalidIssuerError:
            raise RefusedError(f"the token isn't from {self.rules.issuer} (iss)", hint=HINT) from None
        except jwt.MissingRequiredClaimError as error:
            raise RefusedError(f"the token lacks the claim {error.claim!r}", hint=HINT) from None
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise RefusedError(f"the token doesn't hold: {type(error).__name__}", hint=HINT) from None

    def _person(self, claims: dict[str, Any]) -> Person:
        subject = claims.get(self.rules.subject_claim)
        if not isinstance(subject, str) or not subject.strip():
            raise RefusedError(
                f"the token lacks the claim {self.rules.subject_claim!r}, which says who it is", hint=HINT
            )
        name = str(claims.get("preferred_username") or claims.get("email") or claims.get("name") or subject)
        groups = claims.get(self.rules.groups_claim) or []
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise RefusedError(f"the token's claim {self.rules.groups_claim!r} isn't a list of names", hint=HINT)
        kind = self._kind(claims)
        if "act" not in claims:
            return Person(subject, name, kind, tuple(groups), self.rules.issuer)
        actor = _actor(claims["act"])
        return Person(actor, actor, "agent", tuple(groups), self.rules.issuer, subject)

    def _device(self, claims: dict[str, Any]) -> str:
        """One that isn't said is ""; what is said and names none is not taken for that."""
        name = self.rules.device_claim
        if not name or name not in claims:
            return ""
        device = claims[name]
        if not isinstance(device, str) or not device.strip():
            raise RefusedError(
                f"the token's claim {name!r} names no device",
                hint="it must be a text, or left out; identity.device_claim says which claim it is",
            )
        return device

    def _kind(self, claims: dict[str, Any]) -> Kind:
        kind = claims.get(self.rules.kind_claim, "person")
        if kind not in ("person", "service", "agent"):
            raise RefusedError(f"the token says it is for a {kind!r}", hint="it must be a person, service or agent")
        if any(claims.get(name) in self.rules.agent_clients for name in ("client_id", "azp")):  # Keycloak says `azp`
            return "agent"
        return cast(Kind, kind)


def _actor(claim: object) -> str:
    """Who uses the subject's rights (RFC 8693, section 4.1). One who isn't named is not taken for the subject."""
    actor = claim.get("sub") if isinstance(claim, dict) else None
    if not isinstance(actor, str) or not actor.strip():
        raise RefusedError("the token's claim 'act' doesn't say who acts", hint="it must be an object with a 'sub'")
    return actor
