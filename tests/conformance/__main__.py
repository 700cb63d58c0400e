"""Foreign suites directly and through the tap: `make conformance`.

    python -m tests.conformance [SUITE ...] [--log FOLDER]

Exit code 0: what was named ran, and every difference is on the reviewed list. 1: there is another one. 3: a suite
couldn't be run, because its source isn't here (docs/conformance.md says where it comes from).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.postgres import Postgres
from taprail.schemas.errors import TaprailError
from tests.conformance import comparing, suites
from tests.conformance.comparing import Difference, Outcome
from tests.conformance.suites import NotHereError, Place, Side, Suite

REVIEWED = Path(__file__).parent / "reviewed.toml"
DIFFERS, NOT_RUN = 1, 3
AGAIN_MAX = 300  # more differences than this aren't chance
_SETTINGS = {"max_connections": "300", "max_prepared_transactions": "20"}


@contextlib.contextmanager
def a_server(folder: Path) -> Iterator[Postgres]:
    """A new PostgreSQL, which is gone afterwards: no suite finds what another run has left."""
    home = Path(tempfile.mkdtemp(prefix="server-", dir=folder))
    home.chmod(0o755)
    (home / "logs").mkdir()
    port = choose_ports(["postgres"], home / "ports.json")["postgres"]
    server = Postgres(home / "postgres", port, settings=_SETTINGS)
    server.start()
    try:
        yield server
    finally:
        server.child.stop()
        shutil.rmtree(server.data.parent, ignore_errors=True)


@contextlib.contextmanager
def a_tap(server: Postgres, folder: Path) -> Iterator[Side]:
    """The tap before it, in a process of its own."""
    spool = Path(tempfile.mkdtemp(prefix="spool-", dir=folder))
    environment = {**os.environ, "PGPASSWORD": server.endpoint.password}
    command = [sys.executable, "-m", "tests.conformance.tap", str(server.endpoint.port), str(spool)]
    with (folder / "tap.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise TaprailError("the tap didn't start", hint=f"its log: {folder / 'tap.log'}")
        yield Side("tap", int(port), server.endpoint.password)
        if process.poll() is not None:
            raise TaprailError("the tap died while the suite ran", hint=f"its log: {folder / 'tap.log'}")
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(spool, ignore_errors=True)


@contextlib.contextmanager
def a_side(name: str, suite: Suite, folder: Path) -> Iterator[Side]:
    with a_server(folder) as server:
        suite.prepare(server)
        if name == "direct":
            yield Side("direct", server.endpoint.port, server.endpoint.password)
        else:
            with a_tap(server, folder) as side:
                yield side


def run_side(
    name: str, suite: Suite, source: Path, place: Place, folder: Path, selection: tuple[str, ...] = ()
) -> dict[str, Outcome]:
    """How every test ended on one side."""
    outcomes = folder / f"{suite.name}-{name}{'-again' if selection else ''}.jsonl"
    outcomes.unlink(missing_ok=True)
    began = time.monotonic()
    with a_side(name, suite, folder) as side:
        suites.run(place, suite.command(source, side), outcomes, folder / f"{suite.name}-{name}.log", selection)
    ended = comparing.read_outcomes(outcomes)
    again = "again " if selection else ""
    print(f"{suite.name:12} {again}{name:7} {comparing.counts(ended)}  ({time.monotonic() - began:.0f} s)", flush=True)
    return ended


def compare(suite: Suite, source: Path, place: Place, folder: Path) -> tuple[tuple[Difference, ...], bool]:
    """What differs, and differs again: a test that hangs on time may end in either way. And whether any test ran."""
    direct = run_side("direct", suite, source, place, folder)
    tap = run_side("tap", suite, source, place, folder)
    found = comparing.differences(direct, tap)
    if found and len(found) <= AGAIN_MAX:
        names = tuple(each.test for each in found)
        again = comparing.differences(
            run_side("direct", suite, source, place, folder, names),
            run_side("tap", suite, source, place, folder, names),
        )
        steady = {each.test for each in again}
        for each in found:
            if each.test not in steady:
                print(f"  {each.test}: {each.direct.outcome} directly, {each.tap.outcome} through the tap, alike again")
        found = tuple(each for each in found if each.test in steady)
    return found, any(each.outcome == "passed" for each in direct.values())


def report(suite: str, found: tuple[Difference, ...]) -> bool:
    """Say what differs; whether all of it is on the reviewed list."""
    judged = comparing.judge(suite, found, comparing.read_reviewed(REVIEWED))
    for difference, reason in judged.reviewed:
        print(f"  reviewed  {difference.test}: {reason}")
    for difference in judged.new:
        print(f"  DIFFERS   {difference.test}: {difference.direct.outcome} directly, {difference.tap.outcome} tapped")
        for line in (difference.tap.why or difference.direct.why).splitlines()[:3]:
            print(f"            {line}")
    for entry in judged.unused:
        print(f"  unused    {entry.tests}: nothing differs there any more")
    print(f"{suite:12} {len(found)} differ, {len(judged.new)} of them not reviewed", flush=True)
    return not judged.new


def main() -> int:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    known = {suite.name: suite for suite in suites.SUITES}
    parser.add_argument("suite", nargs="*", help=f"of {', '.join(known)}; all of them unless named")
    parser.add_argument("--log", type=Path, help="a folder where the suites' output stays")
    given = parser.parse_args()
    if unknown := set(given.suite) - set(known):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}")
    place, code = suites.place(), 0
    with contextlib.ExitStack() as stack:
        if given.log is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taprail-conformance-")))
            folder.chmod(0o755)
        else:
            folder = given.log.resolve()
            folder.mkdir(parents=True, exist_ok=True)
        for name in given.suite or known:
            try:
                source = known[name].source(place)
            except NotHereError as error:
                print(f"{name:12} NOT RUN: {error.message}; {error.hint}", flush=True)
                code = code or NOT_RUN
                continue
            found, ran = compare(known[name], source, place, folder)
            if not (report(name, found) and ran):
                code = DIFFERS
    return code


if __name__ == "__main__":
    sys.exit(main())
