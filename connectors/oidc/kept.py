"""A person's sign-in on the person's own machine: a file that nobody else can read.

It stands in `$XDG_STATE_HOME/taprail` (XDG Base Directory Specification; `~/.local/state` where that isn't set), one
for each profile. A file that others could have read or written is refused, as ssh refuses such a key.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, field

from taprail.connectors.oidc.device import Client, Granted
from taprail.schemas.errors import RefusedError, SettingsError

_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")


class Kept(Struct, frozen=True):
    """Where somebody has signed in, what that gave, and which tap it is for."""

    client: Client
    granted: Granted
    host: str = "127.0.0.1"
    port: int = 6432
    sslmode: str = "verify-full"
    ca_file: str = field(default="")


def path_of(profile: str) -> Path:
    """The profile's file. Raises SettingsError on a name that could be a path."""
    if not _PROFILE.match(profile):
        raise SettingsError(f"{profile!r} can't be a profile's name", hint="use letters, digits, dots and hyphens")
    said = os.environ.get("XDG_STATE_HOME", "")
    state = Path(said) if said.startswith("/") else Path.home() / ".local" / "state"  # relative ones are ignored
    return state / "taprail" / f"{profile}.json"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One program at a time: a refresh token that is used twice may end the whole sign-in (RFC 9700, section 4.14)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(path: Path) -> Kept | None:
    """What is kept, None where nobody has signed in. Raises RefusedError where others could get at the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"can't read {path}: {error.strerror}", hint="`taprail login` makes it") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise RefusedError(
                f"{path} isn't only yours: somebody else may have read the tokens in it",
                hint="`taprail logout`, then `taprail login`",
            )
        raw = file.read()
    try:
        return msgspec.json.decode(raw, type=Kept)
    except msgspec.MsgspecError as error:
        raise RefusedError(f"{path} is damaged", hint="`taprail logout`, then `taprail login`") from error


def write(path: Path, kept: Kept) -> None:
    """Replace the file at once: whoever reads it sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(kept))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
