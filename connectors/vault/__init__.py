"""Secrets from HashiCorp Vault or OpenBao, over their HTTP API: read when a process starts or reloads, kept in memory.

Sources: Vault's HTTP API documentation (KV version 1 and 2, AppRole, Kubernetes, namespaces, status codes).
"""

from __future__ import annotations

import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from msgspec import DecodeError, Struct, json

from taprail.schemas.errors import SettingsError, StackError

REFERENCE = re.compile(r"(?P<path>[A-Za-z0-9_-][A-Za-z0-9_./-]*)#(?P<field>[A-Za-z0-9_.-]+)")
ATTEMPTS, WAIT_SECONDS, TIMEOUT_SECONDS = 3, 0.5, 5.0
ANSWER_BYTES_MAX = 1 << 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_BUSY = (412, 429, 472, 473, 500, 502, 503, 504)  # a standby or a sealed server, or one that is behind


class Login(Struct, frozen=True):
    """How taprail proves itself. `secret` gives the token, the AppRole's secret id, or the service account's JWT.

    mount  where the auth method is mounted
    role   the AppRole's role id, or the name of the Kubernetes role
    """

    method: Literal["token", "approle", "kubernetes"]
    secret: Callable[[], str]
    mount: str = ""
    role: str = ""


class Vault:
    """One server as one namespace sees it. Safe for several threads; no I/O before the first `read`.

    Raises SettingsError for an address without TLS that isn't this machine: a token would cross the net in the clear.
    """

    def __init__(self, address: str, login: Login, *, namespace: str = "", ca_file: str = "") -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"vault.address {address!r} is no address", hint="write https://vault.example.com:8200")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise SettingsError(f"vault.address {address!r} has no TLS", hint="use https, or an agent on this machine")
        self._address, self._login, self._namespace = address.rstrip("/"), login, namespace
        self._tls = ssl.create_default_context(cafile=ca_file or None) if parts.scheme == "https" else None
        self._token = ""
        self._kept: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def read(self, reference: str, setting: str) -> str:
        """The value at `path#field`; `path` is as `vault read` takes it (`secret/data/shop` for KV version 2).

        Read once, then kept: a reload makes a new `Vault`. Raises SettingsError where it isn't there or may not be
        read, StackError where the server doesn't answer.
        """
        match = REFERENCE.fullmatch(reference)
        if match is None or ".." in reference:
            raise SettingsError(
                f"{setting}: {reference!r} is no place in Vault", hint="write vault:secret/data/shop#password"
            )
        path, field = match["path"], match["field"]
        with self._lock:
            if path not in self._kept:
                self._kept[path] = self._read(path, setting)
            fields = self._kept[path]
        value = fields.get(field)
        if not isinstance(value, str) or not value:
            there = ", ".join(sorted(name for name, each in fields.items() if isinstance(each, str))) or "none"
            raise SettingsError(
                f"{setting}: {path} in Vault has no text {field!r}", hint=f"the fields with a text there: {there}"
            )
        return value

    def _read(self, path: str, setting: str) -> Mapping[str, Any]:
        signed_in = bool(self._token)
        self._token = self._token or self._sign_in()
        status, answer = self._ask("GET", path)
        if status == 403 and signed_in:  # the token may have ended meanwhile
            self._token = self._sign_in()
            status, answer = self._ask("GET", path)
        if status == 403:
            hint = "give its policy `read` on this path (KV version 2 has `data/` in it)"
            raise SettingsError(f"{setting}: Vault lets taprail not read {path}", hint=hint)
        if status == 404:
            hint = f"`vault read {path}` must show it; KV version 2 has `data/` in its paths"
            raise SettingsError(f"{setting}: there is nothing at {path} in Vault", hint=hint)
        data = answer.get("data")
        if status != 200 or not isinstance(data, dict):
            raise StackError(
                f"{setting}: Vault answered {status} for {path}{_told(answer)}", hint=f"ask {self._address}"
            )
        inner = data.get("data")
        return inner if isinstance(inner, dict) and isinstance(data.get("metadata"), dict) else data

    def _sign_in(self) -> str:
        """A token. Raises SettingsError where Vault refuses it."""
        login = self._login
        if login.method == "token":
            return login.secret()
        names = ("role_id", "secret_id") if login.method == "approle" else ("role", "jwt")
        body = dict(zip(names, (login.role, login.secret()), strict=True))
        status, answer = self._ask("POST", f"auth/{login.mount or login.method}/login", body)
        auth = answer.get("auth")
        token = auth.get("client_token") if isinstance(auth, dict) else None
        if status != 200 or not isinstance(token, str):
            raise SettingsError(
                f"Vault refuses the sign-in by {login.method} ({status}){_told(answer)}",
                hint="check [vault]: mount, role and the secret",
            )
        return token

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and answer; asks again where the server is busy. Raises StackError where it stays so."""
        headers = {"X-Vault-Request": "true"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        if body is None:
            headers["X-Vault-Token"] = self._token
        data = None if body is None else json.encode(body)
        asked = urllib.request.Request(f"{self._address}/v1/{quote(path)}", data=data, headers=headers, method=method)
        why = ""
        for number in range(ATTEMPTS):
            if number:
                time.sleep(WAIT_SECONDS * number)
            try:
                status, answer = self._once(asked)
            except (OSError, ValueError) as error:
                why = str(getattr(error, "reason", "") or error)
                continue
            if status not in _BUSY:
                return status, answer
            why = f"status {status}{_told(answer)}"
        raise StackError(f"Vault at {self._address} doesn't answer: {why}", hint="is it up, unsealed and reachable?")

    def _once(self, asked: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        """No proxy of the environment, and no redirect: a token goes to nobody but the address that is configured."""
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirect()]
        if self._tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self._tls))
        try:
            with urllib.request.build_opener(*handlers).open(asked, timeout=TIMEOUT_SECONDS) as response:
                return int(response.status), _object(response.read(ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _object(error.read(ANSWER_BYTES_MAX))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.decode(body) if body else {}
    except DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _told(answer: Mapping[str, Any]) -> str:
    """What Vault says is wrong. It never quotes a secret."""
    errors = answer.get("errors")
    texts = [each for each in errors if isinstance(each, str)] if isinstance(errors, list) else []
    return f": {'; '.join(texts)[:300]}" if texts else ""
