"""Whose word counts on groups, and what becomes of a session that loses one: in doubt nobody gets in."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from taprail.connectors.oidc.tokens import TokenRules, TokenVerifier
from taprail.schemas.control import Group, Identity, SignedRecord, sign
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import SessionContext
from taprail.schemas.records import Person
from taprail.streams.identity.enrich import Directory
from taprail.streams.identity.groups import Standing
from taprail.streams.identity.revocation import Revocations
from taprail.streams.identity.speaks_for import OURSELVES, TYPE, Speaker, Speakers
from taprail.streams.settings_signin import GroupsFrom

KEY = Ed25519PrivateKey.generate()
ISSUER = "https://idp.example"
ANN = Person("ann", "Ann", "person", ("of-the-token",), ISSUER)


def record(at: int, subject: str = "ann", groups: tuple[str, ...] = ("of-the-directory",), **more: Any) -> SignedRecord:
    identity = Identity(subject, subject.title(), more.pop("kind", "person"), groups, **more)
    return sign("identity", subject, identity, private_key=KEY, key_id="control-1", now_us=at)


def directory(*records: SignedRecord) -> Directory:
    made = Directory({"control-1": KEY.public_key()})
    for each in records:
        made.take(each)
    return made


def standing(source: GroupsFrom, *records: SignedRecord, complete: bool = True) -> Standing:
    return Standing(directory(*records), source, lambda: complete)


@pytest.mark.parametrize(
    ("source", "groups"),
    [
        ("token", ("of-the-token",)),
        ("identities", ("of-the-directory",)),
        ("both", ("of-the-token", "of-the-directory")),
    ],
)
def test_whose_word_counts(source: GroupsFrom, groups: tuple[str, ...]) -> None:
    assert standing(source, record(1)).proven(ANN).groups == groups


def test_a_token_without_groups_gets_those_of_the_directory() -> None:
    assert standing("both", record(1)).proven(Person("ann", "Ann", "person")).groups == ("of-the-directory",)


def test_whom_the_directory_does_not_know() -> None:
    assert standing("token").proven(ANN) == standing("both").proven(ANN) == ANN
    with pytest.raises(RefusedError, match="isn't in the directory"):
        standing("identities").proven(ANN)


def test_while_the_directory_is_not_read_nobody_comes_in_by_it() -> None:
    assert standing("token", complete=False).proven(ANN) == ANN
    for source in ("identities", "both"):
        with pytest.raises(RefusedError, match="hasn't been read"):
            standing(source, record(1), complete=False).proven(ANN)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["token", "identities", "both"])
def test_the_revoked_are_refused_whatever_counts(source: GroupsFrom) -> None:
    by = standing(source, record(1, active=False), record(1, "bob"))
    bobs_agent = Person("bot", "bot", "agent", (), ISSUER, "ann")
    for person in (ANN, bobs_agent, Person("bob", "Bob", "person", via="ann")):
        with pytest.raises(RefusedError, match="revoked"):
            by.proven(person)
    with pytest.raises(RefusedError, match="revoked"):
        by.listed(ANN)


def test_an_agent_has_the_groups_of_whose_rights_it_uses() -> None:
    agent = Person("bot", "bot", "agent", ("x",), ISSUER, "ann")
    by = standing("identities", record(1), record(1, "bot", ("of-the-agent",)))
    assert by.proven(agent).groups == ("of-the-directory",)


def test_an_agent_ends_with_who_answers_for_it_and_a_service_does_not() -> None:
    owned = [record(1, name, owner="ann", kind=name) for name in ("agent", "service")]
    by = standing("token", record(1, active=False), *owned)
    with pytest.raises(RefusedError, match="ann may not sign in"):
        by.proven(Person("agent", "agent", "agent"))
    assert by.listed(Person("service", "service", "service", (), OURSELVES)).subject == "service"


def test_what_stands_in_the_settings_stays_and_more_may_come() -> None:
    reports = Person("reports", "reports", "service", ("dashboards",), OURSELVES)
    there = record(1, "reports", ("analysts", "dashboards"), kind="service")
    assert standing("token", there).listed(reports).groups == ("dashboards",)
    assert standing("identities", there).listed(reports).groups == ("dashboards", "analysts")
    assert standing("identities").listed(reports) == reports


def test_records_of_groups_say_nothing_of_anybody() -> None:
    known = directory(record(1))
    group = sign("group", "group:1", Group("1", "a", 1), private_key=KEY, key_id="control-1", now_us=2)
    assert known.take(group) is None
    assert (known.refused, [each.subject for each in known.all()]) == (0, ["ann"])


def test_an_identity_under_another_key_is_not_believed() -> None:
    """Kafka would keep it beside the true one, and a reader would take whichever came last."""
    identity = Identity("ann", "Ann", "person", ("owners",))
    known = directory(sign("identity", "eve", identity, private_key=KEY, key_id="control-1", now_us=1))
    assert (known.get("ann"), known.refused) == (None, 1)


class Sessions:
    """Sessions that are open; `ended` are those that were ended."""

    def __init__(self, *people: Person) -> None:
        self.people, self.ended = people, list[str]()

    def end(self, match: Any, sqlstate: str, text: str) -> int:
        contexts = [SessionContext(p.subject, "tap-1", "e", "s", "d", "r", p, "oidc") for p in self.people]
        self.ended += [context.session for context in contexts if match(context)]
        return len(self.ended)


def following(folder: Path, source: GroupsFrom, sessions: Sessions) -> Revocations:
    by = Revocations(directory(), folder / "revoked.json")
    by.end = sessions.end
    by.complete.set()
    by.standing(source)
    return by


@pytest.mark.parametrize(("source", "ended"), [("token", []), ("identities", ["ann", "bot"]), ("both", ["ann", "bot"])])
def test_a_lost_group_ends_the_sessions_that_have_it(tmp_path: Path, source: GroupsFrom, ended: list[str]) -> None:
    ann, bot = Person("ann", "Ann", "person", ("a", "b")), Person("bot", "bot", "agent", ("b",), "", "ann")
    sessions = Sessions(ann, bot, Person("bob", "Bob", "person", ("b",)))
    by = following(tmp_path, source, sessions)
    by.take(record(1, groups=("a", "b")))
    by.take(record(2, groups=("a", "b", "c")))
    by.take(record(3, groups=("a", "b")))
    assert sessions.ended == [], "nobody had c"
    by.take(record(4, groups=("a",)))
    assert sessions.ended == ended
    by.take(record(2, groups=()))
    assert sessions.ended == ended, "an older record takes nothing"


def test_an_agents_sessions_end_with_who_answers_for_it(tmp_path: Path) -> None:
    sessions = Sessions(Person("bot", "bot", "agent"), Person("job", "job", "service"))
    by = following(tmp_path, "token", sessions)
    for name, kind in (("bot", "agent"), ("job", "service")):
        by.take(record(1, name, owner="ann", kind=kind))
    by.take(record(2, active=False))
    assert sessions.ended == ["bot"]


def spoken(speakers: Speakers, groups: list[str], key: bytes = b"k" * 32) -> tuple[str, ...]:
    now = int(time.time())
    claims = {"iss": "bi", "aud": "taprail", "sub": "ann", "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
    statement = jwt.encode(claims | {"groups": groups}, key, "HS256", headers={"typ": TYPE})
    found = speakers.known("bi", statement)
    assert found is not None and speakers.known("bi", statement) == found
    return found.person.groups


def test_whom_a_service_speaks_for_has_the_groups_of_the_directory_too() -> None:
    """And never one that the service doesn't speak for."""
    verifier, bi = TokenVerifier(TokenRules(ISSUER, "taprail")), {"bi": Speaker("bi", ("analysts", "b"), b"k" * 32)}
    known = record(1, groups=("analysts", "owners"))
    assert spoken(Speakers(bi, verifier, standing("identities", known).proven), []) == ("analysts",)
    assert spoken(Speakers(bi, verifier, standing("both", known).proven), ["b"]) == ("b", "analysts")
    with pytest.raises(RefusedError, match="may not speak for"):
        spoken(Speakers(bi, verifier, standing("identities", record(1, groups=("owners",))).proven), ["analysts"])


def test_a_statement_that_was_believed_isnt_any_more_when_the_person_is_revoked() -> None:
    """One of many in an open session of a shared account."""
    known = directory(record(1))
    speakers = Speakers(
        {"bi": Speaker("bi", ("*",), b"k" * 32)},
        TokenVerifier(TokenRules(ISSUER, "taprail")),
        Standing(known, "token", lambda: True).proven,
    )
    assert spoken(speakers, ["analysts"]) == ("analysts",)
    known.take(record(2, active=False))
    with pytest.raises(RefusedError, match="revoked"):
        spoken(speakers, ["analysts"])
