"""Who acts, said statement by statement in a comment: judged, recorded and approved as that person's."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Literal, cast

import jwt
import pytest

from taprail.connectors.oidc.tokens import TokenRules, TokenVerifier
from taprail.connectors.postgres.proxy import Hooks
from taprail.schemas.errors import RefusedError, SpoolError
from taprail.schemas.guard import Facts, Part, Release, Request, Result, SessionContext, Ticket, Verdict
from taprail.schemas.records import Person
from taprail.streams.identity import speaking
from taprail.streams.identity.speaking import SpeakingRecorder, listening
from taprail.streams.identity.speaks_for import OURSELVES, TYPE, Speaker, Speakers, Spoken
from taprail.streams.policy import sql

KEY = "k" * 32
SERVICE = Person("superset", "superset", "service", ("services",), OURSELVES)


class Inner:
    """A guard that allows everything, a recorder and a gate; all remember what they were asked."""

    def __init__(self) -> None:
        self.judged: list[Request] = []
        self.written: list[Request] = []
        self.ended: list[Request] = []
        self.asked: list[Request] = []

    def split(self, text: str) -> tuple[Part, ...]:
        return sql.split(text)

    def judge(self, request: Request) -> Verdict:
        self.judged.append(request)
        return Verdict("allow", Facts("SELECT"), request.text, "", "")

    def lifted(self, request: Request, verdict: Verdict) -> Verdict:
        return verdict

    def statement(self, request: Request, verdict: Verdict, *, approval: str = "", held_sequence: int = 0) -> Ticket:
        self.written.append(request)
        return Ticket(1, len(self.written), "", 0)

    def outcome(self, ticket: Ticket, request: Request, verdict: Verdict, result: Result) -> None:
        self.ended.append(request)

    def spend(self, approval: str) -> None:
        raise AssertionError

    def session(self, context: SessionContext, event: Literal["opened", "closed", "refused"], reason: str = "") -> None:
        raise AssertionError

    async def catalog(self, request: Request) -> None:
        raise AssertionError

    async def recorded(self, durability: Any) -> None:
        raise AssertionError

    async def approval(
        self, request: Request, verdict: Verdict, ticket: Ticket, requests: tuple[Request, ...] = ()
    ) -> Release:
        self.asked.append(request)
        return Release(True)


class Tap:
    def __init__(self) -> None:
        verifier = TokenVerifier(TokenRules("https://idp.example", "taprail", leeway_seconds=0))
        speakers = {
            "superset": Speaker("superset", ("analysts",), KEY.encode()),
            "reports": Speaker("reports", (), KEY.encode()),
        }
        self.inner = Inner()
        self.plain = Hooks(cast(Any, None), cast(Any, None), self.inner, self.inner, self.inner)
        self.speakers = Speakers(speakers, verifier)
        hooks = listening(self.plain, self.speakers)
        self.guard, self.recorder, self.gate = hooks.guard, cast(SpeakingRecorder, hooks.recorder), hooks.gate


@pytest.fixture
def tap() -> Tap:
    return Tap()


def signed(seconds: int = 300, typ: str = TYPE, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": "superset", "aud": "taprail", "sub": "ann", "iat": now, "exp": now + seconds}
    claims |= {"jti": str(uuid.uuid4()), "groups": ["analysts"]} | changes
    return jwt.encode(claims, KEY, algorithm="HS256", headers={"typ": typ})


def request(statement: str, person: Person = SERVICE) -> Request:
    session = SessionContext("s", "tap-1", "test", "main", "shop", "app", person, "certificate", device="sha256:bi")
    return Request(f"SELECT 1 /*action='x',taprail_person='{statement}'*/", session, "simple")


async def test_one_statement_is_the_named_persons_from_its_judgement_to_its_outcome(tap: Tap) -> None:
    said = request(signed())
    verdict = tap.guard.judge(said)
    ticket = tap.recorder.statement(said, verdict)
    assert (await tap.gate.approval(said, verdict, ticket)).approved
    tap.recorder.outcome(ticket, said, verdict, Result("ok"))
    found = [*tap.inner.judged, *tap.inner.written, *tap.inner.asked, *tap.inner.ended]
    assert [(r.session.person.subject, r.session.person.via) for r in found] == [("ann", "superset")] * 4
    assert {r.session.person.groups for r in found} == {("analysts",)}
    assert {r.session.device for r in found} == {"sha256:bi"}, "the service's"
    assert said.session.person is SERVICE, "the session itself stays the service's"
    assert tap.recorder._running == {}


def test_the_next_statement_is_the_next_persons_or_the_services_own(tap: Tap) -> None:
    plain = Request("SELECT 1", request("").session, "simple")
    for each in (request(signed()), request(signed(sub="bob")), plain):
        tap.guard.judge(each)
    assert [r.session.person.subject for r in tap.inner.judged] == ["ann", "bob", "superset"]
    assert tap.inner.judged[2] is plain


@pytest.mark.parametrize(
    ("say", "why"),
    [  # said when the test runs, for it ends
        (lambda: "forged", "no token"),
        (lambda: signed(iss="reports"), "InvalidIssuer"),
        (lambda: signed(seconds=-1), "expired"),
        (lambda: signed(groups=["owners"]), "may not speak for ann"),
        (lambda: signed(typ="at+jwt"), "not a person's own token"),
        (lambda: signed()[:-4] + "AAAA", "InvalidSignature"),
    ],
)
def test_what_doesnt_hold_is_denied_and_recorded_as_the_services(tap: Tap, say: Callable[[], str], why: str) -> None:
    said = say()
    asked = request(said)
    verdict = tap.guard.judge(asked)
    assert (verdict.action, verdict.rule, verdict.sqlstate) == ("deny", "speaks-for", "28000") and why in verdict.reason
    assert said not in verdict.normalized and said not in verdict.reason
    assert tap.inner.judged == []
    tap.recorder.statement(asked, verdict)
    assert tap.inner.written == [asked]


def test_a_persons_own_token_isnt_taken_from_a_comment_though_it_was_verified_elsewhere(tap: Tap) -> None:
    """Another session of the service may have been opened with it; whoever reads the server's log has it as well."""
    token = signed(typ="at+jwt")
    ann = Person("ann", "Ann", "person", ("analysts",))
    tap.speakers._keep("superset", token, Spoken(ann, int((time.time() + 60) * 1_000_000)))
    assert tap.speakers.known("superset", token) is not None
    verdict = tap.guard.judge(request(token))
    assert verdict.action == "deny" and "not a person's own token" in verdict.reason


