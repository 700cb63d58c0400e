"""Asks the approvals service as an approver: for the command line and the demo."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

from msgspec import DecodeError, json

from taprail.connectors.http import Answer, request
from taprail.schemas.errors import RefusedError, StackError


class ApprovalsClient:
    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def pending(self, token: str) -> list[dict[str, Any]]:
        """What waits for a decision that this person may take."""
        found: list[dict[str, Any]] = self._ask("GET", "/approvals", token, "approvals")["approvals"]
        return found

    def mine(self, token: str) -> list[dict[str, Any]]:
        """What this person has asked for, with its state."""
        found: list[dict[str, Any]] = self._ask("GET", "/approvals?of=me", token, "approvals")["approvals"]
        return found

    def show(self, token: str, approval_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/approvals/{_quoted(approval_id)}", token, "approval_id")

    def decide(
        self,
        token: str,
        approval_id: str,
        decision: Literal["approve", "deny"],
        reason: str,
        ticket: str = "",
        *,
        remember: bool = False,
    ) -> str:
        """Decide; returns the service's sentence. Raises RefusedError where it says no."""
        body = {"decision": decision, "reason": reason, "ticket": ticket, "remember": "yes" if remember else ""}
        return self._post(f"/approvals/{_quoted(approval_id)}/decision", token, body)

    def withdraw(self, token: str, approval_id: str, reason: str) -> str:
        return self._post(f"/approvals/{_quoted(approval_id)}/withdrawal", token, {"reason": reason})

    def ask_access(self, token: str, wanted: dict[str, str]) -> str:
        """Ask for access, or take it in an emergency; returns the service's sentence. Raises RefusedError."""
        return self._post("/access", token, wanted)

    def grants(self, token: str) -> list[dict[str, Any]]:
        """What this person holds or answers for."""
        found: list[dict[str, Any]] = self._ask("GET", "/access", token, "grants")["grants"]
        return found

    def revoke(self, token: str, grant_id: str, reason: str) -> str:
        return self._post(f"/access/{_quoted(grant_id)}/revocation", token, {"reason": reason})

    def review(self, token: str, grant_id: str, findings: str) -> str:
        return self._post(f"/access/{_quoted(grant_id)}/review", token, {"reason": findings})

    def _post(self, path: str, token: str, body: dict[str, str]) -> str:
        return str(self._ask("POST", path, token, "message", body)["message"])

    def _ask(self, method: str, path: str, token: str, expected: str, body: object = None) -> dict[str, Any]:
        """The answer's object, which has the field `expected`."""
        if not token.isascii() or not token.isprintable():
            raise RefusedError("this is not an access token", hint="get a new token")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": "application/json"}
        payload = None if body is None else json.encode(body)
        try:
            answer = request(self._url + path, method=method, headers=headers, body=payload)
        except OSError as error:
            raise StackError(f"the approvals service at {self._url} doesn't answer: {error}") from error
        decoded = _decode(answer)
        if answer.status >= 400:
            raise RefusedError(str(decoded.get("error", f"status {answer.status}")), hint=str(decoded.get("hint", "")))
        if expected not in decoded:
            raise StackError(f"{self._url} doesn't answer as the approvals service does", hint="is the address right?")
        return decoded


def _quoted(identifier: str) -> str:
    return quote(identifier, safe="")


def _decode(answer: Answer) -> dict[str, Any]:
    try:
        return json.decode(answer.body, type=dict[str, Any])
    except (DecodeError, RecursionError):
        return {"error": f"the approvals service answered with status {answer.status} and no JSON object"}
