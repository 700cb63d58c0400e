"""What each person has done at this tap lately, for policies that look at it. In memory, of this process alone."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from google.protobuf.message import Message

from taprail.schemas.records import Person
from taprail.streams.policy.descriptor import message_class

PERSONS_MAX = 10_000  # the one who was longest away is forgotten first
MINUTES = SECONDS = 60
_HistoryFacts = message_class("HistoryFacts")


class _Window:
    """Counts in `slots` slots of time, the newest included."""

    def __init__(self, slots: int) -> None:
        self._counts, self._newest = [0] * slots, 0

    def add(self, slot: int, count: int) -> None:
        self._turn(slot)
        self._counts[slot % len(self._counts)] += count

    def total(self, slot: int) -> int:
        self._turn(slot)
        return sum(self._counts)

    def _turn(self, slot: int) -> None:
        for passed in range(max(self._newest + 1, slot - len(self._counts) + 1), slot + 1):
            self._counts[passed % len(self._counts)] = 0
        self._newest = max(self._newest, slot)


class _Lately:
    def __init__(self) -> None:
        self.rows, self.denied, self.statements = _Window(MINUTES), _Window(MINUTES), _Window(SECONDS)


class History:
    """Counts from a clock in seconds. Not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._persons: OrderedDict[tuple[str, str], _Lately] = OrderedDict()

    def ran(self, person: Person, rows: int) -> None:
        now, lately = int(self._clock()), self._of(person)
        lately.statements.add(now, 1)
        lately.rows.add(now // 60, rows)

    def take(self, person: Person, rows: int, most: int) -> int:
        """How many of `rows` this person may be given where `most` in 60 minutes are allowed; these are counted."""
        minute, window = int(self._clock()) // 60, self._of(person).rows
        given = max(0, min(rows, most - window.total(minute)))
        window.add(minute, given)
        return given

    def denied(self, person: Person) -> None:
        self._of(person).denied.add(int(self._clock()) // 60, 1)

    def facts(self, person: Person) -> Message:
        now, lately = int(self._clock()), self._of(person)
        return _HistoryFacts(
            rows_last_hour=lately.rows.total(now // 60),
            statements_last_minute=lately.statements.total(now),
            denied_last_hour=lately.denied.total(now // 60),
        )

    def _of(self, person: Person) -> _Lately:
        key = (person.issuer, person.subject)
        found = self._persons.get(key)
        if found is None:
            found = self._persons[key] = _Lately()
            while len(self._persons) > PERSONS_MAX:
                self._persons.popitem(last=False)
        else:
            self._persons.move_to_end(key)
        return found


class RowMeter:
    """Implements `Meter` for one person."""

    def __init__(self, history: History, person: Person, most: int) -> None:
        self._history, self._person, self._most = history, person, most

    def take(self, rows: int) -> int:
        return self._history.take(self._person, rows, self._most)
