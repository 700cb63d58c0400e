"""A server that keeps Vault's rules: tokens, namespaces, policies by path, KV versions 1 and 2, AppRole, Kubernetes."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN, ROLE_ID, SECRET_ID, JWT = "hvs.root", "role-id-1", "secret-id-1", "eyJ.service.account"


class FakeVault:
    """`secrets` by API path; `denied` are paths that no policy allows; `busy` answers so often with this status."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        self.secrets: dict[str, Mapping[str, Any]] = {}
        self.denied: set[str] = set()
        self.tokens = {TOKEN}
        self.busy = (0, 503)
        self.asked: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeVault:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and body, as Vault's HTTP API documents them."""
        self.asked.append((method, path))
        count, status = self.busy
        if count:
            self.busy = (count - 1, status)
            return status, {"errors": ["Vault is sealed"]}
        if headers.get("X-Vault-Namespace", "") != self.namespace:
            return 403, {"errors": ["permission denied"]}
        if path.startswith("auth/"):
            return self._login(method, path, body)
        if headers.get("X-Vault-Token") not in self.tokens or path in self.denied or method != "GET":
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        if path not in self.secrets:
            return 404, {"errors": []}
        return 200, {"request_id": "1", "lease_id": "", "data": self.secrets[path]}

    def _login(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        given = json.loads(body)
        good = {
            "auth/approle/login": {"role_id": ROLE_ID, "secret_id": SECRET_ID},
            "auth/k8s/login": {"role": "taprail", "jwt": JWT},
        }
        if method != "POST" or given != good.get(path):
            return 400, {"errors": ["invalid role or secret ID"]}
        token = f"hvs.{len(self.tokens)}"
        self.tokens.add(token)
        return 200, {"auth": {"client_token": token, "lease_duration": 3600, "renewable": True}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        vault = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = vault.answer(self.command, self.path.removeprefix("/v1/"), self.headers, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _serve

            def log_message(self, *_: object) -> None:
                return None

        return Handler


def version_2(**fields: str) -> dict[str, Any]:
    """What KV version 2 answers in `data`."""
    return {"data": fields, "metadata": {"version": 3, "destroyed": False}}
