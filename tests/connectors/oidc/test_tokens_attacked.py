"""Access tokens that must not hold: each is what somebody would try who isn't who he says he is."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from taprail.connectors.oidc.tokens import ALGORITHMS, TOKEN_BYTES_MAX, Token, TokenRules, TokenVerifier
from taprail.schemas.errors import RefusedError
from tests.fakes.provider import AUDIENCE, FakeProvider, other_rsa_key, public_jwk, rsa_key


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        server.keys |= {"key-ec": EC, "key-ed": ED}
        yield server


EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()


def verifier(provider: FakeProvider, **rules: Any) -> TokenVerifier:
    return TokenVerifier(TokenRules(issuer=provider.url, audience=AUDIENCE, **rules))


async def refused(provider: FakeProvider, token: str, match: str | None = None, **rules: Any) -> RefusedError:
    with pytest.raises(RefusedError, match=match) as caught:
        await verifier(provider, **rules).verify(token)
    assert caught.value.hint
    parts = [part for part in token.split(".") if len(part) > 20]
    assert not [part for part in parts if part in str(caught.value)], "an error must not repeat the token"
    return caught.value


async def taken(provider: FakeProvider, token: str, **rules: Any) -> Token:
    return await verifier(provider, **rules).verify(token)


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_a_good_token_is_its_person(provider: FakeProvider) -> None:
    token = await taken(provider, provider.token(name="Ann", email="ann@example.com"))
    assert (token.person.subject, token.person.name, token.person.kind) == ("ann", "ann@example.com", "person")
    assert (token.person.groups, token.person.issuer, token.person.on_behalf_of) == (("engineers",), provider.url, "")
    assert abs(token.expires_us - (time.time() + 600) * 1e6) < 10e6


@pytest.mark.parametrize(("kid", "key", "algorithm"), [("key-ec", EC, "ES256"), ("key-ed", ED, "EdDSA")])
async def test_curves_are_taken(provider: FakeProvider, kid: str, key: Any, algorithm: str) -> None:
    token = provider.token(key, algorithm=algorithm, header={"kid": kid})
    assert (await taken(provider, token)).person.subject == "ann"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"aud": "another-service"}, "isn't for 'taprail'"),
        ({"aud": ["a", "b"]}, "isn't for 'taprail'"),
        ({"aud": []}, "aud|hold"),
        ({"aud": {"taprail": 1}}, "hold|isn't for"),
        ({"iss": "https://evil.example"}, "isn't from"),
        ({"iss": 7}, "hold|isn't from"),
        ({"exp": 1}, "expired"),
        ({"exp": "soon"}, "hold"),
        ({"nbf": 99_999_999_999}, "hold"),
        ({"iat": 99_999_999_999}, "hold"),
        ({"sub": ""}, "sub"),
        ({"sub": "  "}, "sub"),
        ({"sub": 7}, "hold"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "hold"),
        ({"groups": "approvers"}, "list of names"),
        ({"groups": {"approvers": True}}, "list of names"),
        ({"groups": ["a", 7]}, "list of names"),
        ({"actor_type": "root"}, "root"),
        ({"actor_type": ["person"]}, "person"),
    ],
)
async def test_a_claim_that_is_not_right_is_refused(
    provider: FakeProvider, changes: dict[str, Any], match: str
) -> None:
    await refused(provider, provider.token(**changes), match)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "exp", "iat", "jti"])
async def test_a_missing_claim_is_refused_by_name(provider: FakeProvider, claim: str) -> None:
    without: dict[str, Any] = {claim: None}
    await refused(provider, provider.token(**without), claim)


async def test_clocks_may_differ_by_half_a_minute(provider: FakeProvider) -> None:
    now = int(time.time())
    await taken(provider, provider.token(exp=now - 20, nbf=now + 20))
    await refused(provider, provider.token(exp=now - 40), "expired")
    await refused(provider, provider.token(nbf=now + 40), "hold")


@pytest.mark.parametrize("kind", ["JWT", "", "id_token", "at", "at+jwt ", "application/jwt", "logout+jwt", "dpop+jwt"])
async def test_a_token_of_another_type_is_refused(provider: FakeProvider, kind: str) -> None:
    error = await refused(provider, provider.token(header={"typ": kind}), "not at\\+jwt")
    assert "ID token" in error.hint


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_the_type_may_be_written_as_the_standard_allows(provider: FakeProvider, kind: str) -> None:
    await taken(provider, provider.token(header={"typ": kind}))


async def test_the_type_can_be_waived(provider: FakeProvider) -> None:
    await taken(provider, provider.token(header={"typ": "JWT"}), require_at_jwt=False)


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", "HS256", "HS512", "RSA-OAEP", 7, None, ["RS256"]])
@pytest.mark.parametrize("signature", ["", encoded(b"x" * 256)])
async def test_an_algorithm_that_proves_nothing_is_refused(
    provider: FakeProvider, algorithm: object, signature: str
) -> None:
    header = {"alg": algorithm, "typ": "at+jwt", "kid": "key-1"}
    await refused(provider, f"{encoded(header)}.{encoded(provider.claims())}.{signature}")


@pytest.mark.parametrize("form", ["pem", "jwk", "der"])
async def test_the_public_key_is_no_secret(provider: FakeProvider, form: str) -> None:
    """HS256 with the RSA key that everybody can fetch as the HMAC's key."""
    public = rsa_key().public_key()
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "pem": public.public_bytes(serialization.Encoding.PEM, info),
        "der": public.public_bytes(serialization.Encoding.DER, info),
        "jwk": json.dumps(public_jwk(rsa_key())).encode(),
    }[form]
    signed = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'key-1'})}.{encoded(provider.claims())}"
    algorithm = jwt.get_algorithm_by_name("HS256")
    token = f"{signed}.{encoded(algorithm.sign(signed.encode(), secret))}"
    await refused(provider, token, "HS256")


