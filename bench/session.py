"""What the tap itself does for a small statement, without sockets: read, judge, record, pass on, count, record the end.

The same code runs as it is installed (compiled where a C compiler was at hand) and as plain Python, which is the
baseline; and the loop that masks rows the same way. CPU time, the best of several runs.

    python bench/session.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from figures import Figures

ROOT = Path(__file__).parent.parent
ROUNDS, TRANSACTIONS = 7, 4_000
TEXT = b"SELECT abalance FROM pgbench_accounts WHERE aid = "


def main() -> None:
    out = Figures("session")
    built = _run_in({})
    with tempfile.TemporaryDirectory() as folder:
        for room in ("schemas", "connectors", "streams"):
            shutil.copytree(ROOT / room, Path(folder, "taprail", room), ignore=shutil.ignore_patterns("*.so"))
        plain = _run_in({"PYTHONPATH": folder})
    for name, value in built.items():
        unit = "us/transaction" if "rows" not in name else "MB/s"
        out.figure(name, round(value, 1), unit, "plain Python", round(plain[name], 1))


def _run_in(env: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, __file__, "measure"]
    run = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout)
    return found


def measure() -> None:
    """In a process of its own: the figures as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        figures = {name: _best(one) for name, one in _transactions(Path(folder)).items()}
    print(json.dumps({**figures, "rows with 2 of 7 columns masked": _masked()}))


def _best(one: Callable[[int], None]) -> float:
    for number in range(2_000):
        one(number)
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for number in range(TRANSACTIONS):
            one(100_000 + number)
        best = min(best, (time.process_time() - started) / TRANSACTIONS * 1e6)
    return best


def _transactions(folder: Path) -> dict[str, Callable[[int], None]]:
    """Functions that play one transaction of `pgbench -S`, by protocol."""
    from taprail.connectors.postgres import messages as wire
    from taprail.connectors.postgres.session import Session
    from taprail.connectors.spool.spool import Spool
    from taprail.schemas.envelope import Sealer
    from taprail.schemas.guard import Field, SessionContext
    from taprail.schemas.records import Person
    from taprail.streams.policy.decision import RuleSettings
    from taprail.streams.policy.guard import PolicyGuard
    from taprail.streams.recording import SpoolRecorder

    catalog = _catalog()
    recorder = SpoolRecorder(Spool(folder, bytes_max=1 << 34), Sealer("data-1", b"d" * 32), b"m" * 32)
    guard = PolicyGuard(lambda _: catalog, RuleSettings())
    person = Person("ann", "ann@example.com", "person", ("engineers",), "https://idp.example")
    context = SessionContext(
        "6b4ccc5a-30a9-4c3c-a0f5-4a3f3be01bd0", "tap-1", "dev", "main", "dev", "app", person, "oidc", client="pgbench"
    )
    session = Session(context, guard, recorder)
    described = wire.row_description([Field("abalance", 16400, 3, 23, 0)])
    answer = described + wire.data_row([b"0"]) + wire.command_complete("SELECT 1") + wire.ready("I")
    parsed, bound = wire.message(wire.PARSE_COMPLETE), wire.message(wire.BIND_COMPLETE)
    run = wire.describe(b"P", b"") + wire.execute(b"") + wire.SYNC_MESSAGE

    def play(request: bytes, reply: bytes) -> None:
        session.from_client(request)
        session.take_to_server()
        session.from_server(reply)
        session.take_to_client()

    play(wire.parse(b"p", TEXT + b"$1") + wire.SYNC_MESSAGE, parsed + wire.ready("I"))
    unnamed = wire.parse(b"", TEXT + b"$1")
    return {
        "simple": lambda n: play(wire.query(TEXT + b"%d" % n), answer),
        "extended": lambda n: play(unnamed + wire.bind(b"", b"", [b"%d" % n]) + run, parsed + bound + answer),
        "prepared": lambda n: play(wire.bind(b"", b"p", [b"%d" % n]) + run, bound + answer),
    }


def _catalog() -> object:
    from taprail.schemas.guard import Column, RelationInfo

    columns = tuple(Column(n, name, 23, "int4") for n, name in enumerate(("aid", "bid", "abalance"), 1))
    accounts = RelationInfo(16400, "public", "pgbench_accounts", "r", columns)

    class Catalog:
        epoch, current = 1, True
        resolve = staticmethod(lambda schema, name, path, role: accounts if name == accounts.name else None)
        candidates = staticmethod(lambda schema, name, path, role: (accounts,) if name == accounts.name else ())
        runs_code = staticmethod(lambda name: False)
        callable = staticmethod(lambda name: False)
        named = staticmethod(lambda name: name == accounts.name)
        by_oid = staticmethod(lambda oid: accounts if oid == accounts.oid else None)
        volatile = staticmethod(lambda function: False)
        builtin = staticmethod(lambda function: True)
        sensitive = staticmethod(dict)
        oids = staticmethod(lambda: frozenset((accounts.oid,)))
        newest = staticmethod(lambda: {accounts.oid: 3})

    return Catalog()


def _masked() -> float:
    from taprail.connectors.postgres import messages as wire
    from taprail.connectors.postgres import rows

    data = b"".join(
        wire.data_row(
            [b"%d" % n, b"%d" % (n * 7), b"Person %d" % n, b"p.%d@example.com" % n, b"x" * 60, b"y" * 56, b"7"]
        )
        for n in range(300)
    )
    stars = rows.replacement(b"***")
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(100):
            rows.rewrite(data, 0, (None, None, stars, stars, None, None, None))
        best = min(best, (time.process_time() - started) / 100)
    return len(data) / best / 1e6


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["measure"] else main()
