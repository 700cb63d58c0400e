"""Reading payloads offline: the Avro schemas that the log has met lie beside it, and their hashes are in the leaves.

`schemas/<id>.avsc` holds a schema's text as the registry gave it. A registry that was made anew may give an id to
another schema: that one becomes `schemas/<id>-<start of its hash>.avsc`. An entry names its schema by the hash.
"""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path
from typing import Any

import fastavro
import msgspec

from taprail.schemas.errors import RecordError
from taprail.schemas.ledger import NO_SCHEMA, UNKNOWN_KIND, Header
from taprail.streams.audit.segment import write_durably

FOLDER = "schemas"
FRAME_BYTES = 5  # Confluent framing: a zero byte and the schema's id, big-endian
ENRICHED = "Enriched"


class SchemaBook:
    """The schemas of one log, by the SHA-256 of their text."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / FOLDER
        self._parsed: dict[bytes, Any] = {}
        self._names: dict[bytes, str] = {}
        for path in sorted(self._folder.glob("*.avsc")):
            self._load(path.read_bytes(), path.name)

    def add(self, schema_id: int, text: str) -> tuple[bytes, str]:
        """Keep a schema, durably; returns its hash and the kind of the records that it describes.

        Raises RecordError where the text is no Avro schema.
        """
        data = text.encode()
        digest = sha256(data).digest()
        if digest not in self._parsed:
            parsed = _parse(data, f"schema {schema_id}")
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{schema_id}.avsc"
            if path.exists():
                path = self._folder / f"{schema_id}-{digest.hex()[:12]}.avsc"
            write_durably(path, data)
            self._parsed[digest], self._names[digest] = parsed, path.name
        return digest, kind_of(self._parsed[digest])

    def schema(self, header: Header) -> Any:
        """The parsed schema of an entry. Raises RecordError where the book hasn't got it."""
        found = self._parsed.get(header.schema_sha256)
        if found is None:
            unknown = header.schema_sha256 == NO_SCHEMA
            reason = "was unknown when it was taken in" if unknown else "is missing or changed"
            raise RecordError(
                f"the schema {header.schema_id} of {header.topic}/{header.partition}/{header.offset} {reason}",
                hint=f"put the schema with SHA-256 {header.schema_sha256.hex()} into {self._folder}",
            )
        return found

    def decode(self, header: Header, payload: bytes) -> dict[str, Any]:
        """The record of an entry as plain values. Raises RecordError where it can't be decoded."""
        schema = self.schema(header)
        try:
            value = fastavro.schemaless_reader(io.BytesIO(payload[FRAME_BYTES:]), schema, None)
        except Exception as error:  # fastavro raises what its parts raise; a payload may be anything
            place = f"{header.topic}/{header.partition}/{header.offset}"
            raise RecordError(f"{place} isn't a record of schema {header.schema_id}: {error!r}") from error
        return value if isinstance(value, dict) else {"value": value}

    def _load(self, data: bytes, name: str) -> None:
        try:
            parsed = _parse(data, name)
        except RecordError:
            return  # an entry that needs it says that it is missing or changed
        digest = sha256(data).digest()
        self._parsed[digest], self._names[digest] = parsed, name


def kind_of(schema: Any) -> str:
    """`EnrichedStatement` -> `statement`, `AcceptedMark` -> `accepted_mark`: what the views are named after."""
    name = schema.get("name", "") if isinstance(schema, dict) else ""
    name = name.rpartition(".")[2].removeprefix(ENRICHED)
    kind = "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))
    return kind if kind.isidentifier() and kind.isascii() and len(kind) <= 100 else UNKNOWN_KIND


def statement_of(record: dict[str, Any]) -> str:
    """`tap/epoch/sequence` of the statement that a record belongs to; '' where it names none."""
    tap, epoch = record.get("tap"), record.get("statement_epoch", record.get("epoch"))
    sequence = record.get("statement_sequence", record.get("sequence"))
    return f"{tap}/{epoch}/{sequence}" if tap and epoch is not None and sequence is not None else ""


def _parse(data: bytes, name: str) -> Any:
    try:
        return fastavro.parse_schema(msgspec.json.decode(data))
    except Exception as error:  # fastavro's own errors have no common base
        raise RecordError(f"{name} is no Avro schema: {error!r}") from error
