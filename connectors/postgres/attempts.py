"""How often somebody may sign in, and fail to: passwords aren't to be guessed, nor tap and server kept busy with it.

Failures have one bucket for each client address and user name, so that nobody locks somebody else out from elsewhere,
and a network that shares an address (NAT, a load balancer) isn't locked out by one program with an old token. An IPv6
client has 2^64 addresses of its own, so its network counts (RFC 6177). Sign-ins that succeed have a bucket for each
person: a program that connects anew for every statement costs the server a process each time.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from taprail.connectors.postgres.upstream import ServerRefused

KEPT_MAX = 10_000
MINUTES_MAX = 10  # who tries much at once, in parallel, waits for as long as it takes to forget it; but no longer


class TooManyAttempts(ServerRefused):
    """Not written down: the failures before it were, and a flood must not fill the spool."""


class Buckets:
    """By key: a bucket takes `per_minute` and loses as many in a minute; 0 for no limit. Times: monotonic seconds."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._levels: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # (level, when)

    def full(self, key: tuple[str, str], now: float) -> bool:
        return bool(self.per_minute) and self._level(key, now) > self.per_minute - 1

    def add(self, key: tuple[str, str], now: float) -> None:
        if not self.per_minute:
            return
        self._levels[key] = min(self._level(key, now) + 1, float(self.per_minute * MINUTES_MAX)), now
        self._levels.move_to_end(key)
        while len(self._levels) > KEPT_MAX:
            self._levels.popitem(last=False)

    def empty(self, key: tuple[str, str]) -> None:
        self._levels.pop(key, None)

    def __len__(self) -> int:
        return len(self._levels)

    def _level(self, key: tuple[str, str], now: float) -> float:
        level, when = self._levels.get(key, (0.0, now))
        return max(level - (now - when) * self.per_minute / 60, 0.0)


class Attempts:
    """The failures, and the sign-ins that succeeded. Its limits may be changed at any time."""

    def __init__(self, failures: int = 0, sign_ins: int = 0) -> None:
        self._failures, self._sign_ins = Buckets(failures), Buckets(sign_ins)

    def limit(self, failures: int, sign_ins: int) -> None:
        self._failures.per_minute, self._sign_ins.per_minute = failures, sign_ins

    def check(self, address: str, user: str, now: float) -> None:
        """Raises TooManyAttempts while this client has failed too often."""
        if self._failures.full((network_of(address), user), now):
            where = address or "this machine"
            raise TooManyAttempts(f"too many failed sign-ins of {user!r} from {where}", "53300", "wait some minutes")

    def failed(self, address: str, user: str, now: float) -> None:
        self._failures.add((network_of(address), user), now)

    def succeeded(self, address: str, user: str, person: tuple[str, str], now: float) -> None:
        """Forgive the failures, and count one more of the person's; raises TooManyAttempts where it is one too many."""
        self._failures.empty((network_of(address), user))
        if self._sign_ins.full(person, now):
            text = f"{person[1]} signs in too often: {self._sign_ins.per_minute} times a minute is the limit"
            raise TooManyAttempts(text, "53300", "keep connections open, in a pool for instance")
        self._sign_ins.add(person, now)

    def __len__(self) -> int:
        return len(self._failures)


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
