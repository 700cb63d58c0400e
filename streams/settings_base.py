"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

SecretRef = Annotated[str, Meta(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|vault:[^#]+#[^#]+)$")]
Port = Annotated[int, Meta(ge=0, le=65535)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. An unknown key is an error: a typo must not be a setting that silently does nothing."""
