"""POSTing JSON to a service: what its status means for trying again. Shared by the sinks that speak plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from taprail.connectors.retry import Busy, DeliveryError

TIMEOUT = aiohttp.ClientTimeout(total=15)
ANSWER_CHARACTERS_MAX = 200


async def post(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], what: str) -> None:
    """Raises Busy for what may pass (network, 429, 5xx), DeliveryError for what won't (any other refusal)."""
    try:
        async with session.post(
            url,
            data=body,
            headers={"Content-Type": "application/json", **headers},
            timeout=TIMEOUT,
            allow_redirects=False,
        ) as answer:
            if answer.status < 300:
                return
            text = (await answer.text())[:ANSWER_CHARACTERS_MAX]
            if answer.status == 429 or answer.status >= 500:
                raise Busy(f"status {answer.status}", _seconds(answer.headers.get("Retry-After", "")))
            raise DeliveryError(f"{what} was refused with status {answer.status}: {text}", hint="check its settings")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Busy(f"{type(error).__name__}: {error}") from error


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() else None
