"""A small real log: its signer, its entries and their schema, in a temporary directory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from taprail.schemas.ledger import Entry, Header
from taprail.streams.audit import note as notes
from taprail.streams.audit.decode import SchemaBook
from taprail.streams.audit.log import Limits, Log
from taprail.streams.audit.signer import KeySigner, default_state, generate_key

ORIGIN = "audit.example.com"
TOPIC = "taprail.audit"
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "EnrichedStatement",
    "fields": [
        {"name": "tap", "type": "string"},
        {"name": "epoch", "type": "long"},
        {"name": "sequence", "type": "long"},
        {"name": "text", "type": "string"},
    ],
}
PARSED = fastavro.parse_schema(SCHEMA)


def payload(sequence: int, text: str = "select 1", schema_id: int = 7) -> bytes:
    out = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
    out.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(out, PARSED, {"tap": "t1", "epoch": 3, "sequence": sequence, "text": text})
    return out.getvalue()


class World:
    """A directory with a key, and a log of small segments beside it. Kafka offsets are 2 * index: gaps are normal."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "log"
        self.key = root / "log.key"
        self.verifier: notes.Verifier = generate_key(self.key, ORIGIN)
        self.limits = Limits(segment_entries=40, history_us=0)
        self.directory.mkdir()
        self.schema_sha256, self.kind = SchemaBook(self.directory).add(7, json.dumps(SCHEMA))

    def signer(self) -> KeySigner:
        return KeySigner(self.key, default_state(self.key), ORIGIN)

    def open(self) -> Log:
        return Log(self.directory, self.signer(), self.limits)

    def entries(self, first: int, count: int) -> list[Entry]:
        return [
            Entry(Header(TOPIC, 0, 2 * i, 1_000_000 * i, 7, self.schema_sha256, self.kind), payload(i))
            for i in range(first, first + count)
        ]

    def fill(self, *batches: int) -> None:
        """Append and publish batches of these sizes."""
        with self.open() as log:
            for count in batches:
                log.append(self.entries(log.size, count))
                log.publish()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path)
