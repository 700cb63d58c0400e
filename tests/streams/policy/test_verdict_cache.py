"""The guard remembers verdicts: two requests that must be judged differently never share one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.guard import KEEP, Field, Keep, Request, Verdict
from taprail.streams.policy import guard as module
from taprail.streams.policy.policy import Policy
from taprail.streams.policy.ruling import InForce, PolicySet
from tests.streams.policy.small_world import TABLES, TEXT, catalog, guard, judge, session, snapshot


def essence(verdict: Verdict) -> tuple[Any, ...]:
    """What a tap does with a verdict."""
    plan = verdict.mask
    return (
        verdict.action,
        verdict.rule,
        verdict.mark,
        plan and (plan.clean, plan.width, plan.known),
        verdict.relations,
    )


# Two judgements that differ, by what alone they differ.
PAIRS: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "role": (
        ("SELECT email || '' FROM customers", {"search_path": '"$user", public', "role": "app"}),
        ("SELECT email || '' FROM customers", {"search_path": '"$user", public', "role": "decoy"}),
    ),
    "search_path": (
        ("SELECT email || '' FROM customers", {"search_path": "decoy"}),
        ("SELECT email || '' FROM customers", {"search_path": "public"}),
    ),
    "environment": (("DELETE FROM orders", {}), ("DELETE FROM orders", {"environment": "dev"})),
    "purpose": (("SELECT 1", {"person": "agent"}), ("SELECT 1", {"person": "agent", "purpose": "TICKET-1"})),
    "kind of person": (("SELECT 1", {"person": "agent"}), ("SELECT 1", {"person": "ann"})),
    "groups": (("SELECT email FROM customers", {}), ("SELECT email FROM customers", {"person": "owner"})),
    "DDL in the open transaction": (
        ("SELECT note || '' FROM orders", {}),
        ("SELECT note || '' FROM orders", {"reshaped": True}),
    ),
    "a setting's name": (
        ("SELECT set_config('work_mem', 'x', false)", {}),
        ("SELECT set_config('role', 'x', false)", {}),
    ),
    "a setting's value": (("SET client_encoding = 'UTF8'", {}), ("SET client_encoding = 'SJIS'", {})),
    "EXPLAIN's options": (
        ("EXPLAIN (ANALYZE off) DELETE FROM orders", {}),
        ("EXPLAIN (ANALYZE on) DELETE FROM orders", {}),
    ),
    "a table's name": (("SELECT note || '' FROM peoplelog", {}), ("SELECT email || '' FROM people", {})),
    "a comment that parts a name": (
        ("SELECT upper(note) FROM peoplelog", {}),
        ("SELECT upper(email) FROM people/**/log", {}),
    ),
    "columns in another order": (
        ("SELECT id + 0, upper(email) FROM customers", {}),
        ("SELECT upper(email), id + 0 FROM customers", {}),
    ),
    "quotes that keep capitals": (("SELECT note || '' FROM orders", {}), ("SELECT note || '' FROM \"Orders\"", {})),
    "what was prepared": (
        ("EXECUTE p", {"prepared": {"p": "PREPARE p AS SELECT id FROM orders"}}),
        ("EXECUTE p", {"prepared": {"p": "PREPARE p AS DELETE FROM orders"}}),
    ),
    "what a cursor reads": (
        ("FETCH c", {"cursors": {"c": "DECLARE c CURSOR FOR SELECT id FROM orders"}}),
        ("FETCH c", {}),
    ),
    "what EXPLAIN runs": (
        ("EXPLAIN ANALYZE EXECUTE p", {"prepared": {"p": "PREPARE p AS SELECT id FROM orders"}}),
        ("EXPLAIN ANALYZE EXECUTE p", {"prepared": {"p": "PREPARE p AS DELETE FROM orders"}}),
    ),
}


@pytest.mark.parametrize("turned", [False, True], ids=["as written", "turned round"])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_must_be_judged_differently_is(pair: Any, turned: bool) -> None:
    first, second = reversed(pair) if turned else pair
    by = guard()
    for _ in range(2):  # the second time both are remembered
        found = [essence(judge(by, text, **fields)) for text, fields in (first, second)]
        assert found[0] != found[1]
        assert found == [essence(judge(guard(), text, **fields)) for text, fields in (first, second)]


def test_two_devices_of_a_session_dont_share_a_verdict() -> None:
    """Nothing else differs, the person's own object included, as in sessions that one sign-in opened."""
    known = Policy(
        "known", "A title", "low", "deny", "statement.kind == 'SELECT'", unless="session.device in ['laptop-7']"
    )
    by = module.PolicyGuard(lambda _: catalog(), guard()._settings, in_force=InForce(PolicySet([known])))
    one = session("ann", device="laptop-7")
    for _ in range(2):
        for device, action in (("laptop-7", "allow"), ("", "deny"), ("laptop-8", "deny")):
            for name in ("s-1", f"s-{device}"):  # in the seat that the other had, and in its own
                made = replace(one, device=device, session=name)
                assert by.judge(Request("SELECT id FROM orders", made, "simple")).action == action


