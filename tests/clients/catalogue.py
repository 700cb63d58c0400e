"""The clients that are tried, and what each is made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from taprail.connectors.local.artifacts import cache_directory, ensure_sets
from taprail.connectors.local.java import java
from taprail.connectors.local.postgres import installed_psql
from taprail.schemas.errors import StackError

HERE = Path(__file__).parent
DRIVER = "postgresql-"


def nothing() -> dict[str, str]:
    return {}


def stack_psql() -> dict[str, str]:
    """psql as the stack has it: built without TLS."""
    return {"CLIENT_PSQL": str(installed_psql()), "CLIENT_PSQL_TLS": ""}


def system_psql() -> dict[str, str]:
    """The system's psql, with TLS."""
    found = shutil.which("psql")
    if found is None:
        raise StackError("there is no psql on the path", hint="on Debian and Ubuntu: the package postgresql-client")
    return {"CLIENT_PSQL": found, "CLIENT_PSQL_TLS": "yes"}


def jars() -> dict[str, str]:
    """pgjdbc as the stack's own connector has it, HikariCP, and a JVM for JPype."""
    [driver] = ensure_sets(["debezium"])["debezium"].glob(f"{DRIVER}*.jar")
    others = ensure_sets(["clients"], lock=HERE / "clients.lock")["clients"].glob("*.jar")
    [library] = Path(java()).parents[1].rglob("libjvm.so")
    return {"CLIENT_JARS": ":".join(map(str, [driver, *others])), "CLIENT_JVM": str(library)}


@dataclass(frozen=True)
class Client:
    """`packages` go into an environment that clients of the same `room` share; `shows` is asked for the version."""

    name: str
    room: str
    packages: tuple[str, ...]
    shows: tuple[str, ...]
    environment: Callable[[], dict[str, str]] = nothing
    judged: tuple[str, ...] = ("denied", "held")  # what its program must tell of the policy

    @property
    def program(self) -> Path:
        return HERE / f"with_{self.name.removesuffix('_tls')}.py"


SQLALCHEMY = ("psycopg[binary,pool]==3.3.9", "SQLAlchemy==2.1.9")
CLIENTS = {
    client.name: client
    for client in (
        Client("psql", "python", SQLALCHEMY, (), stack_psql),
        Client("psql_tls", "python", SQLALCHEMY, (), system_psql),
        Client("psycopg", "python", SQLALCHEMY, ("psycopg", "psycopg-pool")),
        Client("sqlalchemy", "python", SQLALCHEMY, ("SQLAlchemy",)),
        Client("pandas", "pandas", (*SQLALCHEMY, "pandas==3.1.1"), ("pandas", "SQLAlchemy"), judged=()),
        Client("jdbc", "jdbc", ("JPype1==1.7.1",), ("JPype1",), jars),
        Client("notebook", "notebook", (*SQLALCHEMY, "pandas==3.1.1", "jupysql==0.11.1", "ipython==9.18.1"),
               ("jupysql", "ipython"), judged=("denied",)),
        Client("superset", "superset",
               ("apache-superset==6.1.0", "psycopg2-binary==2.9.13", "marshmallow<4", "Flask-Caching==2.3.1",
                "cachetools<7"),
               ("apache-superset", "psycopg2-binary"), judged=("denied",)),
        Client("django", "django", ("psycopg[binary]==3.3.9", "Django==5.2.19"), ("Django", "psycopg")),
    )
}  # fmt: skip


def prepared(client: Client) -> Path:
    """The Python of the client's environment. It is made, and its packages downloaded, where it isn't there."""
    room = cache_directory() / "clients" / client.room
    python, ready = room / "bin" / "python", room / "packages"
    wanted = "\n".join(client.packages)
    if not ready.is_file() or ready.read_text() != wanted:
        print(f"{client.name}: downloading {', '.join(client.packages)} (once)", file=sys.stderr, flush=True)
        venv.create(room, clear=True, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *client.packages]
        subprocess.run(pip, check=True)
        ready.write_text(wanted)
    return python


def version(client: Client, python: Path) -> str:
    """As installed."""
    if psql := client.environment().get("CLIENT_PSQL"):
        done = subprocess.run([psql, "--version"], capture_output=True, text=True, check=True)
        return done.stdout.strip()
    ask = "import sys; from importlib.metadata import version; print(*(f'{n} {version(n)}' for n in sys.argv[1:]))"
    done = subprocess.run([python, "-c", ask, *client.shows], capture_output=True, text=True, check=True)
    found = [done.stdout.strip()]
    found += [Path(jar).stem for jar in client.environment().get("CLIENT_JARS", "").split(":") if DRIVER in jar]
    return ", ".join(reversed(found))
