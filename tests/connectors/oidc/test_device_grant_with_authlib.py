"""Our client of the device grant against somebody else's server of it: Authlib's, in the local stack's provider."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from taprail.connectors.http import Answer, post_form, request
from taprail.connectors.local.identity import AUDIENCE, Identity
from taprail.connectors.local.ports import choose_ports
from taprail.connectors.oidc.device import Client, Prompt, refresh, sign_in
from taprail.connectors.oidc.tokens import TokenRules, TokenVerifier
from taprail.schemas.errors import RefusedError


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identity]:
    home = tmp_path_factory.mktemp("identity")
    (home / "logs").mkdir()
    identity = Identity(home / "identity", choose_ports(["identity"], home / "ports.json")["identity"])
    identity.start()
    yield identity
    identity.child.stop()


def browser(prompt: Prompt, **form: str) -> Answer:
    """What a person does at the address."""
    assert request(prompt.complete).status == 200
    code = parse_qs(urlsplit(prompt.complete).query)["user_code"][0]
    assert code == prompt.code
    return post_form(prompt.address, {"user_code": code, **form})


async def test_from_the_code_to_a_token_that_the_tap_believes_and_its_refresh(provider: Identity) -> None:
    prompts: asyncio.Queue[Prompt] = asyncio.Queue()
    client = Client(provider.url, "taprail")
    signing = asyncio.create_task(sign_in(client, prompts.put_nowait))
    prompt = await asyncio.wait_for(prompts.get(), 10)
    await asyncio.sleep(1.5)  # one poll finds nobody
    assert (await asyncio.to_thread(browser, prompt, sub="bob")).status == 200
    granted = await asyncio.wait_for(signing, 20)
    verifier = TokenVerifier(TokenRules(provider.url, AUDIENCE))
    person = (await verifier.verify(granted.access_token)).person
    assert (person.subject, person.groups) == ("bob", ("data-owners", "approvers"))
    assert granted.refresh_token
    again = await refresh(client, granted.refresh_token)
    assert (await verifier.verify(again.access_token)).person.subject == "bob"
    assert again.access_token != granted.access_token


async def test_who_refuses_in_the_browser_is_heard(provider: Identity) -> None:
    def refuse(prompt: Prompt) -> None:
        assert browser(prompt, action="deny").status == 200

    with pytest.raises(RefusedError, match="refused in the browser"):
        await sign_in(Client(provider.url, "taprail"), refuse)


def test_a_code_that_nobody_was_given(provider: Identity) -> None:
    assert post_form(f"{provider.url}/oauth2/device", {"user_code": "AAAA-BBBB", "sub": "eve"}).status == 400
