"""Who acts in a shared account: what a service may say, how it must prove it, and what an attacker might try."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.oidc.tokens import TokenRules, TokenVerifier
from taprail.schemas.errors import RefusedError, SettingsError
from taprail.streams.identity import speaks_for
from taprail.streams.identity.speaks_for import TYPE, Speaker, Speakers, statement_in_comment
from tests.fakes.provider import AUDIENCE, FakeProvider, other_rsa_key

KEY, OTHER = b"k" * 32, b"o" * 32
SPEAKERS = {
    "superset": Speaker("superset", ("analysts", "engineers"), KEY),
    "metabase": Speaker("metabase", ("*",), OTHER),
    "relay": Speaker("relay", ("engineers",)),
    "reports": Speaker("reports", (), KEY),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def speakers(provider: FakeProvider) -> Speakers:
    return Speakers(SPEAKERS, TokenVerifier(TokenRules(provider.url, AUDIENCE, leeway_seconds=0)))


def statement(key: bytes = KEY, *, algorithm: str = "HS256", typ: str | None = TYPE, **changes: Any) -> str:
    """A good statement of superset's with these changes; None takes a claim away."""
    now = int(time.time())
    good = {
        "iss": "superset",
        "aud": AUDIENCE,
        "sub": "ann",
        "iat": now,
        "exp": now + 300,
        "jti": str(uuid.uuid4()),
        "groups": ["analysts", "data-owners"],
    }
    claims = {name: value for name, value in (good | changes).items() if value is not None}
    header = {"alg": algorithm} | ({"typ": typ} if typ else {})
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims))
    hashes = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}  # by hand: a library refuses what attackers send
    mac = hmac.new(key, signed, hashes[algorithm]).digest() if algorithm in hashes else b""
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


async def refused(speakers: Speakers, service: str, text: str) -> str:
    with pytest.raises(RefusedError) as caught:
        await speakers.verify(service, text)
    assert caught.value.hint
    assert text not in str(caught.value) or not text
    return caught.value.message


async def test_a_service_names_a_person_with_the_groups_that_it_may_speak_for(
    speakers: Speakers, provider: FakeProvider
) -> None:
    spoken = await speakers.verify("superset", statement(name="Ann"))
    person = spoken.person
    assert (person.subject, person.name, person.kind, person.issuer) == ("ann", "Ann", "person", provider.url)
    assert person.groups == ("analysts",), "and not data-owners"
    assert (person.via, person.on_behalf_of) == ("superset", "")
    assert abs(spoken.expires_us / 1_000_000 - time.time() - 300) < 5


async def test_who_may_speak_for_everybody_may(speakers: Speakers) -> None:
    spoken = await speakers.verify("metabase", statement(OTHER, iss="metabase", groups=["a", "b"]))
    assert spoken.person.groups == ("a", "b")
    nobody = await speakers.verify("metabase", statement(OTHER, iss="metabase", groups=None))
    assert nobody.person.groups == () and nobody.person.name == "ann"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": OTHER}, "InvalidSignature"),
        ({"key": b""}, "InvalidSignature"),
        ({"algorithm": "none"}, "InvalidAlgorithm"),
        ({"algorithm": "HS512"}, "InvalidAlgorithm"),
        ({"iss": "metabase"}, "InvalidIssuer"),
        ({"aud": "another"}, "InvalidAudience"),
        ({"aud": None}, "MissingRequiredClaim"),
        ({"exp": None}, "MissingRequiredClaim"),
        ({"jti": None}, "MissingRequiredClaim"),
        ({"sub": None}, "MissingRequiredClaim"),
        ({"exp": 1_000}, "expired"),
        ({"exp": int(time.time()) + 90_000}, "more than a day"),
        ({"iat": int(time.time()) - 90_000}, "more than a day"),
        ({"iat": int(time.time()) + 900}, "ImmatureSignature"),
        ({"nbf": int(time.time()) + 900}, "ImmatureSignature"),
        ({"sub": " "}, "names nobody"),
        ({"sub": 7}, "doesn't hold"),
        ({"name": 7}, "names nobody"),
        ({"jti": " "}, "names nobody"),
        ({"groups": "analysts"}, "groups aren't a list"),
        ({"groups": ["analysts", 7]}, "groups aren't a list"),
        ({"groups": ["data-owners"]}, "may not speak for ann"),
        ({"groups": ["*"]}, "may not speak for ann"),
        ({"groups": None}, "may not speak for ann"),
    ],
)
async def test_a_statement_that_doesnt_hold(speakers: Speakers, changes: dict[str, Any], said: str) -> None:
    assert said in await refused(speakers, "superset", statement(**changes))


@pytest.mark.parametrize("text", ["", "ann", "a.b", "a.b.c", "é", "x" * 20_000, "e30.e30.", "." * 3])
async def test_what_is_no_token(speakers: Speakers, text: str) -> None:
    message = await refused(speakers, "superset", text)
    assert "no token" in message or "algorithm" in message


