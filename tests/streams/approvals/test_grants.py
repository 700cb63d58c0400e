"""What a tap believes of a grant, and what it lets run: this holder, this place, this time, and nothing more."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from msgspec.structs import replace

from taprail.schemas.control import Grant, SignedRecord
from taprail.schemas.guard import Facts, Request, SessionContext, Verdict
from taprail.schemas.records import Person, RelationUse
from taprail.streams.approvals import binding
from taprail.streams.approvals.grants import CURRENT_SECONDS, Grants, leans_on, stands_on
from taprail.streams.keys import ControlKey
from tests.fakes.approvals import AGENT, ANN, BOB, EVE, KEY, PUBLIC_KEYS, STRANGER

CARTS = RelationUse("public", "carts", "write")
CUSTOMERS = RelationUse("public", "customers", "read", ("email",))
ACCESS = Grant("g-1", "access", ANN, "prod", "shop", "because", 1_000_000, 61_000_000, (BOB,), ("data-owners",))


def signed(grant: Grant, with_key: ControlKey = KEY, signed_us: int = 1, **changes: Any) -> SignedRecord:
    return replace(with_key.sign("grant", grant.grant_id, grant, signed_us), **changes)


class Scene:
    """Grants under a clock that a test moves, and who has heard of their end."""

    def __init__(self, *grants: Grant) -> None:
        self.now = 2.0
        self.grants = Grants(PUBLIC_KEYS, frozenset({"tap-1", "tap-1.1"}), lambda: self.now)
        self.ended: list[str] = []
        self.grants.ended = lambda grant: self.ended.append(grant.grant_id)
        self.grants.complete.set()
        self.grants.current()
        for grant in grants:
            self.grants.take(signed(grant))

    def lifts(self, made: Request, said: Verdict) -> str:
        grant = self.grants.lifting(made, said)
        return grant.grant_id if grant is not None else ""


def request(person: Person = ANN, text: str = "DELETE FROM carts", **changes: Any) -> Request:
    place = {"environment": "prod", "server": "main", "database": "shop", "role": "engineer"} | changes
    return Request(text, SessionContext("s-1", "tap-1", person=person, method="oidc", **place), "simple")


def verdict(action: Any = "hold", **changes: Any) -> Verdict:
    made: dict[str, Any] = {"rule": "unbounded-write", "by_policy": True, "own_code": True, "relations": (CARTS,)}
    made["touches"] = frozenset({"public.carts"})
    return Verdict(action, Facts("DELETE", writes=True), "DELETE FROM carts", "f", "v", **(made | changes))


def test_access_lifts_what_a_policy_holds_for_its_holder_there() -> None:
    assert Scene(ACCESS).lifts(request(), verdict()) == "g-1"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (request(EVE), verdict()),
        (request(AGENT), verdict()),
        (request(replace(ANN, issuer="https://other.example")), verdict()),
        (request(replace(ANN, via="a service")), verdict()),
        (request(environment="staging"), verdict()),
        (request(database="other"), verdict()),
        (request(), verdict("deny")),
        (request(), verdict(by_policy=False)),
    ],
)
def test_and_nothing_else(made: Request, said: Verdict) -> None:
    assert Scene(ACCESS).lifts(made, said) == ""


def test_access_to_relations_is_for_statements_that_touch_no_other() -> None:
    scene = Scene(replace(ACCESS, relations=("public.carts",)))
    assert scene.lifts(request(), verdict()) == "g-1"
    assert scene.lifts(request(), verdict(touches=frozenset({"public.carts", "public.customers"}))) == ""
    assert scene.lifts(request(), verdict(touches=frozenset())) == "", "what a DO block touches, nobody knows"
    assert scene.lifts(request(), verdict(own_code=False)) == "", "nor what a function of your own does"


def test_access_to_a_role_gives_the_role_alone() -> None:
    scene = Scene(replace(ACCESS, role="owner"))
    assert scene.lifts(request(), verdict()) == ""
    found = scene.grants.role(ANN, "prod", "shop")
    assert found is not None and found.role == "owner"
    for person, environment, database in ((EVE, "prod", "shop"), (ANN, "dev", "shop"), (ANN, "prod", "other")):
        assert scene.grants.role(person, environment, database) is None
    assert Scene(replace(ACCESS, role="owner", database="")).grants.role(ANN, "prod", "other") is not None
    assert Scene(replace(ACCESS, role="owner", relations=("public.carts",))).grants.role(ANN, "prod", "shop") is None


def test_a_tap_that_has_not_heard_of_kafka_for_a_while_lifts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken back meanwhile would go on counting."""
    scene, now = Scene(ACCESS, replace(ACCESS, grant_id="g-2", role="owner")), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + CURRENT_SECONDS)
    assert scene.lifts(request(), verdict()) == "" and scene.grants.role(ANN, "prod", "shop") is None
    scene.grants.current()
    assert scene.lifts(request(), verdict()) == "g-1" and scene.grants.role(ANN, "prod", "shop") is not None


