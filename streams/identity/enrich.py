"""Who it was, as the directory says now, beside what the token said then."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taprail.schemas.control import Identity, SignedRecord, open_signed
from taprail.schemas.errors import SignatureError
from taprail.schemas.records import Enrichment

_log = logging.getLogger("taprail.identity")


class Directory:
    """Identities by subject, from the signed records of `taprail.identities`."""

    def __init__(self, public_keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._public_keys = dict(public_keys)
        self._identities: dict[str, Identity] = {}
        self.refused = 0

    def take(self, record: SignedRecord) -> None:
        """Believe a signed identity; tell of any other record."""
        try:
            if record.kind != "identity":
                raise SignatureError(f"a {record.kind} record stands among the identities")
            identity = open_signed(record, Identity, public_keys=self._public_keys)
        except SignatureError as error:
            self.refused += 1
            _log.error("an identity is not believed: %s", error)
            return
        self._identities[identity.subject] = identity

    def get(self, subject: str) -> Identity | None:
        return self._identities.get(subject)


def enrich(record: Mapping[str, Any], directory: Directory, detections: tuple[str, ...], now_us: int) -> Enrichment:
    """What the stream adds to a tap's record. A person that the directory doesn't know keeps what the token said."""
    person = record["person"]
    identity = directory.get(person["subject"])
    classes = {name for relation in record.get("relations", ()) for name in relation["classes"]}
    return Enrichment(
        directory_name=identity.name if identity else person["name"],
        directory_groups=identity.groups if identity else tuple(person["groups"]),
        directory_active=identity.active if identity else True,
        sensitivity=tuple(sorted(classes)),
        detections=detections,
        enriched_us=now_us,
    )
