"""`taprail.person` is the tap's word to the server: no statement of a client sets, resets or shadows it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from taprail.schemas.guard import Catalog, Request, SessionContext
from taprail.schemas.records import Person
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.guard import PolicyGuard


class Empty:
    """A catalog of a database without tables."""

    epoch, current = 1, True

    def resolve(self, *_: Any) -> None:
        return None

    def candidates(self, *_: Any) -> tuple[()]:
        return ()

    def callable(self, _: str) -> bool:
        return False

    def runs_code(self, _: str) -> bool:
        return False

    def named(self, _: str) -> bool:
        return False

    def by_oid(self, _: int) -> None:
        return None

    def volatile(self, _: str) -> bool:
        return True

    def builtin(self, _: str) -> bool:
        return True

    def sensitive(self) -> dict[tuple[int, int], str]:
        return {}

    def oids(self) -> frozenset[int]:
        return frozenset()

    def newest(self) -> dict[int, int]:
        return {}


@pytest.mark.parametrize(
    "text",
    [
        "SET taprail.person = 'x'",
        "SET LOCAL taprail.person TO 'x'",
        "SET SESSION Taprail.Person = 'x'",
        'SET "taprail"."person" = \'x\'',
        'SET "TAPRAIL"."PERSON" = \'x\'',
        "SET taprail.person FROM CURRENT",
        "RESET taprail.person",
        "SELECT set_config('taprail.person', 'x', false)",
        "SELECT pg_catalog.set_config('TAPRAIL.PERSON', 'x', true)",
        "SELECT set_config('taprail' || '.person', 'x', false)",
        "WITH a AS (SELECT set_config('taprail.person', 'x', false)) SELECT * FROM a",
        "EXPLAIN ANALYZE SELECT set_config('taprail.person', 'x', false)",
        "PREPARE p AS SELECT set_config('taprail.person', 'x', false)",
        "COPY (SELECT set_config('taprail.person', 'x', false)) TO STDOUT",
        "ALTER ROLE app SET taprail.person = 'x'",
        "ALTER DATABASE shop SET taprail.person = 'x'",
    ],
)
def test_no_statement_sets_it(text: str) -> None:
    session = SessionContext("s", "t", "dev", "main", "shop", "app", Person("ann", "Ann", "person"), "oidc")
    guard = PolicyGuard(lambda _: cast(Catalog, Empty()), RuleSettings())
    verdict = guard.judge(Request(text, session, "simple"))
    assert verdict.action == "deny", text
    assert "person" in verdict.reason or "set_config" in verdict.reason or "other sessions" in verdict.reason
