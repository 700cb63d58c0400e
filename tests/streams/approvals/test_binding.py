"""What an approval binds to: exactly this, in this place, asked of these; or all that are equal to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.postgres.scripts import scripts
from taprail.schemas.guard import Facts, Request, SessionContext, Verdict
from taprail.schemas.records import Demand, PolicyMatch, RelationUse, Terms
from taprail.streams.approvals.binding import binding, of_equals, of_retry, of_run
from tests.fakes.approvals import ANN

TEXT = "DELETE FROM carts WHERE owner = $1"
CARTS = RelationUse("public", "carts", "write")
PREPARED = {"p": "PREPARE p AS UPDATE carts SET note = 'x' WHERE id = 1"}


def request(
    text: str = TEXT, parameters: tuple[bytes | None, ...] = (b"ann", None), role: str = "engineer",
    search_path: str = "public", prepared: dict[str, str] | None = None,
) -> Request:  # fmt: skip
    session = SessionContext("s", "tap-1", "prod", "main", "shop", role, ANN, "oidc", search_path=search_path)
    session.prepared = prepared or {}
    return Request(text, session, "extended", parameters)


def verdict(**changes: Any) -> Verdict:
    made = Verdict("hold", Facts("DELETE"), TEXT, "f", "v", 3, rule="unbounded-write", approvers=("leads",))
    return replace(made, **{"relations": (CARTS,), **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"text": TEXT + " "},
        {"text": TEXT + " OR true"},
        {"parameters": (b"bob", None)},
        {"parameters": (b"ann", b"")},
        {"parameters": (b"ann",)},
        {"parameters": (None, b"ann")},
        {"role": "admin"},
        {"search_path": "evil, public"},
    ],
)
def test_an_approval_binds_to_what_was_asked(change: dict[str, Any]) -> None:
    for of in (of_run, of_retry):
        assert of(request(), verdict()) != of(request(**change), verdict())
        assert of(request(), verdict()) == of(request(), verdict())


def test_one_that_waits_binds_to_the_catalog_one_that_comes_again_to_what_its_names_stand_for() -> None:
    newer, other = verdict(catalog_epoch=4), replace(verdict(), relations=(RelationUse("b", "carts", "write"),))
    assert of_run(request(), newer) != of_run(request(), verdict())
    assert of_retry(request(), newer) == of_retry(request(), verdict())
    assert of_retry(request(), other) != of_retry(request(), verdict())


_parts = st.tuples(
    st.text(max_size=8),
    st.lists(st.none() | st.binary(max_size=4), max_size=3).map(tuple),
    st.text(max_size=4),
    st.text(max_size=4),
)


@given(_parts, _parts, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_two_requests_share_a_binding_only_if_they_are_the_same(one: Any, other: Any, first: int, second: int) -> None:
    same = binding(request(*one), verdict(), first) == binding(request(*other), verdict(), second)
    assert same == ((one, first) == (other, second))


def test_parts_cannot_be_moved_into_each_other() -> None:
    asked = [("a", (b"b",), "c", "d"), ("a", (), "bc", "d"), ("ab", (), "c", "d"), ("a", (b"b", None), "c", "d")]
    assert len({of_run(request(*each), verdict()) for each in [*asked, ("a", (b"b", b""), "c", "d")]}) == 5


@pytest.mark.parametrize(
    ("facts", "name"), [(Facts("EXECUTE", executes="p"), "prepared"), (Facts("FETCH", fetches="p"), "cursors")]
)
def test_what_execute_and_fetch_stand_for_is_part_of_it(facts: Facts, name: str) -> None:
    said, other = verdict(facts=facts), {"p": "PREPARE p AS UPDATE carts SET total = 0"}
    one, two = request("EXECUTE p"), request("EXECUTE p")
    setattr(one.session, name, PREPARED)
    setattr(two.session, name, other)
    for of in (of_run, of_retry):
        assert of(one, said) != of(two, said)


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "another"},
        {"approvers": ("security",)},
        {"terms": Terms(quorum=2)},
        {"terms": Terms(ticket=True)},
        {"terms": Terms(also=(Demand(("security",)),))},
        {"matched": (PolicyMatch("payroll", "hold", "high", "Payroll"),)},
    ],
)
def test_it_counts_as_long_as_the_same_is_asked(change: dict[str, Any]) -> None:
    """Another policy that holds it as well, or one that wants more, makes it another request."""
    for of in (of_retry, of_equals):
        assert of(request(), verdict()) != of(request(), verdict(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"terms": Terms("retry")},
        {"terms": Terms(grant_seconds=60, remember_seconds=60)},
        {"matched": (PolicyMatch("payroll", "hold", "high", "Payroll", True),)},
        {"matched": (PolicyMatch("bulk", "alert", "low", "Bulk"),)},
    ],
)
def test_how_it_waits_and_who_is_only_told_isnt_asked(change: dict[str, Any]) -> None:
    for of in (of_retry, of_equals):
        assert of(request(), verdict()) == of(request(), verdict(**change))


class Judged:
    def __init__(self, text: str, path: str, *relations: RelationUse) -> None:
        self.request = request(text, (), search_path=path)
        self.verdict = replace(verdict(), relations=relations)


def test_each_statement_of_a_script_binds_to_the_path_that_it_would_run_under() -> None:
    """`UPDATE t` after SET search_path means another table, even where the script's relations are the same ones."""
    a, b = RelationUse("a", "t", "write"), RelationUse("b", "t", "write")
    approved = [Judged("UPDATE a.t", "a", a), Judged("UPDATE b.t", "a", b), Judged("UPDATE t", "a", a)]
    moved = [*approved[:2], Judged("UPDATE t", "b", b)]
    elsewhere = [*approved[:2], Judged("UPDATE t", "b", a)]
    bound = [of_retry(s.request, s.verdict) for each in (approved, moved, elsewhere) for s in scripts(each)]
    assert len(set(bound)) == 3
