"""Records of a change feed: Confluent framing and Avro off, event and row key out.

Schemas come from a function from id to text (a registry's client), and each is asked for once. No I/O of its own.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import fastavro
import msgspec
from msgspec import Struct

from taprail.connectors.debezium.envelope import Event, read
from taprail.schemas.errors import RecordError

FRAME = struct.Struct(">bI")  # Confluent wire format: 00, int32 schema id, Avro body
_NUMBERS = ("int", "long", "float", "double")
_UUID = "io.debezium.data.Uuid"


class KeyPart(Struct, frozen=True):
    """A column of a row's key. `clear`: a number or a UUID by its schema, so not text, date or time."""

    column: str
    value: Any
    clear: bool


class FeedRecord(Struct, frozen=True):
    event: Event
    key: tuple[KeyPart, ...] = ()


class FeedDecoder:
    """Decodes records of `cdc.*` topics, with each schema parsed once."""

    def __init__(self, schema_text: Callable[[int], str]) -> None:
        self._schema_text = schema_text
        self._parsed: dict[int, Any] = {}
        self._clear: dict[int, frozenset[str]] = {}

    def decode(self, key: bytes | None, value: bytes | None) -> FeedRecord:
        """Raises RecordError where the bytes are no framed Avro of a Debezium event; the registry's errors pass."""
        if value is None:
            return FeedRecord(read(None))
        event = read(self._decode(value)[1])
        if key is None or not hasattr(event, "table"):
            return FeedRecord(event)
        schema_id, columns = self._decode(key)
        clear = self._clear_columns(schema_id)
        return FeedRecord(event, tuple(KeyPart(name, part, name in clear) for name, part in columns.items()))

    def _decode(self, framed: bytes) -> tuple[int, dict[str, Any]]:
        if len(framed) < FRAME.size or framed[0] != 0:
            raise RecordError(
                f"{len(framed)} bytes have no Confluent frame",
                hint="the connector's converter must be Avro with as-confluent",
            )
        schema_id = FRAME.unpack_from(framed)[1]
        parsed = self._parsed.get(schema_id)
        if parsed is None:
            parsed = self._parsed[schema_id] = fastavro.parse_schema(msgspec.json.decode(self._schema_text(schema_id)))
        try:
            decoded = fastavro.schemaless_reader(io.BytesIO(memoryview(framed)[FRAME.size :]), parsed, None)
        except (EOFError, IndexError, ValueError, TypeError, KeyError, OverflowError, StopIteration) as error:
            raise RecordError(f"{len(framed)} bytes don't fit schema {schema_id}: {error}") from error
        if not isinstance(decoded, dict):
            raise RecordError(f"schema {schema_id} isn't a record", hint="the connector's converter must be Avro")
        return schema_id, decoded

    def _clear_columns(self, schema_id: int) -> frozenset[str]:
        known = self._clear.get(schema_id)
        if known is None:
            fields = self._parsed[schema_id]["fields"]
            known = self._clear[schema_id] = frozenset(f["name"] for f in fields if _is_clear(f["type"]))
        return known


def _is_clear(avro_type: Any) -> bool:
    """Dates and times are numbers in Avro, too, and a date of birth is nobody's row id: their `connect.name` tells."""
    if isinstance(avro_type, list):
        return all(_is_clear(t) for t in avro_type if t != "null")
    if isinstance(avro_type, dict):
        name = avro_type.get("connect.name")
        if name is None and "logicalType" not in avro_type:
            return _is_clear(avro_type["type"])
        return name == _UUID
    return avro_type in _NUMBERS
