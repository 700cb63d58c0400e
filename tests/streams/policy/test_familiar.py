"""What each person has used before: kept over restarts, apart by place, and silent while it learns."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from taprail.schemas.guard import SessionContext
from taprail.schemas.records import Person, RelationUse
from taprail.streams.policy import familiar as module
from taprail.streams.policy.changing import Changing
from taprail.streams.policy.familiar import Familiar
from taprail.streams.policy.history import History

CUSTOMERS, ORDERS = RelationUse("public", "customers", "read"), RelationUse("public", "orders", "write")
ANN, EVE = Person("ann", "Ann", "person", (), "i"), Person("eve", "Eve", "person", (), "i")


def at(person: Person = ANN, database: str = "shop") -> SessionContext:
    return SessionContext("s", "t", "prod", "main", database, "app", person, "oidc")


def test_what_somebody_has_used_is_not_new_to_him_there() -> None:
    known = Familiar()
    assert known.new(at(), (CUSTOMERS, ORDERS)) == ["public.customers", "public.orders"]
    known.used(at(), (CUSTOMERS,))
    assert known.new(at(), (CUSTOMERS, ORDERS)) == ["public.orders"]
    assert known.new(at(EVE), (CUSTOMERS,)) == known.new(at(database="other"), (CUSTOMERS,)) == ["public.customers"]


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "familiar"
    first = Familiar(file)
    first.used(at(), (CUSTOMERS,))
    first.used(at(), (CUSTOMERS, ORDERS))
    with file.open("ab") as half_written:
        half_written.write(b"\0\1\2")
    again = Familiar(file)
    assert again.new(at(), (CUSTOMERS, ORDERS)) == []
    assert again.new(at(EVE), (ORDERS,)) == ["public.orders"]
    assert file.stat().st_size == 8 * 3 and file.stat().st_mode & 0o077 == 0


def test_a_new_tap_learns_before_it_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "familiar"
    assert Familiar(file, learning_days=14).new(at(), (CUSTOMERS,)) == []
    later = time.time_ns() + 15 * 86_400 * 10**9
    monkeypatch.setattr(module.time, "time_ns", lambda: later)
    assert Familiar(file, learning_days=14).new(at(), (CUSTOMERS,)) == ["public.customers"]


def test_a_file_that_cannot_be_used_is_told_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "familiar").mkdir()
    known = Familiar(tmp_path / "familiar")
    known.used(at(), (CUSTOMERS,))
    assert known.new(at(), (CUSTOMERS,)) == []
    assert "can't be" in caplog.text


def test_memory_is_bounded_and_says_nothing_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_MAX", 2)
    known = Familiar()
    known.used(at(), (CUSTOMERS, ORDERS))
    assert known.new(at(EVE), (CUSTOMERS,)) == []


def test_it_is_a_fact_of_the_statement() -> None:
    known = Familiar()
    changing = Changing("UTC", History(), familiar=known)
    facts: Any = changing(at(), (CUSTOMERS,))["history"]
    assert list(facts.new_relations) == ["public.customers"]
    known.used(at(), (CUSTOMERS,))
    facts = changing(at(), (CUSTOMERS,))["history"]
    assert list(facts.new_relations) == []
