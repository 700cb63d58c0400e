"""Ports on loopback that nothing listens on, the same ones again where possible."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from pathlib import Path

import msgspec

from taprail.schemas.errors import StackError

LOOPBACK = "127.0.0.1"
_FIRST_PORT = 20_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback now. Lingering closed connections don't count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_ports(names: Iterable[str], file: Path) -> dict[str, int]:
    """A free port for each name. What `file` holds from an earlier choice is kept where it is still free."""
    earlier: dict[str, int] = {}
    if file.exists():
        earlier = msgspec.json.decode(file.read_bytes(), type=dict[str, int])
    chosen: dict[str, int] = {}
    for name in names:
        port = earlier.get(name, 0)
        if not port or port in chosen.values() or not is_free(port):
            port = _free_port(taken=set(chosen.values()) | set(earlier.values()))
        chosen[name] = port
    file.write_bytes(msgspec.json.encode(chosen))
    return chosen


def _free_port(taken: set[int]) -> int:
    """A random port below the ephemeral range: an outgoing connection can't take it before our server does."""
    last = 32_767
    if _EPHEMERAL_RANGE.exists():
        last = int(_EPHEMERAL_RANGE.read_text().split()[0]) - 1
    first = min(_FIRST_PORT, max(1_024, last - 4_096))
    for _ in range(_TRIES):
        port = random.randint(first, max(first, last))
        if port not in taken and is_free(port):
            return port
    raise StackError(
        f"no free port on {LOOPBACK} between {first} and {last} after {_TRIES} tries",
        hint="see what listens there with: ss -ltn",
    )
