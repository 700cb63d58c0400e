"""TLS between the tap and a real server, which the packaged PostgreSQL can't: a part of `make versions` alone."""

from __future__ import annotations

import os
import pwd
import shutil
import ssl
import tempfile
import threading
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.postgres import Postgres
from taprail.connectors.postgres.upstream import client_context
from tests.fakes.certificates import certificate

PROGRAMS = Path(os.environ["TAPRAIL_TEST_POSTGRES"])
ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def server():
    home = Path(tempfile.mkdtemp(prefix="taprail-tls-"))
    home.chmod(0o755)
    (home / "logs").mkdir()
    certificate(home, "localhost")
    key, owner = home / "localhost.key", pwd.getpwnam("nobody")
    key.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(key, owner.pw_uid, owner.pw_gid)
    settings = {"ssl": "on", "ssl_cert_file": str(home / "localhost.pem"), "ssl_key_file": str(key)}
    port = choose_ports(["postgres"], home / "ports.json")["postgres"]
    made = Postgres(home / "postgres", port, settings=settings, programs=PROGRAMS)
    made.authority = home / "localhost.pem"
    made.start()
    yield made
    made.child.stop()
    shutil.rmtree(made.data.parent, ignore_errors=True)
    shutil.rmtree(home)


def aim(bed, **changes):
    """Let the tap's sessions go to the server over TLS."""
    context = client_context(ssl.create_default_context(cafile=str(bed.server.authority)))
    target = bed.target
    bed.target = lambda login: replace(target(login), **{"ssl": context, "ssl_hostname": "localhost", **changes})


def test_sessions_and_cancels_are_encrypted(bed):
    aim(bed)
    with bed.connect() as connection:
        encrypted, version = connection.execute(ENCRYPTED).fetchone()
        assert encrypted and version in ("TLSv1.2", "TLSv1.3")
        threading.Timer(0.2, connection.cancel_safe).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")


def test_tls_at_once_works_from_17_on(bed):
    with bed.direct() as direct:
        speaks_it = direct.info.server_version >= 170_000
    aim(bed, direct_tls=True)
    if speaks_it:
        with bed.connect() as connection:
            assert connection.execute(ENCRYPTED).fetchone()[0]
    else:
        with pytest.raises(psycopg.OperationalError, match=r"no TLS with server main|reach server main"):
            bed.connect()


@pytest.mark.parametrize("wrong", [{"ssl_hostname": "elsewhere"}, {"ssl": ssl.create_default_context()}])
def test_a_server_that_proves_nothing_gets_no_password(bed, wrong):
    aim(bed, **wrong)
    with pytest.raises(psycopg.OperationalError, match="no TLS with server main"):
        bed.connect()