@pytest.mark.parametrize(
    "person",
    [
        Person("superset", "superset", "person", (), "https://idp.example"),
        Person("ann", "Ann", "person", (), "https://idp.example"),
        Person("reports", "reports", "service", (), OURSELVES),
        Person("bob", "Bob", "person", (), OURSELVES, via="superset"),
    ],
    ids=["a person called like the service", "a person", "a service that may not", "somebody already named"],
)
def test_anybody_elses_comment_is_a_comment(tap: Tap, person: Person) -> None:
    asked = request(signed(), person)
    assert tap.guard.judge(asked).action == "allow"
    assert tap.inner.judged == [asked]


def test_what_expires_while_it_waits_still_runs_and_what_comes_later_doesnt(
    tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = signed(seconds=1)
    held, later = request(statement), request(statement)
    verdict = tap.guard.judge(held)
    time.sleep(1.1)
    tap.recorder.statement(held, verdict)
    assert tap.inner.written[0].session.person.subject == "ann"
    assert tap.guard.judge(later).action == "deny"
    with pytest.raises(SpoolError, match="expired"):
        tap.recorder.statement(later, verdict)
    monkeypatch.setattr(speaking, "JUDGED_MAX", 3)
    for _ in range(10):
        tap.guard.judge(request(signed()))
    assert len(tap.recorder._named._judged) == 3


def test_each_of_several_statements_is_whose_comment_ends_it(tap: Tap) -> None:
    text = f"SELECT 'é' /*taprail_person='{signed()}'*/; SELECT 2; SELECT 3 /*taprail_person='{signed(sub='bob')}'*/"
    for part in tap.guard.split(text):
        one = text.encode()[part.start : part.start + part.length].decode()
        tap.guard.judge(Request(one, request("").session, "simple"))
    assert [r.session.person.subject for r in tap.inner.judged] == ["ann", "superset", "bob"]


def test_a_comment_after_the_last_semicolon_isnt_passed_over(tap: Tap) -> None:
    comment = f"/*taprail_person='{signed()}'*/"
    [whole] = tap.guard.split(f"SELECT 1; {comment}")
    assert whole.start == 0, "one statement is judged with its whole text"
    tap.guard.judge(Request(f"SELECT 1; {comment}", request("").session, "simple"))
    assert tap.inner.judged[0].session.person.subject == "ann"
    with pytest.raises(RefusedError, match="belongs to no statement"):
        tap.guard.split(f"SELECT 1; SELECT 'é'; {comment}")


def test_where_nobody_may_speak_nothing_stands_between(tap: Tap) -> None:
    verifier = TokenVerifier(TokenRules("https://idp.example", "taprail"))
    silent = Speakers({"reports": Speaker("reports", ())}, verifier)
    assert listening(tap.plain, silent) is tap.plain