def test_no_accepted_algorithm_is_symmetric() -> None:
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name.lower() == "none"]


async def test_another_key_under_a_known_name_is_refused(provider: FakeProvider) -> None:
    await refused(provider, provider.token(other_rsa_key()), "hold")


@pytest.mark.parametrize("algorithm", ["PS256", "RS512"])
async def test_the_header_cannot_choose_another_algorithm_for_a_signature(
    provider: FakeProvider, algorithm: str
) -> None:
    _, payload, signature = provider.token().split(".")
    header = encoded({"alg": algorithm, "typ": "at+jwt", "kid": "key-1"})
    await refused(provider, f"{header}.{payload}.{signature}", "hold")


async def test_one_keys_algorithm_does_not_fit_another_key(provider: FakeProvider) -> None:
    await refused(provider, provider.token(EC, algorithm="ES256", header={"kid": "key-1"}), "hold")


async def test_a_key_that_the_token_brings_itself_is_not_used(provider: FakeProvider) -> None:
    header = {
        "jwk": public_jwk(other_rsa_key()),
        "jku": f"{provider.url}/attackers-keys",
        "x5u": f"{provider.url}/attackers-certificate",
        "x5c": ["AAAA"],
    }
    for kid in ("key-1", "attackers"):
        await refused(provider, provider.token(other_rsa_key(), header=header | {"kid": kid}))
    assert provider.refused == [], "nobody may make us fetch what a token names"


async def test_an_extension_that_we_do_not_know_is_refused(provider: FakeProvider) -> None:
    """RFC 7515, section 4.1.11: what is critical and not understood makes the token invalid."""
    await refused(provider, provider.token(header={"crit": ["b64", "x"], "x": 1}))


async def test_a_changed_payload_is_refused(provider: FakeProvider) -> None:
    header, _, signature = provider.token().split(".")
    await refused(provider, f"{header}.{encoded(provider.claims(sub='bob'))}.{signature}", "hold")


async def test_a_token_of_nobody_known_is_refused(provider: FakeProvider) -> None:
    await refused(provider, provider.token(header={"kid": "made-up"}), "doesn't have")


