"""Who it was, as the directory says now, beside what the token said then.

`enrich` says what the stream adds to a record; `enrich_encoded` gives its Avro body, from parts that it remembers.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import fastavro
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import MsgspecError

from taprail.schemas import avro
from taprail.schemas.control import Identity, SignedRecord, open_signed
from taprail.schemas.errors import SignatureError
from taprail.schemas.records import Enrichment

_log = logging.getLogger("taprail.identity")


class Directory:
    """Identities by subject, from the signed records of `taprail.identities`."""

    def __init__(self, public_keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._public_keys = dict(public_keys)
        self._identities: dict[str, Identity] = {}
        self._signed_us: dict[str, int] = {}
        self.refused = 0

    def take(self, record: SignedRecord) -> Identity | None:
        """Believe a signed identity, and return it; tell of any other record. One that is older than what is known,
        sent once more, undoes nothing. Groups say nothing of anybody: each identity names its own."""
        if record.kind == "group":
            return None
        try:
            if record.kind != "identity":
                raise SignatureError(f"a {record.kind} record stands among the identities")
            identity = open_signed(record, Identity, public_keys=self._public_keys)
            if identity.subject != record.key:
                raise SignatureError(f"the identity {identity.subject!r} stands under the key {record.key!r}")
        except (SignatureError, MsgspecError) as error:
            self.refused += 1
            _log.error("an identity is not believed: %s", error)
            return None
        if record.signed_us < self._signed_us.get(identity.subject, 0):
            return None
        self._identities[identity.subject], self._signed_us[identity.subject] = identity, record.signed_us
        return identity

    def all(self) -> list[Identity]:
        return [self._identities[subject] for subject in sorted(self._identities)]

    def get(self, subject: str) -> Identity | None:
        return self._identities.get(subject)


def enrich(record: Mapping[str, Any], directory: Directory, detections: tuple[str, ...], now_us: int) -> Enrichment:
    """What the stream adds to a tap's record. A person that the directory doesn't know keeps what the token said."""
    return Enrichment(*_who(record, directory), _sensitivity(record), detections, now_us)


def enrich_encoded(record: Mapping[str, Any], directory: Directory, detections: tuple[str, ...], now_us: int) -> bytes:
    """The Avro body of what `enrich` gives: its fields' encodings, one after the other."""
    return (
        _encoded_who(*_who(record, directory)) + _encoded_what(_sensitivity(record), detections) + _encoded_when(now_us)
    )


def _who(record: Mapping[str, Any], directory: Directory) -> tuple[str, tuple[str, ...], bool]:
    person = record["person"]
    identity = directory.get(person["subject"])
    if identity is None:
        return person["name"], tuple(person["groups"]), True
    return identity.name, identity.groups, identity.active


def _sensitivity(record: Mapping[str, Any]) -> tuple[str, ...]:
    classes = {name for relation in record.get("relations", ()) for name in relation["classes"]}
    return tuple(sorted(classes)) if classes else ()


@lru_cache(maxsize=4096)
def _encoded_who(name: str, groups: tuple[str, ...], active: bool) -> bytes:
    return _encoded(directory_name=name, directory_groups=groups, directory_active=active)


@lru_cache(maxsize=4096)
def _encoded_what(sensitivity: tuple[str, ...], detections: tuple[str, ...]) -> bytes:
    return _encoded(sensitivity=sensitivity, detections=detections)


@lru_cache(maxsize=2)  # one time for each batch
def _encoded_when(enriched_us: int) -> bytes:
    return _encoded(enriched_us=enriched_us)


def _encoded(**fields: Any) -> bytes:
    """Fields of the enrichment that follow one another in its schema, in that order."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _schema_of(tuple(fields)), fields)
    return out.getvalue()


@lru_cache
def _schema_of(names: tuple[str, ...]) -> Any:
    schema = avro.schema_of(Enrichment)
    kept = [field for field in schema["fields"] if field["name"] in names]
    return fastavro.parse_schema({**schema, "name": f"Enrichment_{names[0]}", "fields": kept})
