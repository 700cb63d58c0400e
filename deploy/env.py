"""Make .env with the secrets of docker-compose.yml: `python3 deploy/env.py`. The standard library is enough.

Every name in .env.example gets a random value. A value that stands in .env already is kept, so the command may be run
again when a release asks for a new name.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent


def names(example: str) -> list[str]:
    """The variables of .env.example, in its order."""
    return [line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")]


def values(text: str) -> dict[str, str]:
    """The variables of a .env file that have a value."""
    pairs = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs if value}


def new_value(name: str) -> str:
    """32 bytes in hex for a key, 192 bits that are safe in any file for a password."""
    return secrets.token_hex(32) if name.endswith("_KEY") else secrets.token_urlsafe(24)


def main(home: Path = HOME) -> int:
    target = home / ".env"
    kept = values(target.read_text()) if target.exists() else {}
    wanted = names((home / ".env.example").read_text())
    lines = [f"{name}={kept.get(name) or new_value(name)}" for name in wanted]
    lines += [f"{name}={value}" for name, value in kept.items() if name not in wanted]
    part = target.with_name(".env.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    part.replace(target)
    print(f"{target}: {len(lines)} secrets, {len(kept)} of them kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
