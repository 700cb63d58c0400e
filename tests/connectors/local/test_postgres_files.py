"""PostgreSQL's files: reachable for the user it runs as, and gone with the home that they belong to."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from taprail.connectors.local import postgres as local_postgres
from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.postgres import Postgres


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that only its owner can enter, as pytest's folders are."""
    (tmp_path / "closed").mkdir(mode=0o700)
    path = tmp_path / "closed" / "postgres"
    yield path
    location = path / "location"
    if location.exists():  # we are root: the data stand outside
        shutil.rmtree(location.read_text())


def start(home: Path) -> Postgres:
    server = Postgres(home, choose_ports(["postgres"], home.parent / "ports.json")["postgres"])
    server.start()
    return server


def databases(server: Postgres) -> set[str]:
    with psycopg.connect(server.endpoint.dsn()) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def test_data_survives_a_restart_and_not_the_deletion_of_its_home(home: Path) -> None:
    server = start(home)
    server.create_database("kept")
    server.create_database("kept")
    data = server.data
    server.child.stop()
    server = start(home)
    assert "kept" in databases(server)
    server.child.stop()

    shutil.rmtree(home)
    server = start(home)
    assert "kept" not in databases(server)
    assert server.data == data or not data.exists()
    server.child.stop()


def test_a_killed_server_recovers(home: Path) -> None:
    server = start(home)
    server.create_database("kept")
    server.child.kill()
    server = start(home)
    assert "kept" in databases(server)
    server.child.stop()


def test_the_password_is_wanted_and_nothing_but_loopback_listens(home: Path) -> None:
    server = start(home)
    wrong = server.endpoint.dsn().replace(server.endpoint.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    with psycopg.connect(server.endpoint.dsn()) as connection:
        settings = "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories')"
        assert connection.execute(settings).fetchone() == ("127.0.0.1", "")
        logical = connection.execute("SELECT current_setting('wal_level'), current_setting('is_superuser')").fetchone()
        assert logical == ("logical", "on")
    assert server.data.stat().st_mode & 0o077 == 0
    server.child.stop()


def test_programs_run_from_a_copy_where_the_package_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_postgres, "_SYSTEM_HOME", tmp_path)
    monkeypatch.setattr(local_postgres, "_open_to_others", lambda _path: False)
    install = local_postgres._install(as_other_user=True)
    assert install.is_relative_to(tmp_path)
    assert b"PostgreSQL" in subprocess.check_output([install / "bin" / "psql", "--version"])  # it finds its libraries
    assert local_postgres._install(as_other_user=True) == install
