"""What the envelope of a statement's values holds. Not compiled: msgspec reads the types of these classes."""

from __future__ import annotations

from msgspec import Struct


class Cut(Struct, frozen=True):
    """A Bind value too large to be kept: its size in bytes, and its SHA-256 in hex."""

    size: int
    sha256: str


class Values(Struct, frozen=True):
    """What an envelope of a statement holds: the text as it was sent, and the Bind values, None for NULL."""

    text: str
    parameters: tuple[bytes | Cut | None, ...]


class Hashes(Struct, frozen=True):
    """The same where values are only hashed (`Sealer.hash`): equal ones can be found, and none can be read."""

    text: str
    parameters: tuple[str | None, ...]
