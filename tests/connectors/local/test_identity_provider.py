"""The development identity provider: access tokens as RFC 9068 wants them."""

from __future__ import annotations

import json

import jwt
import pytest

from taprail.connectors.http import request
from taprail.connectors.local.identity import AUDIENCE, access_token
from taprail.schemas.endpoints import Endpoints


def verified(stack: Endpoints, token: str) -> dict[str, object]:
    keys = json.loads(request(f"{stack.issuer_url}/jwks").body)["keys"]
    key = next(key for key in keys if key.get("kid") == jwt.get_unverified_header(token)["kid"])
    return jwt.decode(token, jwt.PyJWK(key).key, algorithms=["RS256"], audience=AUDIENCE, issuer=stack.issuer_url)


def test_token_is_a_signed_jwt_of_the_person(stack: Endpoints) -> None:
    token = access_token(stack.issuer_url, "ann", client_id="notebook")
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    claims = verified(stack, token)
    assert (claims["sub"], claims["client_id"], claims["groups"]) == ("ann", "notebook", ["engineers"])
    assert {"iss", "aud", "exp", "iat", "jti", "scope"} <= claims.keys()


def test_claims_can_be_given_but_not_the_registered_ones(stack: Endpoints) -> None:
    body = json.dumps({"groups": ["night-shift"], "sub": "root", "aud": "other", "exp": 1}).encode()
    headers = {"Content-Type": "application/json"}
    assert request(f"{stack.issuer_url}/users/nina", method="PUT", body=body, headers=headers).status == 204
    claims = verified(stack, access_token(stack.issuer_url, "nina"))
    assert (claims["sub"], claims["groups"]) == ("nina", ["night-shift"])


def test_each_token_has_its_own_id(stack: Endpoints) -> None:
    tokens = [verified(stack, access_token(stack.issuer_url, "bob"))["jti"] for _ in range(2)]
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize("path", ["/console", "/?__debugger__=yes&cmd=resource&f=debugger.js"])
def test_the_mocks_debugger_is_gone(stack: Endpoints, path: str) -> None:
    answer = request(stack.issuer_url + path)
    assert b"debugger" not in answer.body.lower()


def test_key_set_holds_no_private_part(stack: Endpoints) -> None:
    keys = json.loads(request(f"{stack.issuer_url}/jwks").body)["keys"]
    assert not [name for key in keys for name in ("d", "p", "q") if name in key]