async def test_only_services_that_may_speak_are_listened_to(speakers: Speakers) -> None:
    for service in ("reports", "nobody", ""):
        assert "may not say" in await refused(speakers, service, statement(iss=service))
    assert "has no key" in await refused(speakers, "relay", statement(iss="relay"))


async def test_a_statement_is_good_in_its_own_services_session_only(speakers: Speakers) -> None:
    stolen = statement()
    await speakers.verify("superset", stolen)
    assert "doesn't hold" in await refused(speakers, "metabase", stolen)


async def test_another_jwt_with_the_same_key_isnt_a_statement(speakers: Speakers) -> None:
    """The service may sign other things with its key: the type says what this one is for (RFC 8725, section 3.11)."""
    for typ in (None, "JWT", "at+jwt"):
        assert "algorithm 'HS256'" in await refused(speakers, "superset", statement(typ=typ))


async def test_the_persons_own_token_is_as_good(speakers: Speakers, provider: FakeProvider) -> None:
    token = provider.token(groups=["engineers", "data-owners"])
    assert speakers.known("relay", token) is None, "the provider's key must be looked at first"
    spoken = await speakers.verify("relay", token)
    assert spoken.person.groups == ("engineers", "data-owners"), "the provider says so itself"
    assert (spoken.person.subject, spoken.person.via) == ("ann", "relay")
    assert speakers.known("relay", token) == spoken
    assert "may not speak for ann" in await refused(speakers, "relay", provider.token(groups=["sales"]))
    assert "key" in await refused(speakers, "relay", provider.token(other_rsa_key(), header={"kid": "key-9"}))
    assert "aud" in await refused(speakers, "relay", provider.token(aud="another"))
    assert "expired" in await refused(speakers, "relay", provider.token(exp=1_000))


async def test_the_providers_public_key_is_no_shared_secret(speakers: Speakers, provider: FakeProvider) -> None:
    """A token that names the provider's key and HS256: the classic confusion of algorithms (RFC 8725, section 2.1)."""
    public = json.dumps(provider.published()[0]).encode()
    for typ in (TYPE, "at+jwt"):
        await refused(speakers, "superset", statement(public, typ=typ))


def test_keys_dont_show() -> None:
    assert "kkk" not in repr(SPEAKERS["superset"])


async def test_what_was_verified_is_remembered_and_forgotten_in_time(
    speakers: Speakers, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, hers = statement(exp=int(time.time()) + 100), provider.token()
    for service, text in (("superset", mine), ("relay", hers)):
        await speakers.verify(service, text)
        assert speakers.known(service, text) is not None
    real = time.time
    monkeypatch.setattr(speaks_for.time, "time", lambda: real() + 301)
    assert speakers.known("relay", hers) is None, "verified again: the provider may have withdrawn its key"
    monkeypatch.undo()
    monkeypatch.setattr(speaks_for, "KEPT_MAX", 10)
    for _ in range(30):
        await speakers.verify("superset", statement())
    assert len(speakers._kept) == 10


async def test_an_expired_one_isnt_remembered(speakers: Speakers) -> None:
    short = statement(exp=int(time.time()) + 1)
    assert speakers.known("superset", short) is not None
    await asyncio.sleep(1.1)
    assert "expired" in await refused(speakers, "superset", short)


def test_a_short_key_is_refused_at_the_start(provider: FakeProvider) -> None:
    with pytest.raises(SettingsError, match=r"services\.superset\.statement_key has 31 bytes"):
        Speakers({"superset": Speaker("superset", ("*",), b"k" * 31)}, TokenVerifier(TokenRules(provider.url, "x")))


# Comments -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1 /*taprail_person='a.b.c'*/", "a.b.c"),
        ("SELECT 1 /*taprail_person='a.b.c'*/;\n", "a.b.c"),
        ("SELECT 1 /*action='list',taprail_person='a%2Eb',traceparent='00-1'*/", "a.b"),
        ("SELECT 1 /* taprail_person='a' */", "a"),
        ("SELECT 1", ""),
        ("/*taprail_person='a'*/ SELECT 1", ""),
        ("SELECT '/*taprail_person=''a''*/'", ""),
        ("SELECT 1 /*taprail_person=a*/", ""),
        ("SELECT 1 /*x_taprail_person='a'*/", ""),
        ("SELECT 'taprail_person' /*action='x'*/", ""),
    ],
)
def test_the_comment_at_the_end(text: str, found: str) -> None:
    assert statement_in_comment(text) == found


def test_two_in_one_comment_are_refused() -> None:
    with pytest.raises(RefusedError, match="twice"):
        statement_in_comment("SELECT 1 /*taprail_person='a',taprail_person='b'*/")


@given(st.text(max_size=60))
def test_any_text_is_an_answer(text: str) -> None:
    assert isinstance(statement_in_comment(text + " taprail_person */"), str)
