"""Clients that people use, tried directly and through the tap: `make clients`.

    python -m tests.clients [NAME ...]

Each client has an environment of its own below `~/.cache/taprail/clients`, made at its first run, and a program
`with_NAME.py` here, which runs three times: directly, as somebody who sees everything, and as somebody who sees
personal data masked. A table says how each ended; the exit code is 1 where one failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from taprail.connectors.local.stack import LocalStack
from taprail.schemas.endpoints import Endpoints, read_endpoints
from taprail.schemas.errors import StackError
from tests.clients import comparing
from tests.clients.catalogue import CLIENTS, Client, prepared, version
from tests.clients.ground import CLEAR, DIRECT, MASKED, MASKED_COLUMNS, Ground, ground

SECONDS_MAX = 900


def run(client: Client, python: Path, ground: Ground, way: str, log: Path) -> comparing.Steps:
    """What the program told. AssertionError with the end of what it said, where it failed."""
    environment = {**os.environ, **ground.environment(way), **client.environment(), "TZ": "UTC", "PYTHONPATH": ""}
    done = subprocess.run(
        [python, client.program],
        env=environment,
        cwd=log,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    (log / f"{client.name}-{way}.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, f"{way}: exit code {done.returncode}: {done.stderr[-1500:]}"
    return comparing.read(done.stdout)


def attempt(client: Client, python: Path, ground: Ground, log: Path) -> tuple[int, list[str]]:
    """How many steps were compared, and what is wrong."""
    try:
        direct, clear, masked = (run(client, python, ground, way, log) for way in (DIRECT, CLEAR, MASKED))
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return 0, [str(error)]
    wrong = list(comparing.problems(direct, clear, masked, MASKED_COLUMNS))
    wrong += [f"{step}: not told" for step in client.judged if step not in clear or step not in masked]
    return len(direct.keys() | clear.keys()), wrong


@contextlib.contextmanager
def stack() -> Iterator[Endpoints]:
    """A running one (TAPRAIL_TEST_ENDPOINTS) or one of its own."""
    if running := os.environ.get("TAPRAIL_TEST_ENDPOINTS"):
        yield read_endpoints(Path(running))
        return
    with tempfile.TemporaryDirectory(prefix="taprail-clients-") as home, LocalStack(Path(home)) as local:
        yield local.endpoints


def main() -> int:
    parser = argparse.ArgumentParser(prog="make clients", description=__doc__)
    parser.add_argument("client", nargs="*", help=f"of {', '.join(CLIENTS)}; all of them unless named")
    parser.add_argument("--log", type=Path, help="a folder where what the clients said stays")
    given = parser.parse_args()
    if unknown := set(given.client) - set(CLIENTS):
        parser.error(f"there is no client {', '.join(sorted(unknown))}")
    failed = False
    with tempfile.TemporaryDirectory(prefix="taprail-clients-") as folder, stack() as endpoints:
        log = given.log.resolve() if given.log else Path(folder) / "log"
        log.mkdir(parents=True, exist_ok=True)
        with ground(endpoints, Path(folder)) as place:
            print(f"{'client':<12} {'version':<40} {'steps':>5} {'seconds':>7}  result")
            for name in given.client or CLIENTS:
                client = CLIENTS[name]
                try:
                    python, shown = prepared(client), version(client, prepared(client))
                except StackError as error:
                    print(f"{name:<12} NOT RUN: {error}", flush=True)
                    failed = True
                    continue
                began = time.monotonic()
                steps, wrong = attempt(client, python, place, log)
                failed = failed or bool(wrong)
                taken = time.monotonic() - began
                result = "FAILED" if wrong else "as directly"
                print(f"{name:<12} {shown:<40} {steps:>5} {taken:>7.1f}  {result}", flush=True)
                for each in wrong:
                    print(f"    {each}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
