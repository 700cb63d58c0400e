"""The suites: where each one's source comes from, and the command that runs it against a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
from msgspec import Struct

from taprail.connectors.local.postgres import Postgres
from taprail.schemas.errors import TaprailError

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
PSYCOPG = "TAPRAIL_PSYCOPG_CHECKOUT"
DATABASE = "conformance"
_ALL_PASSED, _SOME_FAILED = 0, 1  # pytest's exit codes; 2 to 5 are no run
_PYTEST = ("-m", "pytest", "-p", "outcome_lines", "-q", "--timeout=60", "--tb=short")


class NotHereError(TaprailError):
    """A suite can't be run: its source is on no package registry, and nobody has named a copy."""


class Place(Struct, frozen=True):
    """Where the suites are run: their Python, and the sources that packages have."""

    python: Path
    sources: Path


class Side(Struct, frozen=True):
    """What a suite talks to: the server itself or the tap."""

    name: str
    port: int
    password: str


class Command(Struct, frozen=True):
    """`arguments` go to Python; `selection` is what to run, which may be replaced by the names of single tests."""

    folder: Path
    arguments: tuple[str, ...]
    selection: tuple[str, ...]
    environment: Mapping[str, str]


class Suite(Struct, frozen=True):
    """A suite that pytest runs. `least` is how many tests must pass directly: with fewer it didn't run as it should.

    `source` finds or fetches it (raises NotHereError); `prepare` makes in a new server what the suite needs.
    """

    name: str
    least: int
    source: Callable[[Place], Path]
    prepare: Callable[[Postgres], None]
    command: Callable[[Path, Side], Command]


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taprail" / "conformance"


def place() -> Place:
    """The suites' own environment and the sources that packages have; made again when the requirements change."""
    folder, wanted = cache(), REQUIREMENTS.read_text()
    done = folder / "requirements.txt"
    made = Place(folder / "venv" / "bin" / "python", folder / "sources")
    if done.exists() and done.read_text() == wanted:
        return made
    print(f"installing what the suites need into {folder}", flush=True)
    venv.create(folder / "venv", with_pip=True)
    pip = [made.python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-r", REQUIREMENTS], check=True)
    shutil.rmtree(made.sources, ignore_errors=True)
    for name in ("asyncpg", "sqlalchemy"):
        [version] = [line for line in wanted.splitlines() if line.startswith(f"{name}==")]
        where = folder / "sdists" / version
        subprocess.run([*pip, "download", "--no-deps", f"--no-binary={name}", "-d", where, version], check=True)
        [archive] = where.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(made.sources, filter="data")
    done.write_text(wanted)
    return made


def _unpacked(place: Place, name: str) -> Path:
    [folder] = place.sources.glob(f"{name}-*")
    return folder


def checkout(variable: str, needed: str) -> Path:
    """The copy of a source that `variable` names, which has the file `needed`. Raises NotHereError."""
    named = os.environ.get(variable, "")
    if not named:
        raise NotHereError(f"{variable} isn't set", hint="name a copy of its source there: docs/conformance.md")
    folder = Path(named).resolve()
    if not (folder / needed).exists():
        raise NotHereError(f"{variable} names {folder}, which has no {needed}", hint="see docs/conformance.md")
    return folder


def _database(server: Postgres, *statements: str) -> None:
    server.create_database(DATABASE)
    with psycopg.connect(server.endpoint.dsn(DATABASE), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _libpq(side: Side) -> dict[str, str]:
    given = {"PGHOST": "127.0.0.1", "PGPORT": str(side.port), "PGUSER": "postgres", "PGPASSWORD": side.password}
    return {**given, "PGDATABASE": DATABASE, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}


# asyncpg --------------------------------------------------------------------------------------------------------------


def _asyncpg_source(place: Place) -> Path:
    folder = _unpacked(place, "asyncpg")
    shutil.rmtree(folder / "asyncpg", ignore_errors=True)  # the installed package is what is tested, and it is compiled
    return folder


def _asyncpg(source: Path, side: Side) -> Command:
    style = "--ignore=tests/test__sourcecode.py"  # of its own source
    return Command(source, (*_PYTEST, style), ("tests",), _libpq(side))


# SQLAlchemy -----------------------------------------------------------------------------------------------------------


def _sqlalchemy_prepare(server: Postgres) -> None:
    _database(
        server,
        "CREATE EXTENSION hstore",
        "CREATE EXTENSION citext",
        "CREATE SCHEMA test_schema",
    )


def _sqlalchemy(source: Path, side: Side) -> Command:
    url = f"postgresql+psycopg://postgres:{side.password}@127.0.0.1:{side.port}/{DATABASE}?sslmode=disable"
    arguments = (*_PYTEST, "-o", "addopts=", "-p", "no:logging", "--dburi", url)
    return Command(source, arguments, ("test/dialect/test_suite.py",), {})


# psycopg --------------------------------------------------------------------------------------------------------------


def _psycopg(source: Path, side: Side) -> Command:
    dsn = f"host=127.0.0.1 port={side.port} user=postgres password={side.password} dbname={DATABASE} sslmode=disable"
    environment = {
        "PYTHONPATH": os.pathsep.join(str(source / part) for part in ("psycopg", "psycopg_pool")),
        "PSYCOPG_IMPL": "python",
        "PSYCOPG_TEST_DSN": dsn,
    }
    marked = ("-m", "not slow and not timing and not mypy")
    return Command(source, (*_PYTEST, "-p", "no:randomly", *marked, "--ignore=tests/pool"), ("tests",), environment)


SUITES = (
    Suite("asyncpg", 290, _asyncpg_source, _database, _asyncpg),
    Suite("sqlalchemy", 1800, lambda place: _unpacked(place, "sqlalchemy"), _sqlalchemy_prepare, _sqlalchemy),
    Suite("psycopg", 4500, lambda place: checkout(PSYCOPG, "tests/fix_db.py"), _database, _psycopg),
)


def run(place: Place, command: Command, outcomes: Path, log: Path, selection: tuple[str, ...]) -> None:
    """Run the suite, or `selection` of it. What it says goes to `log`, how tests end to `outcomes`.

    Raises TaprailError where pytest didn't come to its end: then what is in `outcomes` proves nothing.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTEST", "PYTHON"))}
    environment = {**inherited, **command.environment, "OUTCOMES": str(outcomes)}
    paths = [str(HERE / "plugin"), *filter(None, [command.environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    with log.open("ab") as file:
        arguments = [str(place.python), *command.arguments, *(selection or command.selection)]
        ended = subprocess.run(arguments, cwd=command.folder, env=environment, stdout=file, stderr=file, check=False)
    if ended.returncode not in (_ALL_PASSED, _SOME_FAILED):
        raise TaprailError(f"pytest ended with exit code {ended.returncode}", hint=f"what it said: {log}")
