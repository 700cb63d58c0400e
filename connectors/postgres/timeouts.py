"""How long a session may be idle and a statement may run: looked at from time to time, at no cost for a statement.

`look` is given what a session shows at a moment. As long as that stays the same, the same statement runs, or nothing
does. A statement that waits for an approval, or for the catalog, isn't running.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.session import Session

LOOK_SECONDS = 1.0


class Expired(Struct, frozen=True):
    """`cancel` the statement, or `end` the session with PostgreSQL's own SQLSTATE and words (chapter 19.11)."""

    action: Literal["cancel", "end"]
    sqlstate: str
    text: str


IDLE = Expired("end", "57P05", "terminating connection due to idle-session timeout")
IDLE_IN_TRANSACTION = Expired("end", "25P03", "terminating connection due to idle-in-transaction timeout")
STATEMENT = Expired("cancel", "57014", "canceling statement due to statement timeout")


class Stopwatch:
    """Of one session."""

    __slots__ = ("_limits", "_said", "_seen", "_since")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: tuple[object, ...] = ()
        self._since = 0.0
        self._said = False

    def look(self, session: Session, now: float) -> Expired | None:
        """What has expired at `now` (monotonic seconds); a statement is told of once."""
        seen = (session.progress, session.busy, session.wait is None, session.context.transaction_status)
        if seen != self._seen:
            self._seen, self._since, self._said = seen, now, False
            return None
        if session.wait is not None:
            return None
        limits, status = self._limits, session.context.transaction_status
        if session.busy:
            limit, expired = limits.statement_seconds, STATEMENT
        elif status == "I":
            limit, expired = limits.idle_seconds, IDLE
        else:
            limit, expired = limits.idle_in_transaction_seconds, IDLE_IN_TRANSACTION
        if self._said or not limit or now - self._since < limit:
            return None
        self._said = True
        return expired


def any_limit(limits: Limits) -> bool:
    """Whether there is anything to look at."""
    return bool(limits.idle_seconds or limits.idle_in_transaction_seconds or limits.statement_seconds)
