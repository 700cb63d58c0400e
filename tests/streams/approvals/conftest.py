"""The approvals service, a provider that tests can bend, and a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.fakes.provider import FakeProvider
from tests.fakes.site import Browser, Site, a_browser, a_site


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        yield server


@pytest.fixture
def provider(shared_provider: FakeProvider) -> FakeProvider:
    shared_provider.token_answer = shared_provider.metadata = None
    return shared_provider


@pytest_asyncio.fixture
async def site(provider: FakeProvider) -> AsyncIterator[Site]:
    async with a_site(provider) as made:
        yield made


@pytest_asyncio.fixture
async def browser(site: Site) -> AsyncIterator[Browser]:
    async with a_browser(site) as made:
        yield made