def test_what_was_taken_back_never_counts_again() -> None:
    """Neither signed later by whoever read it before, nor sent once more under its own key after that was compacted."""
    scene = Scene(ACCESS)
    scene.grants.take(signed(replace(ACCESS, revoked="done"), signed_us=5))
    scene.grants.take(signed(ACCESS, signed_us=9))
    assert scene.lifts(request(), verdict()) == ""
    started_anew = Scene()
    started_anew.grants.take(signed(ACCESS, signed_us=1))
    started_anew.grants.take(KEY.sign("grant", "g-1/revoked", replace(ACCESS, revoked="done"), 5))
    assert started_anew.lifts(request(), verdict()) == "" and started_anew.ended == ["g-1"]
    started_anew.grants.take(KEY.sign("grant", "g-2/revoked", replace(ACCESS, grant_id="g-2"), 6))
    assert started_anew.grants.refused == 1, "only one that was taken back stands there"


def test_an_emergency_lifts_what_a_policy_denies_but_no_safeguard() -> None:
    scene = Scene(replace(ACCESS, kind="break_glass", granted_by=(), review="open"))
    assert scene.lifts(request(), verdict("deny")) == "g-1"
    assert scene.lifts(request(), verdict("deny", by_policy=False)) == ""
    assert scene.lifts(request(EVE), verdict("deny")) == ""


def told(made: Request, said: Verdict, **changes: Any) -> Grant:
    bound = binding.of_retry(made, said)
    return replace(ACCESS, kind="statement", rule="unbounded-write", tap="tap-1", binding=bound, **changes)


def test_a_statement_that_was_told_to_come_again_runs_once_at_any_process_of_its_tap() -> None:
    scene = Scene(told(request(), verdict()))
    assert scene.lifts(request(), verdict(catalog_epoch=99)) == "g-1", "epochs are a process's own"
    scene.grants.is_spent = lambda grant_id: grant_id == "g-1"
    assert scene.lifts(request(), verdict()) == ""


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (request(text="DELETE FROM carts "), verdict()),
        (request(EVE), verdict()),
        (request(role="owner"), verdict()),
        (request(search_path="evil"), verdict()),
        (request(server="other"), verdict()),
        (request(), verdict(relations=(replace(CARTS, schema="evil"),))),
        (request(), verdict(relations=(replace(CARTS, classes=("email",)),))),
        (request(), verdict(rule="another")),
        (request(), verdict("deny")),
    ],
)
def test_and_no_other_statement(made: Request, said: Verdict) -> None:
    assert Scene(told(request(), verdict())).lifts(made, said) == ""


def test_nor_at_another_tap() -> None:
    assert Scene(replace(told(request(), verdict()), tap="tap-2")).lifts(request(), verdict()) == ""


def test_parameters_are_part_of_it() -> None:
    with_one = Request("DELETE FROM carts WHERE id = $1", request().session, "extended", (b"1",))
    for other in ((b"2",), (None,), (b"",), (b"1", b"1"), ()):
        changed = Request(with_one.text, with_one.session, "extended", other)
        assert Scene(told(with_one, verdict())).lifts(changed, verdict()) == ""


def remembered(said: Verdict, **changes: Any) -> Grant:
    bound = binding.of_equals(request(), said)
    return replace(ACCESS, kind="remembered", rule=said.rule, role="engineer", binding=bound, **changes)


