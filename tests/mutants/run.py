"""`make mutants`: switch off each defence in turn, in a copy of the tree, and demand that a test turns red.

A defence whose absence no test sees is a missing test; one whose source text isn't found any more is a list that has
grown old. Either ends the verb with an error. The work tree is never changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.approvals import APPROVALS
from tests.mutants.defences import MUTANTS as TAP
from tests.mutants.defences import Mutant
from tests.mutants.identities import IDENTITIES

MUTANTS = [*TAP, *IDENTITIES, *APPROVALS]
ROOT = Path(__file__).parent.parent.parent
COPIED = ("schemas", "connectors", "streams", "tests")
WORKERS, SECONDS_MAX = 2, 120
PASSED, FAILED = 0, 1  # pytest's exit codes; any other says that the tests themselves couldn't run


class Copy:
    """The tree without what is built, with its own import root."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in COPIED:
            shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, home)
        package = home / ".dev" / "taprail"
        package.mkdir(parents=True)
        for name in COPIED[:3]:
            (package / name).symlink_to(home / name)

    def test(self, tests: tuple[str, ...]) -> tuple[int, str]:
        """(pytest's exit code, the end of what it said)."""
        found = os.pathsep.join((str(self.home / ".dev"), str(self.home)))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": found, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX
            )
        except subprocess.TimeoutExpired:
            return FAILED, f"not done after {SECONDS_MAX} s"
        return done.returncode, done.stdout[-2000:]

    def try_out(self, mutant: Mutant) -> str:
        """'' where a test turned red, or what is wrong."""
        path = self.home / mutant.path
        text = path.read_text()
        if text.count(mutant.source) != 1:
            return f"its text stands {text.count(mutant.source)} times in {mutant.path}"
        path.write_text(text.replace(mutant.source, mutant.replacement))
        try:
            code, said = self.test(mutant.tests)
        finally:
            path.write_text(text)
        if code == PASSED:
            return "SURVIVED"
        return "" if code == FAILED else f"pytest couldn't run (exit code {code})\n{said}"


def main(names: list[str]) -> int:
    chosen = [m for m in MUTANTS if not names or m.name in names]
    problems = 0
    with tempfile.TemporaryDirectory(prefix="taprail-mutants-") as home:
        copies = [Copy(Path(home) / str(number)) for number in range(WORKERS)]
        tests = tuple(sorted({test for mutant in chosen for test in mutant.tests}))
        code, said = copies[0].test(tests)
        if code != PASSED:
            print(f"the tests fail without any mutant\n{said}")
            return 1
        free = list(copies)

        def run(mutant: Mutant) -> tuple[str, float]:
            copy, began = free.pop(), time.monotonic()
            try:
                return copy.try_out(mutant), time.monotonic() - began
            finally:
                free.append(copy)

        with ThreadPoolExecutor(WORKERS) as pool:
            for mutant, (problem, seconds) in zip(chosen, pool.map(run, chosen), strict=True):
                problems += bool(problem)
                print(f"{mutant.name:45} {seconds:5.1f} s  {problem or 'caught'}", flush=True)
    print(f"{len(chosen)} defences, {problems} without a test that sees them go")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
