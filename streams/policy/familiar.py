"""Which relations each person has used at this tap before: for policies that look at what is new.

A number of 64 bits for each person, place and relation, in memory and at the end of a file, so that a restart doesn't
make everything new. Whoever reads the file (0600) learns nothing by it that he couldn't guess.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from taprail.schemas.guard import SessionContext
from taprail.schemas.records import RelationUse

KNOWN_MAX = 2_000_000  # 16 MB of file; beyond it nothing is new any more
_NUMBER = struct.Struct("<Q")
_DAY_US = 24 * 3600 * 1_000_000
_log = logging.getLogger("taprail.policy")


class Familiar:
    """Not for several threads. `file` None keeps it in memory alone. The file begins with when it was made (us)."""

    def __init__(self, file: Path | None = None, learning_days: int = 0) -> None:
        self._file = file
        self._known: set[int] = set()
        self._since_us = time.time_ns() // 1000
        if file is not None:
            self._load(file)
        self._learns_until_us = self._since_us + learning_days * _DAY_US

    def used(self, session: SessionContext, relations: Iterable[RelationUse]) -> None:
        """Remember that this person has used these."""
        numbers = {_number(session, use) for use in relations}
        new = numbers - self._known
        if not new or len(self._known) >= KNOWN_MAX:
            return
        self._known |= new
        self._append(b"".join(map(_NUMBER.pack, new)))

    def new(self, session: SessionContext, relations: Iterable[RelationUse]) -> list[str]:
        """Names of those that this person has never used here; none while it still learns, or has learnt too much."""
        if time.time_ns() // 1000 < self._learns_until_us or len(self._known) >= KNOWN_MAX:
            return []
        return list(dict.fromkeys(str(use) for use in relations if _number(session, use) not in self._known))

    def _load(self, file: Path) -> None:
        try:
            held = file.read_bytes()
        except FileNotFoundError:
            held = b""
        except OSError as error:
            _log.error("%s can't be read, so everything is new to this tap: %s", file, error.strerror)
            return
        whole = held[: len(held) - len(held) % _NUMBER.size]  # the last one may be half written
        numbers = [number for (number,) in _NUMBER.iter_unpack(whole)]
        if numbers:
            self._since_us, self._known = numbers[0], set(numbers[1:])
        if len(whole) != len(held) or not numbers:
            self._rewrite(file)

    def _rewrite(self, file: Path) -> None:
        try:
            file.touch(0o600)
            file.write_bytes(_NUMBER.pack(self._since_us) + b"".join(map(_NUMBER.pack, self._known)))
        except OSError as error:
            _log.error("%s can't be written: %s", file, error.strerror)

    def _append(self, numbers: bytes) -> None:
        if self._file is None:
            return
        try:
            with self._file.open("ab") as file:
                file.write(numbers)
        except OSError as error:  # it is known while this process lives
            _log.error("%s can't be written: %s", self._file, error.strerror)


def _number(session: SessionContext, use: RelationUse) -> int:
    person = session.person
    said = (person.issuer, person.subject, session.environment, session.server, session.database, str(use))
    return _NUMBER.unpack(hashlib.blake2b("\0".join(said).encode(), digest_size=8).digest())[0]  # type: ignore[no-any-return]
