"""The provider's keys: fetched when they are needed, seldom, and not believed for ever."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from taprail.connectors.http import request
from taprail.connectors.local.identity import Identity, access_token
from taprail.connectors.local.ports import choose_ports
from taprail.connectors.oidc import keys
from taprail.connectors.oidc.keys import ProviderKeys
from taprail.connectors.oidc.tokens import Token, TokenRules, TokenVerifier
from taprail.schemas.errors import RefusedError
from tests.fakes.provider import AUDIENCE, FakeProvider, other_rsa_key, public_jwk, rsa_key


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys may be fetched again at once."""
    monkeypatch.setattr(keys, "REFETCH_SECONDS_MIN", 0.0)


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identity]:
    """The local stack's provider, a real one."""
    home = tmp_path_factory.mktemp("identity")
    (home / "logs").mkdir()
    identity = Identity(home / "identity", choose_ports(["identity"], home / "ports.json")["identity"])
    identity.start()
    yield identity
    identity.child.stop()


def verifier(provider: FakeProvider) -> TokenVerifier:
    return TokenVerifier(TokenRules(provider.url, AUDIENCE))


async def both(one: TokenVerifier, *tokens: str) -> list[Token | BaseException]:
    return [(await asyncio.gather(one.verify(token), return_exceptions=True))[0] for token in tokens]


async def test_the_real_providers_token_is_believed(mock: Identity) -> None:
    token = await TokenVerifier(TokenRules(mock.url, AUDIENCE)).verify(access_token(mock.url, "bob"))
    assert (token.person.subject, token.person.groups) == ("bob", ("data-owners", "approvers"))
    assert token.person.issuer == mock.url


async def test_the_real_providers_id_token_is_not(mock: Identity) -> None:
    """Signed by a key of the same provider, for a client: it says who signed in there, not who may come in here."""
    query = "response_type=code&client_id=taprail&redirect_uri=http://127.0.0.1/x&scope=openid"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = request(f"{mock.url}/oauth2/authorize?{query}", method="POST", body=b"sub=bob", headers=form)
    code = answer.location.partition("code=")[2].partition("&")[0]
    body = (
        f"grant_type=authorization_code&code={code}&redirect_uri=http://127.0.0.1/x&client_id=taprail&client_secret=x"
    )
    answered = request(f"{mock.url}/oauth2/token", method="POST", body=body.encode(), headers=form)
    id_token = json.loads(answered.body)["id_token"]
    for require in (True, False):
        rules = TokenRules(mock.url, AUDIENCE, require_at_jwt=require)
        with pytest.raises(RefusedError):
            await TokenVerifier(rules).verify(id_token)


async def test_keys_are_fetched_once_for_many_tokens(provider: FakeProvider) -> None:
    one = verifier(provider)
    await asyncio.gather(*(one.verify(provider.token()) for _ in range(20)))
    assert provider.requests == 2  # discovery and keys


async def test_made_up_key_ids_do_not_become_requests(provider: FakeProvider) -> None:
    one = verifier(provider)
    await one.verify(provider.token())
    made_up = (provider.token(header={"kid": f"made-up-{number}"}) for number in range(50))
    errors = await asyncio.gather(*(one.verify(token) for token in made_up), return_exceptions=True)
    assert all(isinstance(error, RefusedError) for error in errors)
    assert provider.requests == 2
    await one.verify(provider.token())


async def test_a_new_key_is_found_when_a_token_names_it(provider: FakeProvider, impatient: None) -> None:
    one = verifier(provider)
    await one.verify(provider.token())
    provider.keys["key-2"] = other_rsa_key()
    new = provider.token(other_rsa_key(), header={"kid": "key-2"})
    assert (await one.verify(new)).person.subject == "ann"
    assert provider.requests == 4


