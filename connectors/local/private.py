"""Files that only we can read, and the passwords in them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from taprail.schemas.errors import StackError


def write_private(path: Path, text: str) -> Path:
    """Write a file of mode 0600, private from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return part.replace(path)


def password(directory: Path, name: str) -> str:
    """The password kept in `directory/name`; generated (192 bits) the first time. StackError if others can read it."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    if path.stat().st_mode & 0o077:
        raise StackError(f"others can read the password in {path}", hint=f"chmod 600 {path}, or delete its folder")
    return path.read_text()
