"""What a session was told when it ended.

libpq takes an error right behind ReadyForQuery for a notice, since nothing is being waited for; what was asked
next then only finds the connection closed. So the words are looked for in both places.
"""

from __future__ import annotations

from typing import Any

import psycopg


class LastWords:
    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self._noticed: list[str] = []
        session.add_notice_handler(lambda told: self._noticed.append(told.message_primary or ""))

    def with_error(self, error: BaseException) -> str:
        return "\n".join([str(error), *self._noticed])
