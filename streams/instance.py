"""Which of this machine's processes of one role we are: Kafka fences two that give themselves the same name."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taprail.schemas.errors import StackError

INSTANCES_MAX = 64


@contextmanager
def instance(role: str, directory: Path) -> Iterator[str]:
    """The first free name on this machine, ours until the context ends or the process dies, however it dies.

    A process that starts again gets the name that it had, so that it ends at once what it left open in Kafka.
    `directory` is the installation's, whose processes count together. Raises StackError where no name is free.
    """
    place = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:12]
    for number in range(1, INSTANCES_MAX + 1):
        descriptor = _lock(Path(tempfile.gettempdir()) / f"taprail-{role}-{place}-{number}.lock")
        if descriptor is not None:
            try:
                yield f"{socket.gethostname()}-{number}"
            finally:
                os.close(descriptor)
            return
    raise StackError(f"{INSTANCES_MAX} processes of the role {role} run here", hint="end those you don't need")


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None where another process holds it, or it is another user's."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
