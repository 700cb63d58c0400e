"""The schema registry, by its Confluent-compatible API, and the frame that names a schema.

Frame: 00, int32 schema id (big-endian), Avro body. Sources: Confluent wire format; Apicurio Registry, ccompat v7.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from msgspec import DecodeError, json

from taprail.connectors.http import request
from taprail.schemas.errors import RecordError, StackError

FRAME_BYTES = 5


def frame(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big")


def unframe(value: bytes | None) -> tuple[int, bytes]:
    """Schema id and body. Raises RecordError where the value has no frame."""
    if value is None or len(value) < FRAME_BYTES or value[0] != 0:
        raise RecordError(f"{0 if value is None else len(value)} bytes have no Confluent frame")
    return int.from_bytes(value[1:FRAME_BYTES], "big"), value[FRAME_BYTES:]


class Registry:
    """`url` is the registry's own, without a path. Answers are remembered: an id never changes its meaning."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/apis/ccompat/v7"
        self._ids: dict[str, int] = {}
        self._texts: dict[int, str] = {}

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """The id of this schema under this subject, registered where it is new. Raises StackError."""
        text = json.encode(schema).decode()
        key = f"{subject}\n{text}"
        if key not in self._ids:
            body = json.encode({"schema": text, "schemaType": "AVRO"})
            answer = self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", body)
            self._ids[key] = int(answer["id"])
        return self._ids[key]

    def text(self, schema_id: int) -> str:
        """The schema with this id, as JSON text. Raises StackError where there is none, or nobody answers."""
        if schema_id not in self._texts:
            self._texts[schema_id] = str(self._ask("GET", f"/schemas/ids/{schema_id}")["schema"])
        return self._texts[schema_id]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        try:
            answer = request(self._url + path, method=method, body=body, headers=headers)
        except OSError as error:
            raise StackError(
                f"the schema registry doesn't answer at {self._url}: {error}", hint="`taprail status` says what runs"
            ) from error
        try:
            decoded: dict[str, Any] = json.decode(answer.body)
        except DecodeError:
            decoded = {}
        if answer.status != 200:
            told = decoded.get("message", "no reason given")
            raise StackError(f"the schema registry refused {path}: status {answer.status}, {told}")
        return decoded
