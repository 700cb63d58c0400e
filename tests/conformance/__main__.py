"""Foreign suites directly and through the tap, without marks and with them: `make conformance`.

    python -m tests.conformance [SUITE ...] [--marks off|on|both] [--log FOLDER]

Exit code 0: what was named ran, and every difference is on the reviewed list. 1: there is another one, or a suite
didn't run to its end. 3: a suite couldn't be run, because its source isn't here (docs/conformance.md says where it
comes from).
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
from collections.abc import Callable, Iterator
from pathlib import Path

from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.postgres import Postgres
from taprail.schemas.errors import TaprailError
from tests.conformance import comparing, regress, suites
from tests.conformance.comparing import Difference, Outcome, Reviewed
from tests.conformance.suites import NotHereError, Place, Side, Suite

REVIEWED = Path(__file__).parent / "reviewed.toml"
DIFFERS, NOT_RUN = 1, 3
AGAIN_MAX = 300  # more differences than this aren't chance
DIRECT, TAP, MARKS = "direct", "tap", "marks"
_SETTINGS = {"max_connections": "300", "max_prepared_transactions": "20"}
_MODES = {"off": (TAP,), "on": (MARKS,), "both": (TAP, MARKS)}


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
def a_tap(server: Postgres, folder: Path, name: str) -> Iterator[Side]:
    """The tap before it, in a process of its own."""
    spool = Path(tempfile.mkdtemp(prefix="spool-", dir=folder))
    environment = {**os.environ, "PGPASSWORD": server.endpoint.password}
    command = [sys.executable, "-m", "tests.conformance.tap", str(server.endpoint.port), str(spool), name]
    with (folder / "tap.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise TaprailError("the tap didn't start", hint=f"its log: {folder / 'tap.log'}")
        yield Side(name, int(port), server.endpoint.password)
        if process.poll() is not None:
            raise TaprailError("the tap died while the suite ran", hint=f"its log: {folder / 'tap.log'}")
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(spool, ignore_errors=True)


@contextlib.contextmanager
def a_side(name: str, prepare: Callable[[Postgres], None], folder: Path) -> Iterator[Side]:
    with a_server(folder) as server:
        prepare(server)
        if name == DIRECT:
            yield Side(DIRECT, server.endpoint.port, server.endpoint.password)
        else:
            with a_tap(server, folder, name) as side:
                yield side


# A suite of pytest's --------------------------------------------------------------------------------------------------


def run_side(
    name: str, suite: Suite, source: Path, place: Place, folder: Path, selection: tuple[str, ...] = ()
) -> dict[str, Outcome]:
    """How every test ended on one side. Raises TaprailError where too few passed directly."""
    outcomes = folder / f"{suite.name}-{name}{'-again' if selection else ''}.jsonl"
    outcomes.unlink(missing_ok=True)
    began = time.monotonic()
    with a_side(name, suite.prepare, folder) as side:
        suites.run(place, suite.command(source, side), outcomes, folder / f"{suite.name}-{name}.log", selection)
    ended = comparing.read_outcomes(outcomes)
    again = "again " if selection else ""
    print(f"{suite.name:12} {again}{name:7} {comparing.counts(ended)}  ({time.monotonic() - began:.0f} s)", flush=True)
    passed = sum(each.outcome == "passed" for each in ended.values())
    if name == DIRECT and not selection and passed < suite.least:
        raise TaprailError(f"{passed} tests of {suite.name} passed directly", hint=f"at least {suite.least} should")
    return ended


def compare(
    suite: Suite, source: Path, place: Place, folder: Path, modes: tuple[str, ...]
) -> Iterator[tuple[str, tuple[Difference, ...]]]:
    """What differs in each mode, and differs again when it is run again: a test may hang on time."""
    direct = run_side(DIRECT, suite, source, place, folder)
    for mode in modes:
        found = comparing.differences(direct, run_side(mode, suite, source, place, folder))
        if found and len(found) <= AGAIN_MAX:
            names = tuple(each.test for each in found)
            again = comparing.differences(
                run_side(DIRECT, suite, source, place, folder, names),
                run_side(mode, suite, source, place, folder, names),
            )
            found = steady(found, {each.test for each in again})
        yield mode, found


def steady(found: tuple[Difference, ...], again: set[str]) -> tuple[Difference, ...]:
    for each in found:
        if each.test not in again:
            print(f"  {each.test}: {each.shows}; alike again")
    return tuple(each for each in found if each.test in again)


# PostgreSQL's own -----------------------------------------------------------------------------------------------------


def print_side(name: str, source: Path, folder: Path) -> dict[str, tuple[str, ...]]:
    """What psql printed on one side. Raises TaprailError where it is too little to be the suite."""
    began = time.monotonic()
    with a_side(name, regress.prepare, folder) as side:
        printed = regress.run(source, side, folder)
    lines = sum(map(len, printed.values()))
    seconds = time.monotonic() - began
    print(f"{regress.NAME:12} {name:7} {len(printed)} files, {lines} lines  ({seconds:.0f} s)", flush=True)
    if lines < regress.LINES_LEAST:
        raise TaprailError(f"{lines} lines of {regress.NAME}", hint=f"at least {regress.LINES_LEAST} should be printed")
    return printed


def compare_lines(source: Path, folder: Path, modes: tuple[str, ...]) -> Iterator[tuple[str, tuple[Difference, ...]]]:
    """Which lines differ in each mode, but for those in which two direct runs differ from each other."""
    direct, again = print_side(DIRECT, source, folder), print_side(DIRECT, source, folder)
    for mode in modes:
        yield mode, comparing.line_differences(direct, again, print_side(mode, source, folder))


def report(suite: str, mode: str, found: tuple[Difference, ...], reviewed: tuple[Reviewed, ...]) -> bool:
    """Say what differs; whether all of it is on the reviewed list."""
    judged = comparing.judge(suite, found, reviewed, marks=mode == MARKS)
    for difference, reason in judged.reviewed:
        print(f"  reviewed  {difference.test}: {reason}")
    for difference in judged.new:
        print(f"  DIFFERS   {difference.test}")
        for line in difference.shows.splitlines()[:20]:
            print(f"            {line}")
    for entry in judged.unused:
        print(f"  unused    {entry.tests}: nothing differs there any more")
    print(f"{suite:12} {mode}: {len(found)} differ, {len(judged.new)} of them not reviewed", flush=True)
    return not judged.new


def run_suite(name: str, place: Place, folder: Path, modes: tuple[str, ...]) -> bool:
    """Whether everything that differs is reviewed. Raises NotHereError, and TaprailError where it can't be told."""
    reviewed = comparing.read_reviewed(REVIEWED)
    if name == regress.NAME:
        compared = compare_lines(suites.checkout(regress.SOURCE, regress.NEEDED), folder, modes)
    else:
        suite = next(each for each in suites.SUITES if each.name == name)
        compared = compare(suite, suite.source(place), place, folder, modes)
    alike = True
    for mode, found in compared:
        alike = report(name, mode, found, reviewed) and alike
    return alike


def main() -> int:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    known = [regress.NAME, *(suite.name for suite in suites.SUITES)]
    parser.add_argument("suite", nargs="*", help=f"of {', '.join(known)}; all of them unless named")
    parser.add_argument("--marks", choices=_MODES, default="both", help="run without marks, with them, or both")
    parser.add_argument("--log", type=Path, help="a folder where the suites' output stays")
    given = parser.parse_args()
    if unknown := set(given.suite) - set(known):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}")
    place, code = suites.place(), 0
    with contextlib.ExitStack() as stack:
        if given.log is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taprail-conformance-")))
        else:
            folder = given.log.resolve()
            folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        for name in given.suite or known:
            try:
                if not run_suite(name, place, folder, _MODES[given.marks]):
                    code = DIFFERS
            except NotHereError as error:
                print(f"{name:12} NOT RUN: {error.message}; {error.hint}", flush=True)
                code = code or NOT_RUN
            except TaprailError as error:
                print(f"{name:12} FAILED: {error}", flush=True)
                code = DIFFERS
    return code


if __name__ == "__main__":
    sys.exit(main())
