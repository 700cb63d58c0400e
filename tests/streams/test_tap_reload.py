"""A running tap reads its settings again: who is there stays, who comes finds the new ones, what is wrong is said."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import psycopg
import pytest

from taprail.connectors import admin_socket
from taprail.schemas.errors import StackError
from taprail.streams import settings
from taprail.streams.tap_processes import admin_socket as socket_of
from taprail.streams.tap_reload import changed
from tests.fakes.certificates import certificate
from tests.fakes.running_tap import PASSWORD, RunningTap
from tests.fakes.vault import TOKEN, FakeVault, version_2

MORE_SERVICES = """
[[services]]
name = "second"
password = "file:second"
"""


@pytest.fixture
def tap(tmp_path, stack, fresh_database):
    with RunningTap(tmp_path, stack, fresh_database) as running:
        yield running


def reload(tap):
    return asyncio.run(admin_socket.ask(socket_of(settings.load(tap.config), 0), "reload"))


def test_sessions_go_on_and_the_new_settings_count_for_who_comes(tap, tmp_path):
    (tmp_path / "second").write_text("another word")
    old = tap.connect()
    pid = old.info.backend_pid
    with pytest.raises(psycopg.OperationalError, match="not an access token"):
        tap.connect(user="second", password="another word")
    certificate(tmp_path, "localhost")
    tap.write(
        tap='certificate = "localhost.pem"\nprivate_key = "localhost.key"\nunix_directory = "sockets"',
        services=MORE_SERVICES,
        more="[tap.limits]\nsessions_per_person = 1",
    )
    assert reload(tap) == {"sessions": 1, "needs_restart": []}
    with tap.connect(user="second", password="another word", sslmode="require") as connection:
        assert connection.info.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError, match="second has 1 sessions open"):
            tap.connect(user="second", password="another word", host=str(tmp_path / "sockets"))
    assert old.execute("SELECT 1").fetchone() == (1,) and old.info.backend_pid == pid
    old.close()


def test_settings_that_are_wrong_change_nothing_and_the_log_says_why(tap):
    old = tap.connect()
    good = tap.config.read_text()
    for wrong, said in (
        (good.replace("[kafka]", "[kafka"), "is not TOML"),
        (good.replace('id = "', 'idd = "'), "unknown field `idd`"),
        (good.replace("file:service", "file:nowhere"), "can't read"),
        (good.replace("[tap]", '[tap]\ncertificate = "nowhere"\nprivate_key = "nowhere"'), "isn't there"),
        (good.replace("[tap]", '[tap]\nhost = "192.0.2.1"'), "can't listen"),
    ):
        tap.config.write_text(wrong)
        os.kill(tap.pid, signal.SIGHUP)
        tap.said(said)
    assert tap.log.read_text().count("the settings are as before") == 5
    tap.config.write_text(good)
    os.kill(tap.pid, signal.SIGHUP)
    tap.said("the settings were read again; 1 sessions go on")
    with tap.connect() as new:
        assert new.execute("SELECT 1").fetchone() == (1,)
    assert old.execute("SELECT 1").fetchone() == (1,)
    old.close()


def test_a_reload_needs_no_secret_of_another_role(tap):
    """A tap's environment has its own secrets alone."""
    alerts = '\n[alerts.webhook]\nurl = "https://siem.example.com"\nsecret = "env:NOT_THE_TAPS"\n'
    tap.config.write_text(tap.config.read_text() + alerts)
    os.kill(tap.pid, signal.SIGHUP)
    tap.said("the settings were read again")


def test_a_password_that_vault_has_changed_counts_after_a_reload(tap):
    with FakeVault() as vault:
        vault.secrets["secret/data/service"] = version_2(password=PASSWORD)
        (tap.home / "token").write_text(TOKEN)
        where = f'\n[vault]\naddress = "{vault.address}"\nsecret = "file:token"\n'
        tap.config.write_text(
            tap.config.read_text().replace("file:service", "vault:secret/data/service#password") + where
        )
        reload(tap)
        old = tap.connect()
        vault.secrets["secret/data/service"] = version_2(password="rotated-4711")
        reload(tap)
        with tap.connect(password="rotated-4711") as new:
            assert new.execute("SELECT 1").fetchone() == (1,)
        vault.busy = (3, 503)
        os.kill(tap.pid, signal.SIGHUP)
        tap.said("Vault is sealed")
    assert old.execute("SELECT 1").fetchone() == (1,)
    old.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_nobody_notices_reloads_while_work_goes_on(tmp_path, stack, fresh_database, processes):
    with RunningTap(tmp_path, stack, fresh_database, tap=f"processes = {processes}") as tap:
        failures, stop = [], threading.Event()
        counted = [0, 0]

        def works():
            with tap.connect() as connection:
                while not stop.is_set():
                    connection.execute("SELECT 1")
                    counted[0] += 1

        def comes():
            while not stop.is_set():
                tap.connect().close()
                counted[1] += 1

        def told(work):
            try:
                work()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=told, args=[work]) for work in (works, works, comes)]
        for each in threads:
            each.start()
        for number in range(1, 11):
            os.kill(tap.pid, signal.SIGHUP)
            deadline = time.monotonic() + 20
            while tap.log.read_text().count("the settings were read again") < number * processes:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        stop.set()
        for each in threads:
            each.join()
        assert failures == [] and min(counted) > 0


def test_a_database_is_added_and_its_sessions_survive_its_removal(tap, stack):
    before = tap.config.read_text()
    database = before[before.index("[[databases]]") : before.index("[tap]")]
    extra = database.replace(tap.database, "extra", 1).replace("catalog_role", 'database = "postgres"\ncatalog_role', 1)
    tap.config.write_text(before.replace("[tap]", f"{extra}[tap]"))
    reload(tap)
    with tap.connect(dbname="dev/postgres") as connection:
        tap.config.write_text(before)
        reload(tap)
        with pytest.raises(psycopg.OperationalError, match="there is no database 'extra'"):
            tap.connect(dbname="extra")
        connection.execute("CREATE TEMP TABLE t (a int)")
        assert connection.execute("SELECT current_database()").fetchone() == ("postgres",)


def test_what_needs_a_restart_is_said(tap):
    tap.config.write_text(tap.config.read_text().replace("[tap]", "[tap]\nspool_bytes_max = 2000000"))
    assert reload(tap)["needs_restart"] == ["tap.spool_bytes_max"]


def test_nothing_has_changed_in_the_same_settings(tap):
    loaded = settings.load(tap.config)
    assert changed(loaded, settings.load(tap.config)) == []


def test_the_admin_socket_is_its_owners_and_answers_nonsense_politely(tap):
    path = socket_of(settings.load(tap.config), 0)
    assert path.stat().st_mode & 0o777 == 0o600
    for verb, values in (
        ("nothing", {}),
        ("cancel", {"pid": "x", "key": ""}),
        ("cancel", {}),
        ("cancel", {"pid": 1, "key": "zz"}),
    ):
        with pytest.raises(StackError, match=r"isn't known here|malformed"):
            asyncio.run(admin_socket.ask(path, verb, **values))

    async def raw(data):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer

    assert b"malformed" in asyncio.run(raw(b"[1]\n"))
    assert asyncio.run(raw(b"x" * 200_000)) == b""
    status = asyncio.run(admin_socket.ask(path, "status"))
    assert (status["pid"], status["sessions"], status["listens"]) == (tap.pid, 0, [f"127.0.0.1:{tap.port}"])
    with pytest.raises(StackError, match="nobody answers"):
        asyncio.run(admin_socket.ask(path.with_name("nobody"), "status"))
