"""Times as people write them on a command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

FAR_FUTURE_US = 1 << 62


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> int:
    """`90s`, `30m`, `2h` or `1d` as seconds. Raises BadParameter."""
    if text[-1:] in _UNITS and text[:-1].isascii() and text[:-1].isdigit() and len(text) <= 8:
        return int(text[:-1]) * _UNITS[text[-1]]
    raise click.BadParameter(f"{text!r} is no time as 90s, 30m or 2h", param_hint="--for")


def since_us(text: str) -> int:
    """`90d`, `12h`, `30m` ago, or a date, as microseconds since 1970 UTC. Raises BadParameter."""
    now = datetime.now(UTC)
    units = {"d": "days", "h": "hours", "m": "minutes"}
    try:
        if text[-1:] in units and text[:-1].isdigit():
            at = now - timedelta(**{units[text[-1]]: int(text[:-1])})
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither 90d, 12h nor a date as 2026-01-31", param_hint="--since"
        ) from None
    return int(at.timestamp() * 1_000_000)
