"""POSTing JSON to a service: what its status means for trying again. Shared by the sinks that speak plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from taprail.connectors.retry import Busy, DeliveryError

TIMEOUT = aiohttp.ClientTimeout(total=15)
ANSWER_BYTES_MAX = 200
PASSING = (408, 425, 429)  # beside 5xx: RFC 9110, RFC 8470, RFC 6585


async def post(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], what: str) -> None:
    """Raises Busy for what may pass (network, 408, 425, 429, 5xx), DeliveryError for what won't (any other refusal)."""
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
            if answer.status in PASSING or answer.status >= 500:
                raise Busy(f"status {answer.status}", _seconds(answer.headers.get("Retry-After", "")))
            # It may be long, in any encoding, and made to look like a line of our log.
            text = (await answer.content.read(ANSWER_BYTES_MAX)).decode(errors="replace")
            raise DeliveryError(f"{what} was refused with status {answer.status}: {text!r}", hint="check its settings")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Busy(f"{type(error).__name__}: {error}") from error


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() else None
