"""The device grant (RFC 8628) for the development identity provider, which doesn't have it: Authlib's, put into it.

Like the provider itself it lets anybody sign in as anybody: `GET /oauth2/device` shows a form, `POST` decides.
"""

from __future__ import annotations

import html
import time
from typing import Any

CODE_PATH, PAGE_PATH = "/oauth2/device_authorization", "/oauth2/device"
LIFETIME_S, INTERVAL_S = 600, 1
_PAGE = """<!doctype html><title>Sign in</title><form method="post">
<p>Code <input name="user_code" value="{code}" autofocus></p><p>Person <input name="sub" list="people"></p>
<datalist id="people">{people}</datalist>
<button name="action" value="allow">Sign in</button> <button name="action" value="deny">Refuse</button></form>"""


class Devices:
    """What was asked for, by device code and user code, and what somebody decided on it."""

    def __init__(self) -> None:
        self.by_device: dict[str, dict[str, Any]] = {}
        self.decided: dict[str, tuple[str, bool]] = {}  # user code -> (subject, whether it was allowed)

    def waiting(self, user_code: str) -> bool:
        found = [each for each in self.by_device.values() if each["user_code"] == user_code]
        return any(each["expires_at"] > time.time() for each in found)


def add_device_flow(app: Any, people: list[str]) -> None:
    """Give the mock's Flask application the endpoint, the page and the grant."""
    import flask
    from oidc_provider_mock._app import RefreshTokenGrant
    from oidc_provider_mock._storage import Client

    RefreshTokenGrant.TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]
    devices = Devices()
    endpoint, grant = _parts(devices)
    Client.GRANT_TYPES_SUPPORTED = (*Client.GRANT_TYPES_SUPPORTED, grant.GRANT_TYPE)
    Client.SCOPES_SUPPORTED = (*Client.SCOPES_SUPPORTED, "offline_access")
    registered: list[bool] = []

    def register() -> None:
        if not registered:  # the mock shows its server to requests only
            registered.append(True)
            flask.g._authlib_authorization_server.register_grant(grant)
            flask.g._authlib_authorization_server.register_endpoint(endpoint)

    def begin() -> Any:
        return flask.g._authlib_authorization_server.create_endpoint_response(endpoint.ENDPOINT_NAME)

    def page() -> str:
        options = "".join(f'<option value="{html.escape(each)}">' for each in people)
        return _PAGE.format(code=html.escape(flask.request.args.get("user_code", "")), people=options)

    def decide() -> Any:
        code, subject = flask.request.form.get("user_code", ""), flask.request.form.get("sub", "")
        allowed = flask.request.form.get("action") != "deny"
        if not devices.waiting(code) or (allowed and not subject):
            return "no such code, or no person", 400
        devices.decided[code] = subject, allowed
        return "done: go back to your terminal"

    app.before_request(register)
    views, name = app.view_functions, "oidc-provider-mock"
    plain, tokens = views[f"{name}.openid_config"], views[f"{name}.issue_token"]

    def metadata() -> Any:
        shown = flask.make_response(plain()).get_json()
        return flask.jsonify({**shown, "device_authorization_endpoint": flask.request.host_url.rstrip("/") + CODE_PATH})

    def token() -> Any:  # the mock's own knows its two grants only
        ours = flask.request.form.get("grant_type") == grant.GRANT_TYPE
        return flask.g._authlib_authorization_server.create_token_response() if ours else tokens()

    views[f"{name}.openid_config"], views[f"{name}.issue_token"] = metadata, token
    app.add_url_rule(CODE_PATH, "device.begin", begin, methods=["POST"])
    app.add_url_rule(PAGE_PATH, "device.page", page, methods=["GET"])
    app.add_url_rule(PAGE_PATH, "device.decide", decide, methods=["POST"])


def _parts(devices: Devices) -> tuple[Any, Any]:
    """Authlib's endpoint and grant with our memory."""
    import flask
    from authlib.oauth2 import rfc8628  # type: ignore[import-untyped,unused-ignore]
    from oidc_provider_mock import User

    class Endpoint(rfc8628.DeviceAuthorizationEndpoint):  # type: ignore[misc,unused-ignore]
        EXPIRES_IN, INTERVAL = LIFETIME_S, INTERVAL_S

        def get_verification_uri(self) -> str:
            return flask.request.host_url.rstrip("/") + PAGE_PATH

        def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
            expires = time.time() + LIFETIME_S
            credential = {**data, "client_id": client_id, "scope": scope, "expires_at": expires, "asked": 0.0}
            devices.by_device[data["device_code"]] = credential

    class Grant(rfc8628.DeviceCodeGrant):  # type: ignore[misc,unused-ignore]
        def query_device_credential(self, device_code: str) -> Any:
            found = devices.by_device.get(device_code)
            return None if found is None else rfc8628.DeviceCredentialDict(found)

        def query_user_grant(self, user_code: str) -> tuple[Any, bool] | None:
            decided = devices.decided.get(user_code)
            if decided is None:
                return None
            storage = flask.g.oidc_provider_mock_storage
            subject, allowed = decided
            return storage.get_user(subject) or User(sub=subject, claims={"email": subject}), allowed

        def should_slow_down(self, credential: dict[str, Any]) -> bool:
            known = devices.by_device[credential["device_code"]]
            before, known["asked"] = float(known["asked"]), time.time()
            return time.time() - before < INTERVAL_S * 0.9

    return Endpoint, Grant
