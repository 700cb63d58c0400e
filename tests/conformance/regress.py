"""PostgreSQL's own regression suite by psql, as its pg_regress runs it: one file of SQL after the other, in the order
of its schedule, against one database; what psql prints is what is compared.

Not as pg_regress does it: the files of a parallel group run one by one, so that what they print depends on less, and
`expected/` isn't looked at: the direct run is what is expected.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg

from taprail.connectors.local.postgres import Postgres, installed_psql
from tests.conformance.suites import Side

NAME, SOURCE = "regress", "TAPRAIL_POSTGRES_SOURCE"
LINES_LEAST = 250_000
NEEDED = "src/test/regress/parallel_schedule"
DATABASE = "regression"
TEST_SECONDS = 600.0
_ROLE_SETTINGS = {"lc_messages": "C", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C", "bytea_output": "hex"}
_PSQL = ("-X", "-a", "-q", "-d", DATABASE, "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on")


def schedule(source: Path) -> tuple[str, ...]:
    """The names of the tests, in the order in which they run."""
    lines = (source / NEEDED).read_text().splitlines()
    return tuple(name for line in lines if line.startswith("test:") for name in line.removeprefix("test:").split())


def prepare(server: Postgres) -> None:
    """The suite's database, and roles that need no password, as pg_regress's own server has it."""
    (server.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    with psycopg.connect(server.endpoint.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
        for name, value in {**_ROLE_SETTINGS, "timezone_abbreviations": "Default"}.items():
            connection.execute(f"ALTER DATABASE {DATABASE} SET {name} TO '{value}'".encode())


def work_folder(source: Path, folder: Path) -> Path:
    """What the suite reads and writes by path, where the server's user gets at it: the same place on every side."""
    work = folder / "regress"
    shutil.rmtree(work, ignore_errors=True)
    for name in ("sql", "data"):
        shutil.copytree(source / "src/test/regress" / name, work / name)
    for name in ("results", "testtablespace"):
        (work / name).mkdir()
        (work / name).chmod(0o777)
    for library in (source / "src/test/regress").glob("regress.so"):
        shutil.copy(library, work)
    work.chmod(0o777)
    return work


def run(source: Path, side: Side, folder: Path) -> dict[str, tuple[str, ...]]:
    """The lines that psql printed, by test. A psql that doesn't end in time is ended, and says so in the last line."""
    work = work_folder(source, folder)
    return {name: _run_one(name, side, work) for name in schedule(source)}


def _run_one(name: str, side: Side, work: Path) -> tuple[str, ...]:
    printed = work / "results" / f"{name}.out"
    with (work / "sql" / f"{name}.sql").open("rb") as script, printed.open("wb") as output:
        try:
            ended = subprocess.run(
                [installed_psql(), *_PSQL],
                stdin=script,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=work,
                env=_environment(name, side, work),
                timeout=TEST_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            ended = None
    text = printed.read_bytes().decode(errors="backslashreplace")
    return (*text.split("\n"), f"psql's exit code: {ended}")


def _environment(name: str, side: Side, work: Path) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return {
        **inherited,
        "LANG": "C",
        "LC_MESSAGES": "C",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(side.port),
        "PGUSER": "postgres",
        "PGPASSWORD": side.password,
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
        "PGAPPNAME": f"pg_regress/{name}",
        "PGTZ": "America/Los_Angeles",
        "PGDATESTYLE": "Postgres, MDY",
        "PGOPTIONS": "-c intervalstyle=postgres_verbose",
        "PG_ABS_SRCDIR": str(work),
        "PG_ABS_BUILDDIR": str(work),
        "PG_LIBDIR": str(work),
        "PG_DLSUFFIX": ".so",
    }
