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

    def show(self, token: str, approval_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/approvals/{quote(approval_id, safe='')}", token, "approval_id")

    def decide(
        self, token: str, approval_id: str, decision: Literal["approve", "deny"], reason: str, ticket: str = ""
    ) -> str:
        """Decide; returns the service's sentence. Raises RefusedError where it says no."""
        body = {"decision": decision, "reason": reason, "ticket": ticket}
        answer = self._ask("POST", f"/approvals/{quote(approval_id, safe='')}/decision", token, "message", body)
        return str(answer["message"])

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


def _decode(answer: Answer) -> dict[str, Any]:
    try:
        return json.decode(answer.body, type=dict[str, Any])
    except (DecodeError, RecursionError):
        return {"error": f"the approvals service answered with status {answer.status} and no JSON object"}
