"""What each person has done at this tap lately, for policies that look at it.

Each process of a tap counts in a file of its own, which it maps into its memory and finds again after a restart; it
reads those of its siblings, so that a limit is one of the tap. A file names people by a hash only.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from google.protobuf.message import Message

from taprail.schemas.records import Person
from taprail.streams.policy.counts import (
    DENIED,
    KEY_BYTES,
    PERSONS_MAX,
    ROWS,
    STATEMENTS,
    Counts,
    OwnCounts,
    create,
    empty,
    other,
    own,
)
from taprail.streams.policy.descriptor import message_class

_HistoryFacts = message_class("HistoryFacts")
_log = logging.getLogger("taprail.policy")


class History:
    """Counts from a clock in seconds since 1970. Not for several threads. Without a folder it is in memory alone."""

    def __init__(self, clock: Callable[[], float] = time.time, folder: Path | None = None, process: int = 0) -> None:
        self._clock, self._folder, self._name = clock, folder, str(process)
        self._siblings: dict[str, tuple[int, Counts]] = {}  # file's name: its inode, and what it holds
        self._looked = -1
        kept = _kept(folder / self._name) if folder is not None else None
        self._own: OwnCounts = kept or OwnCounts(empty())

    def ran(self, person: Person, rows: int) -> None:
        now, key = int(self._clock()), _key(person.issuer, person.subject)
        self._own.add(key, STATEMENTS, now, 1)
        self._own.add(key, ROWS, now // 60, rows)

    def take(self, person: Person, rows: int, most: int) -> int:
        """How many of `rows` this person may be given where `most` in 60 minutes are allowed; these are counted.

        They are counted first and looked at then: of two processes that do it at once neither overlooks the other.
        """
        now, key = int(self._clock()), _key(person.issuer, person.subject)
        minute = now // 60
        self._own.add(key, ROWS, minute, rows)
        over = sum(counts.total(place, ROWS, minute) for counts, place in self._places(key, now)) - most
        if over <= 0:
            return rows
        back = min(over, rows)
        self._own.add(key, ROWS, minute, -back)
        return rows - back

    def denied(self, person: Person) -> None:
        self._own.add(_key(person.issuer, person.subject), DENIED, int(self._clock()) // 60, 1)

    def facts(self, person: Person) -> Message:
        now = int(self._clock())
        rows = statements = denied = 0
        for counts, place in self._places(_key(person.issuer, person.subject), now):
            rows += counts.total(place, ROWS, now // 60)
            statements += counts.total(place, STATEMENTS, now)
            denied += counts.total(place, DENIED, now // 60)
        return _HistoryFacts(rows_last_hour=rows, statements_last_minute=statements, denied_last_hour=denied)

    def _places(self, key: bytes, now: int) -> Iterator[tuple[Counts, int]]:
        """Where something is counted of this person."""
        if now != self._looked and self._folder is not None:
            self._looked = now
            self._look(self._folder)
        if (place := self._own.place(key)) >= 0:
            yield self._own, place
        for _, counts in self._siblings.values():
            if (place := counts.place(key)) >= 0:
                yield counts, place

    def _look(self, folder: Path) -> None:
        """Siblings come, and what one of them put aside has another file in its place: looked at once a second.

        One that there is no more of counts until its hour is over.
        """
        try:
            found = {entry.name: entry.inode() for entry in os.scandir(folder) if entry.name.isdecimal()}
        except OSError:
            return
        for name, inode in found.items():
            if name != self._name and (name not in self._siblings or self._siblings[name][0] != inode):
                try:
                    self._siblings[name] = inode, other(folder / name)
                except (OSError, ValueError) as error:
                    _log.debug("%s can't be read, which its own process sees to: %s", folder / name, error)


class RowMeter:
    """Implements `Meter` for one person."""

    def __init__(self, history: History, person: Person, most: int) -> None:
        self._history, self._person, self._most = history, person, most

    def take(self, rows: int) -> int:
        return self._history.take(self._person, rows, self._most)


def _kept(file: Path) -> OwnCounts | None:
    """What this process has counted before; None where it can't be kept."""
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            return own(file)
        except FileNotFoundError:
            pass
        except ValueError as error:
            aside = file.with_name(file.name + ".damaged")
            file.replace(aside)
            _log.error("%s: %s; it is put aside as %s, and what people did is counted anew", file, error, aside.name)
        create(file)
        return own(file)
    except OSError as error:
        text = "%s can't be kept: %s; what people do is counted in memory, until this process ends and by it alone"
        _log.error(text, file, error.strerror)
        return None


@lru_cache(PERSONS_MAX)
def _key(issuer: str, subject: str) -> bytes:
    return hashlib.blake2b(f"{issuer}\0{subject}".encode(), digest_size=KEY_BYTES).digest()