def test_a_remembered_one_is_for_whoever_has_the_role_and_equal_statements() -> None:
    said = verdict()
    scene = Scene(remembered(said))
    assert scene.lifts(request(EVE, "DELETE FROM carts"), said) == "g-1"
    other_values = request(EVE, "delete from carts")
    assert scene.lifts(other_values, said) == "g-1", "the normalised text counts"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (request(role="owner"), verdict()),
        (request(AGENT), verdict()),
        (request(), verdict(rule="another")),
        (request(), verdict("deny")),
        (request(search_path="evil"), verdict()),
        (request(), verdict(relations=(replace(CARTS, schema="evil"),))),
        (request(), dataclasses.replace(verdict(), normalized="DELETE FROM users")),
    ],
)
def test_and_for_nothing_else(made: Request, said: Verdict) -> None:
    assert Scene(remembered(verdict())).lifts(made, said) == ""


def test_what_is_no_query_is_equal_to_its_own_text_alone() -> None:
    def grants_user(text: str) -> str:
        facts = Facts("CREATE ROLE", utility=True)
        return binding.of_equals(request(text=text), Verdict("hold", facts, "CREATE ROLE x PASSWORD $1", "f", "v"))

    assert grants_user("CREATE ROLE x PASSWORD 'a'") != grants_user("CREATE ROLE x PASSWORD 'b'")
    for facts in (Facts("DO", opaque=True), Facts("EXECUTE", executes="p"), Facts("FETCH", fetches="c")):
        assert binding.of_equals(request(), Verdict("hold", facts, "x", "f", "v")) == ""
    assert (
        Scene(remembered(Verdict("hold", Facts("DO", opaque=True), "x", "f", "v"))).lifts(
            request(), Verdict("hold", Facts("DO", opaque=True), "x", "f", "v")
        )
        == ""
    ), "no binding is nobody's"


def test_before_its_time_and_after_it_a_grant_is_none() -> None:
    scene = Scene(replace(ACCESS, from_us=100_000_000, until_us=161_000_000))
    for now, expected in ((69.9, ""), (70.0, "g-1"), (160.9, "g-1"), (161.0, "")):
        scene.now = now
        assert scene.lifts(request(), verdict()) == expected
    scene.grants.sweep()
    assert scene.ended == ["g-1"]
    scene.grants.sweep()
    assert scene.ended == ["g-1"]


def test_one_that_is_taken_back_ends_at_once_and_does_not_come_back() -> None:
    scene = Scene()
    scene.grants.take(signed(ACCESS, signed_us=1))
    scene.grants.take(signed(replace(ACCESS, revoked="no more", revoked_by=BOB), signed_us=2))
    assert (scene.ended, scene.lifts(request(), verdict())) == (["g-1"], "")
    scene.grants.take(signed(ACCESS, signed_us=1))
    assert scene.lifts(request(), verdict()) == "", "an older record sent once more"


def test_nothing_is_lifted_before_all_that_was_taken_back_is_known() -> None:
    scene = Scene(ACCESS, replace(ACCESS, grant_id="g-2", role="owner"))
    scene.grants.complete.clear()
    assert scene.lifts(request(), verdict()) == ""
    assert scene.grants.role(ANN, "prod", "shop") is None


@pytest.mark.parametrize(
    "forged",
    [
        signed(ACCESS, ControlKey("control-1", STRANGER)),
        signed(ACCESS, ControlKey("stranger", STRANGER)),
        signed(ACCESS, signature=b""),
        signed(ACCESS, key="g-2"),
        signed(ACCESS, kind="decision"),
        signed(replace(ACCESS, granted_by=())),
        signed(replace(ACCESS, granted_by=(ANN,))),
        signed(replace(ACCESS, granted_by=(BOB, replace(AGENT, kind="person")))),
        signed(replace(ACCESS, kind="break_glass", granted_by=())),
        KEY.sign("decision", "g-1", ACCESS, 1),
        KEY.sign("grant", "g-2", ACCESS, 1),
    ],
)
def test_what_is_forged_or_given_to_oneself_is_not_believed(forged: SignedRecord) -> None:
    scene = Scene()
    scene.grants.take(forged)
    assert (scene.grants.refused, scene.lifts(request(), verdict())) == (1, "")


def test_whose_sessions_end_with_a_grant() -> None:
    session = request().session
    assert not stands_on(ACCESS)(session) and not leans_on(ACCESS)(session)
    session.grant = "g-1"
    session.leans_on.update(("g-0", "g-1", "g-2"))
    assert stands_on(ACCESS)(session) and leans_on(ACCESS)(session)
