"""The facts that change from statement to statement: what time it is, and what somebody has done before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from google.protobuf.message import Message

from taprail.schemas.guard import Meter, SessionContext
from taprail.schemas.records import Person, RelationUse
from taprail.streams.policy.descriptor import message_class
from taprail.streams.policy.familiar import Familiar
from taprail.streams.policy.history import History, RowMeter

_NowFacts, _EstimateFacts = message_class("NowFacts"), message_class("EstimateFacts")


def estimate_facts(expected: int) -> Message:
    """What the planner expects, as a number of rows; negative where it couldn't be asked."""
    return _EstimateFacts(known=expected >= 0, rows=max(expected, 0))


def now_facts(at: datetime) -> Message:
    """Of a time with its zone."""
    return _NowFacts(
        hour=at.hour, minute=at.minute, weekday=at.isoweekday(), date=at.date().isoformat(), zone=str(at.tzinfo or "")
    )


class Changing:
    """Gives both; the time in a person's own zone, as far as it is known, made once a minute for each zone."""

    def __init__(
        self,
        zone: str,
        history: History,
        clock: Callable[[], float] = time.time,
        zone_of: Callable[[Person], str] = lambda person: "",
        familiar: Familiar | None = None,
    ) -> None:
        self._familiar = familiar or Familiar()
        self._zone, self._history, self._clock, self._zone_of = zone, history, clock, zone_of
        self._minute = -1
        self._now: dict[str, Message] = {}

    def __call__(self, session: SessionContext, relations: Sequence[RelationUse] = ()) -> dict[str, Message]:
        """For a statement of this session that touches these relations."""
        person = session.person
        minute = int(self._clock()) // 60
        if minute != self._minute:
            self._minute = minute
            self._now.clear()
        zone = self._zone_of(person) or self._zone
        now = self._now.get(zone)
        if now is None:
            now = self._now[zone] = now_facts(datetime.fromtimestamp(minute * 60, self._known(zone)))
        history: Any = self._history.facts(person)
        if relations:
            history.new_relations.extend(self._familiar.new(session, relations))
        return {"now": now, "history": history}

    def meter(self, person: Person, most: int) -> Meter:
        """Counts the rows that this person is given, of which there may be `most` in 60 minutes."""
        return RowMeter(self._history, person, most)

    def _known(self, zone: str) -> ZoneInfo:
        """What a provider says that is no zone isn't the person's: the installation's is taken."""
        try:
            return ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            return ZoneInfo(self._zone)
