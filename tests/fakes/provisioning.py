"""Identities in memory, changed as the real ones are: decided, signed, taken whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json

from taprail.connectors.scim.schemas import PATCH
from taprail.schemas.control import GROUP_KEY, Group, Identity, SignedRecord, sign
from taprail.streams.identity.roster import Roster
from taprail.streams.identity.scim import Answer, Request, Scim
from taprail.streams.identity.scim_users import SubjectFrom

KEY = Ed25519PrivateKey.generate()
URL = "https://tap.example.com/scim/v2"


class InMemory:
    """Implements `Changes`; `written` are the records of each change."""

    def __init__(self) -> None:
        self.roster = Roster({"control-1": KEY.public_key()})
        self.written: list[list[SignedRecord]] = []
        self.clock = 1_700_000_000_000_000
        self.fails: Exception | None = None

    def change(self, decide: Callable[[Roster], Sequence[Identity | Group]]) -> list[SignedRecord]:
        bodies = decide(self.roster)
        if self.fails is not None:
            raise self.fails
        self.clock += 1
        records = [self._signed(body) for body in bodies]
        for record in records:
            self.roster.take(record)
        self.written.append(records)
        return records

    def _signed(self, body: Identity | Group) -> SignedRecord:
        options: Any = {"private_key": KEY, "key_id": "control-1", "now_us": self.clock}
        if isinstance(body, Group):
            return sign("group", GROUP_KEY + body.group_id, body, **options)
        return sign("identity", body.subject, body, **options)


class Provider:
    """An identity provider that provisions. Answers are (status, body)."""

    def __init__(self, subject_from: SubjectFrom = "externalId") -> None:
        self.memory = InMemory()
        self.scim = Scim(self.memory, subject_from, URL)

    def ask(self, method: str, path: str, body: Any = None, *, raw: bytes = b"", **headers: str) -> Answer:
        """`headers` with underscores; a query may stand in the path."""
        path, _, query = path.partition("?")
        pairs = dict(each.split("=", 1) for each in query.split("&") if each)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.scim.answer(
            Request(method, path, pairs, named, raw or (json.encode(body) if body is not None else b""))
        )

    def user(self, user_name: str = "ann", **attributes: Any) -> str:
        """A user is made; its id."""
        sent = {"userName": user_name, "externalId": f"00u-{user_name}", "active": True} | attributes
        answer = self.ask("POST", "/Users", sent)
        assert answer.status == 201 and answer.body is not None, answer
        return str(answer.body["id"])

    def group(self, name: str, *members: str) -> str:
        sent = {"displayName": name, "members": [{"value": each} for each in members]}
        answer = self.ask("POST", "/Groups", sent)
        assert answer.status == 201 and answer.body is not None, answer
        return str(answer.body["id"])

    def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> Answer:
        return self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)

    def identity(self, subject: str) -> Identity:
        found = self.memory.roster.get(subject)
        assert found is not None
        return found
