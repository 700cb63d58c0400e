"""An identity provider for development: oidc-provider-mock on loopback, with JWT access tokens (RFC 9068).

The mock lets anybody who reaches its port sign in as anybody, and change anybody's claims. It is for this machine, for
tests and the demo, and never for data that matters. Its own access tokens are opaque; ours are signed JWTs.

As a program: `python -m taprail.connectors.local.identity PORT KEY_FILE`.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.parse
import uuid
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from taprail.connectors.http import answers_200, post_form
from taprail.connectors.local.device import add_device_flow
from taprail.connectors.local.ports import LOOPBACK
from taprail.connectors.local.private import write_private
from taprail.connectors.local.process import Child
from taprail.schemas.errors import StackError

AUDIENCE = "taprail"
KEY_ID = "taprail-local"
TOKEN_LIFETIME_S = 3600
# The people of the demo: their claims go into their access tokens.
PEOPLE: dict[str, dict[str, Any]] = {
    "ann": {"email": "ann@example.com", "name": "Ann", "groups": ["engineers"]},
    "bob": {"email": "bob@example.com", "name": "Bob", "groups": ["data-owners", "approvers"]},
    "eve": {"email": "eve@example.com", "name": "Eve", "groups": []},
    "agent": {"name": "Support agent", "groups": ["agents"], "actor_type": "agent"},
}
_REDIRECT = "http://127.0.0.1/callback"


class Identity:
    """The provider as a child process; `url` is its issuer. Its key is kept, so tokens outlive a restart."""

    def __init__(self, home: Path, port: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        self.url = f"http://{LOOPBACK}:{port}"
        key_file = home / "signing-key.pem"
        if not key_file.exists():
            write_private(key_file, _new_key())
        self.child = Child(
            "identity provider",
            [sys.executable, "-m", "taprail.connectors.local.identity", str(port), key_file],
            log=home.parent / "logs" / "identity.log",
            env={**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"},  # plain HTTP, on loopback
        )

    def start(self, timeout_s: float = 30.0) -> None:
        """Start, and wait until its discovery document answers."""
        self.child.start()
        self.child.wait_ready(lambda: answers_200(f"{self.url}/.well-known/openid-configuration"), timeout_s)


def access_token(issuer_url: str, subject: str, *, client_id: str = "psql", scope: str = "openid profile email") -> str:
    """Sign in as `subject` and fetch an access token (authorization code grant, RFC 6749 section 4.1).

    A JWT of type `at+jwt`, RS256, with iss, aud `taprail`, sub, client_id, scope, iat, exp, jti and the user's claims.
    To give a user other claims, PUT them as JSON to `<issuer>/users/<subject>` first.
    """
    query = {"response_type": "code", "client_id": client_id, "redirect_uri": _REDIRECT, "scope": scope}
    answer = post_form(f"{issuer_url}/oauth2/authorize?{urllib.parse.urlencode(query)}", {"sub": subject})
    location = urllib.parse.urlparse(answer.location)
    codes = urllib.parse.parse_qs(location.query).get("code", [])
    if answer.status != 302 or not codes:
        raise StackError(f"{issuer_url} did not sign {subject} in: status {answer.status}", hint="is it our mock?")
    form = {"grant_type": "authorization_code", "code": codes[0], "redirect_uri": _REDIRECT, "client_id": client_id}
    tokens = post_form(f"{issuer_url}/oauth2/token", {**form, "client_secret": "any"})
    if tokens.status != 200:
        raise StackError(f"{issuer_url} gave no token for {subject}: {tokens.body[:200]!r}", hint="see its log")
    return str(msgspec.json.decode(tokens.body)["access_token"])


def claims_of_token(issuer: str, subject: str, client_id: str, scope: str, claims: dict[str, Any]) -> dict[str, Any]:
    """The payload of an access token (RFC 9068, section 2.2). The registered claims can't be overridden."""
    now = int(time.time())
    return {
        **claims,
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": subject,
        "client_id": client_id,
        "scope": scope,
        "iat": now,
        "exp": now + TOKEN_LIFETIME_S,
        "jti": str(uuid.uuid4()),
    }


def _new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def application(issuer: str, key_pem: str) -> Any:
    """The mock's Flask application, with our access tokens and our key beside its own in the key set."""
    import flask
    import oidc_provider_mock

    key = serialization.load_pem_private_key(key_pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)

    def token(client: Any, grant_type: str, user: Any, scope: str) -> str:
        claims = claims_of_token(issuer, user.sub, client.get_client_id(), scope or "", user.claims)
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": KEY_ID, "typ": "at+jwt"})

    app = flask.Flask("taprail-identity")
    app.config["OAUTH2_ACCESS_TOKEN_GENERATOR"] = token
    app.secret_key = os.urandom(16)
    plain_wsgi = app.wsgi_app
    users = [oidc_provider_mock.User(sub=name, claims=claims) for name, claims in PEOPLE.items()]
    oidc_provider_mock.init_app(app, user_claims=users)
    # The mock wraps its application in werkzeug's debugger, which runs code for whoever finds its console.
    app.debug, app.wsgi_app = False, plain_wsgi  # type: ignore[method-assign]
    mocks_own_keys = app.view_functions["oidc-provider-mock.jwks"]

    def jwks() -> Any:
        ours = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        others = flask.make_response(mocks_own_keys()).get_json()["keys"]
        return flask.jsonify({"keys": [{**ours, "kid": KEY_ID, "use": "sig", "alg": "RS256"}, *others]})

    app.view_functions["oidc-provider-mock.jwks"] = jwks
    add_device_flow(app, list(PEOPLE))
    return app


def main(argv: list[str]) -> None:
    """Serve the provider on loopback until this process is ended."""
    from werkzeug.serving import make_server

    port, key_file = int(argv[1]), Path(argv[2])
    app = application(f"http://{LOOPBACK}:{port}", key_file.read_text())
    make_server(LOOPBACK, port, app, threaded=True).serve_forever()


if __name__ == "__main__":
    main(sys.argv)