async def test_a_new_key_is_found_after_an_attack_of_made_up_ones(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends made-up ids all the time can't keep us from asking for the real ones."""
    monkeypatch.setattr(keys, "REFETCH_SECONDS_MIN", 0.2)
    one = verifier(provider)
    await one.verify(provider.token())
    provider.keys["key-2"] = other_rsa_key()
    new = provider.token(other_rsa_key(), header={"kid": "key-2"})
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        await both(one, provider.token(header={"kid": "made-up"}))
        if isinstance((await both(one, new))[0], Token):
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("the new key was never found")


async def test_a_withdrawn_key_stops_to_hold(
    provider: FakeProvider, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, old = verifier(provider), provider.token()
    await one.verify(old)
    provider.keys = {"key-2": other_rsa_key()}
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.0)
    with pytest.raises(RefusedError, match="doesn't have"):
        await one.verify(old)


async def test_a_key_that_changed_under_its_name_is_replaced(
    provider: FakeProvider, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, old = verifier(provider), provider.token()
    await one.verify(old)
    provider.keys = {"key-1": other_rsa_key()}
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.0)
    await one.verify(provider.token(other_rsa_key()))
    with pytest.raises(RefusedError, match="doesn't hold"):
        await one.verify(old)


async def test_without_the_provider_nobody_new_comes_in(provider: FakeProvider) -> None:
    token = provider.token()
    provider.stop()
    with pytest.raises(RefusedError, match="doesn't answer") as caught:
        await verifier(provider).verify(token)
    assert "try again" in caught.value.hint
    assert provider.url in str(caught.value)


async def test_a_provider_that_is_away_for_a_while_locks_nobody_out(
    provider: FakeProvider, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, token = verifier(provider), provider.token()
    await one.verify(token)
    provider.stop()
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.0)
    await one.verify(token)
    monkeypatch.setattr(keys, "STALE_SECONDS_MAX", 0.0)
    with pytest.raises(RefusedError, match="too old to be believed"):
        await one.verify(token)
    provider.start()
    monkeypatch.setattr(keys, "STALE_SECONDS_MAX", 3600.0)
    await one.verify(token)


async def test_a_provider_that_hangs_is_not_waited_for_by_all_in_turn(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    provider.wait_s = 5.0
    one, began = verifier(provider), time.monotonic()
    errors = await asyncio.gather(*(one.verify(provider.token()) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(error, RefusedError) for error in errors)
    assert time.monotonic() - began < 2.0


ODD_KEYS: list[Any] = [
    None,
    7,
    "key",
    {},
    {"kid": "a", "kty": "RSA"},
    {"kid": "b", "kty": "RSA", "n": "!", "e": "AQAB"},
    {"kid": "c", "kty": "OKP", "crv": "X25519", "x": "A" * 43},
    {"kid": "d", "kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
    {"kid": ["e"], **public_jwk(rsa_key())},
    {"kid": "f", "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
    {"kid": "g", "kty": "RSA", "alg": "RSA-OAEP-256", **public_jwk(rsa_key())},
    {"kid": "h", "kty": "oct", "k": "AAAA"},
]


@pytest.mark.parametrize("odd", ODD_KEYS, ids=str)
async def test_an_odd_key_does_not_spoil_the_others(provider: FakeProvider, odd: object) -> None:
    provider.jwks = json.dumps({"keys": [odd, *provider.published()]}).encode()
    assert (await verifier(provider).verify(provider.token())).person.subject == "ann"


@pytest.mark.parametrize("use", ["enc", "tls"])
async def test_a_key_for_another_use_signs_nothing(provider: FakeProvider, use: str) -> None:
    provider.jwks = json.dumps({"keys": [{**provider.published()[0], "use": use}]}).encode()
    with pytest.raises(RefusedError, match="doesn't have"):
        await verifier(provider).verify(provider.token())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b"{}", b'{"keys":7}', b'{"keys":{"a":1}}', b"[" * 5000])
async def test_keys_that_are_none_let_nobody_in(provider: FakeProvider, body: bytes) -> None:
    provider.jwks = body or b" "
    with pytest.raises(RefusedError):
        await verifier(provider).verify(provider.token())


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "not an address"},
    ],
)
async def test_a_discovery_document_that_is_not_right_is_not_used(
    provider: FakeProvider, change: dict[str, Any]
) -> None:
    provider.metadata = json.dumps(provider.discovery() | change).encode()
    one = verifier(provider)
    with pytest.raises(RefusedError):
        await one.verify(provider.token())
    with pytest.raises(RefusedError, match="doesn't answer"):
        await one.keys.discover()


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b"<html>"])
async def test_a_discovery_document_that_is_none_is_not_used(provider: FakeProvider, body: bytes) -> None:
    provider.metadata = body
    with pytest.raises(RefusedError, match="doesn't answer"):
        await ProviderKeys(provider.url).discover()


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_provider_that_fails_lets_nobody_in(provider: FakeProvider, status: int) -> None:
    provider.fail_next(9, status)
    with pytest.raises(RefusedError, match="doesn't answer"):
        await verifier(provider).verify(provider.token())


async def test_a_last_slash_of_the_issuer_makes_no_difference_to_discovery(provider: FakeProvider) -> None:
    assert (await ProviderKeys(f"{provider.url}/").discover())["jwks_uri"] == f"{provider.url}/jwks"
