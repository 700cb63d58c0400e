"""What the envelope of a statement's values holds. Not compiled: msgspec reads the types of these classes."""

from __future__ import annotations

from msgspec import Struct


class Cut(Struct, frozen=True):
    """A text or a Bind value too large to be kept: its size in bytes, and its SHA-256 in hex."""

    size: int
    sha256: str


class Values(Struct, frozen=True, omit_defaults=True):
    """What an envelope of a statement holds: the text as it was sent, and the Bind values, None for NULL.

    Of a text that is too large `text` is the beginning, and `whole` tells what all of it was.
    """

    text: str
    parameters: tuple[bytes | Cut | None, ...]
    whole: Cut | None = None


class Hashes(Struct, frozen=True):
    """The same where values are only hashed (`Sealer.hash`): equal ones can be found, and none can be read."""

    text: str
    parameters: tuple[str | None, ...]