@pytest.mark.parametrize("kid", ["", "../../etc/passwd", "key-1\0", "' OR 1=1 --", 7, None, ["key-1"], {}])
async def test_a_key_id_of_any_kind_is_only_looked_up(provider: FakeProvider, kid: object) -> None:
    header = {"alg": "RS256", "typ": "at+jwt", "kid": kid}
    await refused(provider, f"{encoded(header)}.{encoded(provider.claims())}.{encoded(b'x' * 256)}")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "secret password",
        "ünïcode.b.c",
        "\ud800.b.c",
        "\0\0",
        "a." * 100,
        encoded([]) + ".e30.AA",
        encoded({}) + ".e30.AA",
        encoded(b"[" * 8000) + ".e30.AA",
        encoded(b'{"alg":' * 1400) + ".e30.AA",
        encoded({"alg": "RS256", "typ": "at+jwt", "kid": "key-1"}) + "." + encoded(b"[" * 7000) + ".AA",
        encoded({"alg": "RS256", "typ": ["at+jwt"], "kid": "key-1"}) + ".e30.AA",
        encoded({"alg": "RS256", "typ": "at+jwt", "kid": "key-1"}) + ".e30.AA",
        encoded({"alg": "dir", "enc": "A256GCM", "typ": "at+jwt"}) + ".a.b.c.d",
    ],
)
async def test_what_is_no_token_is_refused(provider: FakeProvider, token: str) -> None:
    await refused(provider, token)


@pytest.mark.parametrize("character", ["a", "🟠"])
async def test_a_token_that_is_too_long_is_refused_unread(provider: FakeProvider, character: str) -> None:
    size = TOKEN_BYTES_MAX // len(character.encode()) + 1
    await refused(provider, character * size, "unread")


@given(token=st.one_of(st.text(max_size=200), st.lists(st.binary(max_size=60).map(encoded), max_size=6).map(".".join)))
async def test_whatever_is_sent_it_is_refused_and_nothing_else_happens(token: str) -> None:
    with pytest.raises(RefusedError):
        await TokenVerifier(TokenRules("http://127.0.0.1:9", AUDIENCE)).verify(token)


async def test_an_agent_acts_in_a_persons_name(provider: FakeProvider) -> None:
    token = await taken(provider, provider.token(act={"sub": "support-agent"}))
    assert (token.person.kind, token.person.subject, token.person.on_behalf_of) == ("agent", "support-agent", "ann")


async def test_of_a_chain_of_agents_the_last_one_acts(provider: FakeProvider) -> None:
    token = await taken(provider, provider.token(act={"sub": "last", "act": {"sub": "first"}}))
    assert (token.person.subject, token.person.on_behalf_of) == ("last", "ann")


@pytest.mark.parametrize("act", ["support-agent", {}, {"sub": ""}, {"sub": 7}, {"client_id": "agent"}, [], True])
async def test_an_actor_that_cannot_be_read_is_not_the_person_himself(provider: FakeProvider, act: object) -> None:
    """RFC 8693, section 4.1: with `act` somebody else uses the subject's rights. Who, if it isn't said?"""
    await refused(provider, provider.token(act=act), "act")


async def test_an_agents_client_makes_an_agent(provider: FakeProvider) -> None:
    token = await taken(provider, provider.token(client_id="bot", actor_type="person"), agent_clients=("bot",))
    assert token.person.kind == "agent"


@pytest.mark.parametrize(
    "said", [{"client_id": "bot"}, {"client_id": None, "azp": "bot"}, {"client_id": ["x"], "azp": "bot"}]
)
async def test_the_client_may_be_named_as_the_provider_does(provider: FakeProvider, said: dict[str, object]) -> None:
    token = await taken(provider, provider.token(**said), agent_clients=("bot",))
    assert token.person.kind == "agent"


async def test_another_claim_may_say_who_it_is(provider: FakeProvider) -> None:
    token = await taken(provider, provider.token(sub="pairwise", oid="00u1"), subject_claim="oid")
    assert token.person.subject == "00u1"
    for oid in (None, "", " ", 7, ["00u1"]):
        await refused(provider, provider.token(sub="pairwise", oid=oid), "who it is", subject_claim="oid")


async def test_a_claim_may_say_which_device_it_is(provider: FakeProvider) -> None:
    said = provider.token(deviceid="laptop-7")
    assert (await taken(provider, said, device_claim="deviceid")).device == "laptop-7"
    assert (await taken(provider, said)).device == "", "nobody asked for it"
    assert (await taken(provider, provider.token(), device_claim="deviceid")).device == ""


@pytest.mark.parametrize("device", ["", " \t", 7, ["laptop-7"], {"id": "laptop-7"}, True])
async def test_a_device_that_cannot_be_read_is_not_none(provider: FakeProvider, device: object) -> None:
    refusal = await refused(provider, provider.token(deviceid=device), "'deviceid'", device_claim="deviceid")
    assert "identity.device_claim" in refusal.hint
    await taken(provider, provider.token(deviceid=device))
