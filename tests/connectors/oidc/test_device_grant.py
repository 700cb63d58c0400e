"""The device grant against a provider that minds RFC 8628, and against providers that mean ill or are away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from taprail.connectors.oidc import device
from taprail.connectors.oidc.device import Client, Granted, Prompt, refresh, revoke, sign_in
from taprail.schemas.errors import RefusedError
from tests.fakes.provider import FakeProvider


class Clock:
    """Time that passes only when somebody sleeps; `at` sees each sleep."""

    def __init__(self, provider: FakeProvider) -> None:
        self.now, self.slept, self.provider = 1000.0, list[float](), provider
        self.answers: list[Any] = []
        provider.clock = lambda: self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.answers:
            self.answers.pop(0)()


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def clock(provider: FakeProvider) -> Clock:
    return Clock(provider)


async def signed_in(provider: FakeProvider, clock: Clock, shown: list[Prompt] | None = None) -> Granted:
    prompts = [] if shown is None else shown
    return await sign_in(Client(provider.url, "cli"), prompts.append, sleep=clock.sleep, clock=lambda: clock.now)


def the_device(provider: FakeProvider) -> Any:
    [found] = provider.devices.values()
    return found


async def test_somebody_signs_in_after_a_while(provider: FakeProvider, clock: Clock) -> None:
    prompts: list[Prompt] = []
    clock.answers = [lambda: None, lambda: setattr(the_device(provider), "claims", {"sub": "ann"})]
    granted = await signed_in(provider, clock, prompts)
    assert clock.slept == [5.0, 5.0]
    assert prompts == [Prompt(f"{provider.url}/activate", "WDJB-MJHT", f"{provider.url}/activate?user_code=WDJB-MJHT")]
    assert device.claims_unverified(granted.access_token)["sub"] == "ann"
    assert granted.refresh_token and 590 < granted.expires - time.time() <= 600
    assert granted.access_token not in repr(granted)


async def test_who_is_told_to_slow_down_does(provider: FakeProvider, clock: Clock) -> None:
    clock.answers = [
        lambda: the_device(provider).errors.append("slow_down"),
        lambda: the_device(provider).errors.append("slow_down"),
        lambda: setattr(the_device(provider), "claims", {}),
    ]
    await signed_in(provider, clock)
    assert clock.slept == [5.0, 10.0, 15.0]


async def test_who_gets_no_answer_polls_less_often(provider: FakeProvider, clock: Clock) -> None:
    clock.answers = [
        lambda: provider.fail_next(1, 0),
        lambda: the_device(provider).errors.append("unavailable"),
        lambda: setattr(the_device(provider), "claims", {}),
    ]
    await signed_in(provider, clock)
    assert clock.slept == [5.0, 10.0, 20.0]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("access_denied", "refused in the browser"),
        ("expired_token", "in time"),
        ("invalid_client", "invalid_client"),
        ("made\x1b[2Jup", r"refused the sign-in: made\[2Jup"),
    ],
)
async def test_other_errors_end_it(provider: FakeProvider, clock: Clock, error: str, said: str) -> None:
    clock.answers = [lambda: the_device(provider).errors.append(error)]
    with pytest.raises(RefusedError, match=said) as caught:
        await signed_in(provider, clock)
    assert caught.value.hint and "\x1b" not in str(caught.value)


async def test_nobody_comes(provider: FakeProvider, clock: Clock) -> None:
    provider.device_answer = {"expires_in": 22}
    with pytest.raises(RefusedError, match="nobody signed in in time"):
        await signed_in(provider, clock)
    assert len(clock.slept) == 4, "and it doesn't poll after the code's end"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"device_code": None}, "device_code"),
        ({"user_code": 7}, "user_code"),
        ({"verification_uri": None}, "verification_uri"),
        ({"verification_uri": "http://idp.example/activate"}, "verification_uri isn't an https address"),
        ({"verification_uri": "file:///etc/passwd"}, "isn't an https address"),
        ({"verification_uri_complete": "javascript:alert(1)"}, "isn't an https address"),
        ({"interval": "soon"}, "interval"),
        ({"expires_in": -1}, "expires_in"),
    ],
)
async def test_answers_that_are_no_answers(
    provider: FakeProvider, clock: Clock, answer: dict[str, Any], said: str
) -> None:
    provider.device_answer = answer
    with pytest.raises(RefusedError, match=said):
        await signed_in(provider, clock)
    assert clock.slept == []


async def test_an_interval_of_nothing_is_no_busy_loop_and_a_code_cant_move_the_cursor(
    provider: FakeProvider, clock: Clock
) -> None:
    provider.device_answer = {"interval": 0, "expires_in": 3, "user_code": "AB\x1b[31mCD"}
    prompts: list[Prompt] = []
    with pytest.raises(RefusedError, match="in time"):
        await signed_in(provider, clock, prompts)
    assert clock.slept[0] == 1.0 and prompts[0].code == "AB[31mCD"


@pytest.mark.parametrize("name", ["device_authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("address", [None, "http://elsewhere.example/token"])
async def test_nothing_is_sent_in_the_clear(
    provider: FakeProvider, clock: Clock, name: str, address: str | None
) -> None:
    provider.metadata = json.dumps(provider.discovery() | {name: address}).encode()
    with pytest.raises(RefusedError, match=name):
        await signed_in(provider, clock)
    assert provider.requests == 2, "its metadata and its keys"


async def test_the_issuer_itself_must_be_https() -> None:
    with pytest.raises(RefusedError, match="the issuer isn't an https address"):
        await sign_in(Client("http://idp.example", "cli"), lambda _: None)


async def test_tokens_of_another_type_and_metadata_of_another_issuer(provider: FakeProvider, clock: Clock) -> None:
    provider.token_answer = 200, b'{"access_token": "x", "token_type": "mac"}'
    with pytest.raises(RefusedError, match="bearer"):
        await signed_in(provider, clock)
    provider.metadata = json.dumps(provider.discovery() | {"issuer": "https://mixed.up"}).encode()
    with pytest.raises(RefusedError, match="doesn't answer"):
        await signed_in(provider, clock)


async def test_a_refresh_token_is_used_once_and_its_end_is_said(provider: FakeProvider) -> None:
    provider.refresh_tokens["first"] = {"sub": "ann"}
    client = Client(provider.url, "cli")
    second = await refresh(client, "first")
    assert second.refresh_token != "first" and device.claims_unverified(second.access_token)["sub"] == "ann"
    with pytest.raises(RefusedError, match="the sign-in has ended: invalid_grant") as caught:
        await refresh(client, "first")
    assert caught.value.hint == "run `taprail login`"


async def test_a_provider_that_keeps_the_refresh_token_leaves_us_the_old_one(provider: FakeProvider) -> None:
    provider.token_answer = 200, json.dumps({"access_token": provider.token(), "token_type": "bearer"}).encode()
    again = await refresh(Client(provider.url, "cli"), "kept")
    assert again.refresh_token == "kept" and again.expires > time.time(), "the token says itself until when"


async def test_revocation_where_there_is_one(provider: FakeProvider) -> None:
    assert await revoke(Client(provider.url, "cli"), "refresh") and provider.revoked == ["refresh"]
    provider.metadata = json.dumps(provider.discovery() | {"revocation_endpoint": None}).encode()
    assert not await revoke(Client(provider.url, "cli"), "refresh")
