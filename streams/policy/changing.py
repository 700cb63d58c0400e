"""The facts that change from statement to statement: what time it is, and what somebody has done before."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from google.protobuf.message import Message

from taprail.schemas.records import Person
from taprail.streams.policy.descriptor import message_class
from taprail.streams.policy.history import History

_NowFacts, _EstimateFacts = message_class("NowFacts"), message_class("EstimateFacts")


def estimate_facts(expected: int) -> Message:
    """What the planner expects, as a number of rows; negative where it couldn't be asked."""
    return _EstimateFacts(known=expected >= 0, rows=max(expected, 0))


def now_facts(at: datetime) -> Message:
    return _NowFacts(hour=at.hour, minute=at.minute, weekday=at.isoweekday(), date=at.date().isoformat())


class Changing:
    """Gives both; the time in one zone, made once a minute."""

    def __init__(self, zone: str, history: History, clock: Callable[[], float] = time.time) -> None:
        self._zone, self._history, self._clock = ZoneInfo(zone), history, clock
        self._minute, self._now = -1, _NowFacts()

    def __call__(self, person: Person) -> dict[str, Message]:
        minute = int(self._clock()) // 60
        if minute != self._minute:
            at = datetime.fromtimestamp(minute * 60, self._zone)
            self._now = now_facts(at)
            self._minute = minute
        return {"now": self._now, "history": self._history.facts(person)}
