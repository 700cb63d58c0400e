"""What an approval binds to: exactly one statement, as it would run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def binding(text: str, parameters: Sequence[bytes | None], role: str, search_path: str, catalog_epoch: int) -> str:
    """SHA-256 in hex over the length-prefixed parts: no two statements share one, however their parts are cut."""
    digest = hashlib.sha256(b"taprail/binding/v1")
    parts: list[bytes | None] = [
        text.encode(),
        role.encode(),
        search_path.encode(),
        str(catalog_epoch).encode(),
        *parameters,
    ]
    digest.update(len(parts).to_bytes(8, "big"))
    for part in parts:
        # NULL isn't the empty string: a length that no value can have stands for it.
        digest.update((-1 if part is None else len(part)).to_bytes(8, "big", signed=True) + (part or b""))
    return digest.hexdigest()
