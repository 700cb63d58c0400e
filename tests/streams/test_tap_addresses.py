"""From settings to addresses: what a running tap listens on, and which databases are reached there."""

from __future__ import annotations

import pathlib
import ssl

import psycopg
import pytest

from taprail.schemas.errors import SettingsError
from taprail.streams import settings
from taprail.streams.tap_listen import addresses_of, limits_of, server_context
from tests.fakes.certificates import certificate
from tests.fakes.running_tap import RunningTap

ADDRESSES = """
certificate = "localhost.pem"
private_key = "localhost.key"
[[tap.listeners]]
name = "staging"
host = "127.0.0.1"
port = {port}
environments = ["staging"]
require_tls = true
[[tap.listeners]]
name = "local"
unix_directory = "sockets"
unix_mode = "0700"
[[tap.hosts]]
name = "*.staging.example"
environment = "staging"
certificate = "db.staging.example.pem"
private_key = "db.staging.example.key"
"""


@pytest.fixture
def tap(tmp_path, stack, fresh_database):
    """Two databases of one name on the server: dev's, and staging's behind a port and a host name of its own."""
    made = RunningTap(tmp_path, stack, fresh_database)
    for name in ("localhost", "db.staging.example"):
        certificate(tmp_path, name)
    made.write(tap=ADDRESSES.format(port=made.port + 1))
    text = made.config.read_text()
    database = text[text.index("[[databases]]") : text.index("[tap]")]
    staging = database.replace(f'"{made.database}"', f'"staging-copy"\ndatabase = "{made.database}"', 1)
    made.config.write_text(text.replace("[tap]", staging.replace('"dev"', '"staging"') + "[tap]"))
    return made


def test_the_same_name_is_another_database_at_another_address(tap, tmp_path):
    """Which one it is, the session's record says; here the tap's answer to a name that only one of them has."""

    def reached(name="staging-copy", **where):
        with tap.connect(dbname=name, **where) as connection:
            return connection.execute("SELECT current_database()").fetchone() == (tap.database,)

    staging = {"port": tap.port + 1, "sslmode": "require"}
    host = {"host": "db.staging.example", "hostaddr": "127.0.0.1", "sslmode": "verify-full"}
    host["sslrootcert"] = str(tmp_path / "db.staging.example.pem")
    with tap:
        assert reached() and reached(tap.database) and reached(f"staging/{tap.database}")
        assert reached(tap.database, **staging) and reached("staging-copy", **staging)
        assert reached(tap.database, **host) and reached(host=str(tmp_path / "sockets"), port=6432)
        for where in (staging, host):
            with pytest.raises(psycopg.OperationalError, match="there are: staging-copy"):
                reached(f"dev/{tap.database}", **where)
        with pytest.raises(psycopg.OperationalError, match="takes TLS only"):
            reached(**{**staging, "sslmode": "disable"})
    assert (tmp_path / "sockets").exists() and not list((tmp_path / "sockets").glob(".s.PGSQL.*[0-9]"))


def test_unix_sockets_are_the_first_processes_alone(tap):
    tap.config.write_text(tap.config.read_text().replace("[tap]\n", "[tap]\nprocesses = 2\n"))
    loaded = settings.load(tap.config)
    first, second = addresses_of(loaded, 0), addresses_of(loaded, 1)
    assert [bool(address.directory) for address in first] == [False, False, True]
    assert [address.port for address in second] == [tap.port, tap.port + 1]
    assert all(address.reuse_port for address in second) and first[2].mode == 0o700
    assert first[0].tls is not None and first[0].tls is not first[1].tls and first[2].tls is None


def test_every_limit_of_the_settings_is_one_of_the_proxys(tap):
    limits = settings.load(tap.config).settings.tap.limits
    made = limits_of(limits)
    assert [getattr(made, name) for name in limits.__struct_fields__] == [
        getattr(limits, name) for name in limits.__struct_fields__
    ]


def test_a_key_that_asks_for_a_passphrase_is_an_error_and_no_question(tap, tmp_path):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((tmp_path / "localhost.key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    pathlib.Path(tmp_path / "locked.key").write_bytes(pem)
    with pytest.raises(SettingsError, match=r"tap\.certificate"):
        server_context(settings.load(tap.config), "localhost.pem", "locked.key", "tap")


def test_tls_is_set_up_as_postgresql_does(tap):
    [first, *_] = addresses_of(settings.load(tap.config))
    assert first.tls is not None
    context = first.tls.context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2 and context.num_tickets == 0
    assert context.options & ssl.OP_NO_RENEGOTIATION and context.options & ssl.OP_NO_TICKET