def test_databases_are_kept_apart() -> None:
    catalogs = {"shop": catalog(), "copy": catalog({**TABLES, "public.orders": "id integer, email text"})}
    by = module.PolicyGuard(lambda name: catalogs[name], guard()._settings)
    plans = [judge(by, "SELECT * FROM orders", database=name).mask for name in ("shop", "copy", "shop")]
    assert [plan is not None for plan in plans] == [False, True, False]


def test_a_new_epoch_forgets_and_a_catalog_that_is_behind_answers_nothing() -> None:
    known = catalog()
    by = guard(known)
    assert judge(by, "SELECT note FROM orders").mask is None
    known.current = False
    waiting = judge(by, "SELECT note FROM orders")
    assert (waiting.action, waiting.needs_catalog) == ("deny", True)
    known.replace(snapshot({**TABLES, "public.orders": "id integer, note text, email text"}))
    after = judge(by, "SELECT note FROM orders")
    assert after.mask is not None and after.catalog_epoch == 2


def test_a_load_that_saw_nothing_new_keeps_the_epoch() -> None:
    known = catalog()
    known.current = False
    known.replace(snapshot())
    assert (known.epoch, known.current) == (1, True)


@pytest.mark.parametrize("types", [(), (25,), (20,)], ids=["as the server finds them", "text", "bigint"])
def test_a_verdict_does_not_hang_on_what_is_bound(types: tuple[int, ...]) -> None:
    """Bind values and their types come after the verdict's key: nothing that depends on them may be proven clean."""
    by = guard()
    texts = [f"SELECT id + $1{'::int8' if types == (20,) else ''}, concat(email, $1) FROM customers"]
    verdicts = [
        by.judge(Request(text, session(), "extended", parameters))
        for text in texts
        for parameters in ((b"1",), (None,))
    ]
    assert len({essence(v) for v in verdicts}) == 1
    plan = verdicts[0].mask
    assert plan is not None and plan.clean == {0}


def test_literals_of_queries_share_a_verdict_and_those_of_utilities_do_not() -> None:
    by = guard()
    assert judge(by, "SELECT 3 FROM orders") is judge(by, "SELECT 'x' FROM orders")
    assert judge(by, "SHOW a") is judge(by, "SHOW a")
    assert judge(by, "SET a.b = 1") is not judge(by, "SET a.b = 2")


names = st.sampled_from(("orders", "customers", "public.customers", "decoy.customers", "people", "peoplelog", "nobody"))
columns = st.sampled_from(
    ("id", "email", "note", "upper(note)", "lower(email)", "count(*)", "'x'", "*", "email || note")
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "person": st.sampled_from(("ann", "owner", "agent")),
        "environment": st.sampled_from(("prod", "dev")),
        "search_path": st.sampled_from(("public", "decoy, public", "public, decoy", '"$user"')),
        "role": st.sampled_from(("app", "decoy")),
        "purpose": st.sampled_from(("", "TICKET-1")),
        "reshaped": st.booleans(),
    },
)
texts = st.one_of(
    st.builds("SELECT {}, {} FROM {}".format, columns, columns, names),
    st.builds("DELETE FROM {} WHERE id = {}".format, names, st.integers(0, 3)),
    st.builds("UPDATE {} SET note = {}".format, names, columns),
    st.builds("INSERT INTO orders (note) SELECT {} FROM {}".format, columns, names),
    st.builds("SET {} = {}".format, st.sampled_from(("role", "work_mem", "search_path")), st.integers(0, 2)),
    st.builds("COPY {} TO STDOUT".format, names),
)
ONE_FOR_ALL = guard()


@given(st.lists(st.tuples(texts, fields), min_size=1, max_size=8))
def test_a_guard_that_remembers_says_what_a_new_one_says(asked: list[tuple[str, dict[str, Any]]]) -> None:
    for text, given_fields in asked:
        assert essence(judge(ONE_FOR_ALL, text, **given_fields)) == essence(judge(guard(), text, **given_fields))


def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERDICTS_MAX", 10)
    by = guard()
    for number in range(50):
        judge(by, f"SELECT id AS a{number} FROM orders")
        judge(by, f"SET a.b{number} = 1")
    assert by.kept <= 10


def test_a_column_that_came_after_the_catalog_was_read_is_unproven() -> None:
    plan = judge(guard(), "SELECT * FROM customers").mask
    assert plan is not None
    oid = next(oid for oid, relation in snapshot().relations.items() if relation.name == "customers")
    newest = plan.newest[oid]
    shown = [plan.action(Field("x", oid, number, TEXT, 0)) for number in (1, 3, newest, newest + 1, -6, 0)]
    assert [isinstance(action, Keep) for action in shown] == [True, False, False, False, True, False]
    assert plan.action(Field("x", 1, 1, TEXT, 0)) != KEEP
    assert replace(plan, newest={}).action(Field("x", oid, newest + 1, TEXT, 0)) == KEEP
