"""How often one client may fail to prove who it is: passwords aren't to be guessed, nor the tap kept busy with it.

One bucket for each client address and user name, so that nobody locks somebody else out from elsewhere, and a network
that shares an address (NAT, a load balancer) isn't locked out by one program with an old token. An IPv6 client has 2^64
addresses of its own, so its network counts (RFC 6177).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from taprail.connectors.postgres.upstream import ServerRefused

KEPT_MAX = 10_000
MINUTES_MAX = 10  # who tries much at once, in parallel, waits for as long as it takes to forget it; but no longer


class TooManyAttempts(ServerRefused):
    """Not written down: the failures before it were, and a flood must not fill the spool."""


class Attempts:
    """A bucket takes `per_minute` failures and loses as many in a minute; 0 for no limit."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # (level, when)

    def check(self, address: str, user: str, now: float) -> None:
        """Raises TooManyAttempts while the bucket is full. `now` is monotonic seconds."""
        if self.per_minute and self._level((network_of(address), user), now) > self.per_minute - 1:
            raise TooManyAttempts(
                f"too many failed sign-ins of {user!r} from {address or 'this machine'}", "53300", "wait some minutes"
            )

    def failed(self, address: str, user: str, now: float) -> None:
        """Count one more."""
        if not self.per_minute:
            return
        key = network_of(address), user
        self._buckets[key] = min(self._level(key, now) + 1, float(self.per_minute * MINUTES_MAX)), now
        self._buckets.move_to_end(key)
        while len(self._buckets) > KEPT_MAX:
            self._buckets.popitem(last=False)

    def succeeded(self, address: str, user: str) -> None:
        self._buckets.pop((network_of(address), user), None)

    def __len__(self) -> int:
        return len(self._buckets)

    def _level(self, key: tuple[str, str], now: float) -> float:
        level, when = self._buckets.get(key, (0.0, now))
        return max(level - (now - when) * self.per_minute / 60, 0.0)


def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, an IPv6 network of 64 bits, or the text itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
