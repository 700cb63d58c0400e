"""Where clients come in: several addresses, Unix sockets, direct TLS, names of SNI, and who only holds a connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
import stat
import threading
import time
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.listener import Address
from taprail.connectors.postgres.tls import ServerTls, by_host
from taprail.schemas.errors import StackError
from tests.fakes.certificates import certificate


def listen_on(bed, *addresses):
    bed.thread.run(bed.proxy.listen_on(addresses))


def received(connection):
    """Everything up to the end of the connection; it may have been reset."""
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


# Unix sockets ---------------------------------------------------------------------------------------------------------


def test_a_unix_socket_with_a_mode_takes_tokens_and_cancels(beds, tmp_path):
    bed = beds(plaintext_tokens=False)
    listen_on(bed, Address(directory=str(tmp_path), port=6432, mode=0o750, name="local"))
    assert stat.S_IMODE((tmp_path / ".s.PGSQL.6432").stat().st_mode) == 0o750
    with bed.connect("ann", "a.good.token", host=str(tmp_path), port="6432") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        threading.Timer(0.2, connection.cancel_safe).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
    listen_on(bed)
    assert not (tmp_path / ".s.PGSQL.6432").exists()


def test_a_socket_of_a_dead_process_is_replaced_and_one_in_use_is_not(beds, tmp_path):
    path = tmp_path / ".s.PGSQL.6432"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    bed = beds()
    listen_on(bed, Address(directory=str(tmp_path), port=6432))
    with bed.connect(host=str(tmp_path), port="6432"):
        pass
    with pytest.raises(StackError, match="another process listens"):
        listen_on(beds(), Address(directory=str(tmp_path), port=6432))
    listen_on(bed)
    path.write_text("somebody's")
    with pytest.raises(StackError, match="is no socket"):
        listen_on(bed, Address(directory=str(tmp_path), port=6432))
    assert path.read_text() == "somebody's"


def test_a_socket_of_a_server_that_has_no_lock_of_ours_is_left_alone(bed, tmp_path):
    """PostgreSQL's own lock file isn't locked: that somebody answers must be enough."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / ".s.PGSQL.6432"))
        server.listen()
        with pytest.raises(StackError, match="another process listens"):
            listen_on(bed, Address(directory=str(tmp_path), port=6432))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / ".s.PGSQL.6432"))


# Addresses ------------------------------------------------------------------------------------------------------------


def test_addresses_are_exchanged_while_sessions_go_on(beds, tmp_path):
    bed = beds()
    seen = []
    bed.target, target = (lambda login: seen.append(login) or target(login)), bed.target
    old = bed.connect()
    listen_on(bed, Address(directory=str(tmp_path), port=1, name="one"), Address(directory=str(tmp_path), port=2))
    with pytest.raises(psycopg.OperationalError, match="refused"):
        bed.connect()
    assert old.execute("SELECT 1").fetchone() == (1,)
    with bed.connect(host=str(tmp_path), port="1"), bed.connect(host=str(tmp_path), port="2"):
        assert [(login.listener, login.unix) for login in seen] == [("", False), ("one", True), ("", True)]
    with pytest.raises(OSError, match=r"[Aa]ddress"):
        listen_on(bed, Address(directory=str(tmp_path), port=3), Address(host="192.0.2.1", port=1))
    with bed.connect(host=str(tmp_path), port="1"):
        pass
    assert not (tmp_path / ".s.PGSQL.3").exists()
    old.close()


def test_an_address_that_takes_tls_only(beds, tmp_path):
    bed = beds()
    tls = ServerTls(certificate(tmp_path, "localhost"))
    port = bed.port
    listen_on(bed, Address(port=port, tls=tls, require_tls=True))
    with pytest.raises(psycopg.OperationalError, match="takes TLS only"):
        bed.connect()
    with bed.connect(sslmode="require") as connection:
        assert connection.info.pgconn.ssl_in_use


# Direct TLS and ALPN --------------------------------------------------------------------------------------------------


def test_tls_at_once(beds, tmp_path):
    bed = beds(plaintext_tokens=False, tls=certificate(tmp_path, "localhost"))
    options = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "localhost.pem"), "host": "localhost"}
    with bed.connect("ann", "a.good.token", **options, sslnegotiation="direct") as connection:
        assert connection.execute("SELECT repeat('x', 1000000)").fetchone() == ("x" * 1_000_000,)
        threading.Timer(0.2, connection.cancel_safe).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")


@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["postgresql"]], ids=["none", "another", "ours"])
def test_tls_at_once_is_for_postgresql_only(beds, tmp_path, protocols):
    """ALPACA: a browser that was led here must not be able to talk to the tap as if it were its web server."""
    bed = beds(tls=certificate(tmp_path, "localhost"))
    context = ssl.create_default_context(cafile=str(tmp_path / "localhost.pem"))
    if protocols:
        context.set_alpn_protocols(protocols)
    plain = socket.create_connection(("127.0.0.1", bed.port), timeout=10)
    with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
        encrypted.sendall(startup.startup_packet({"user": "trusted", "database": "postgres"}))
        data = received(encrypted) if protocols != ["postgresql"] else encrypted.recv(9)
    assert data[:1] == (b"R" if protocols == ["postgresql"] else b"")
    assert bed.proxy.sessions == 0 or protocols == ["postgresql"]


def test_encryption_is_not_asked_for_inside_tls(beds, tmp_path):
    bed = beds(tls=certificate(tmp_path, "localhost"))
    context = ssl.create_default_context(cafile=str(tmp_path / "localhost.pem"))
    context.set_alpn_protocols(["postgresql"])
    plain = socket.create_connection(("127.0.0.1", bed.port), timeout=10)
    with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
        encrypted.sendall(startup.SSL_REQUEST_PACKET)
        assert b"08P01" in received(encrypted)


def test_tls_at_once_where_there_is_none(bed):
    with socket.create_connection(("127.0.0.1", bed.port), timeout=10) as client:
        client.sendall(bytes.fromhex("16030100c8010000c40303"))
        assert received(client) == b""
    assert bed.recorder.sessions == []


@pytest.mark.parametrize("direct", [False, True])
def test_tls_to_a_server_that_speaks_it_at_once(beds, tmp_path, direct):
    """Behind the tap stands another tap, whose ALPN must be PostgreSQL's."""
    behind = beds(tls=certificate(tmp_path, "localhost"))
    bed = beds()
    trusting = ssl.create_default_context(cafile=str(tmp_path / "localhost.pem"))
    trusting.set_alpn_protocols(["postgresql"] if direct else ["http/1.1"])
    target = bed.target
    bed.target = lambda login: replace(
        target(login), port=behind.port, role="trusted", ssl=trusting, ssl_hostname="localhost", direct_tls=True
    )
    if direct:
        with bed.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    else:
        with pytest.raises(psycopg.OperationalError, match=r"no TLS with server|doesn't speak PostgreSQL over TLS"):
            bed.connect()


def test_bytes_in_the_clear_after_the_servers_answer_are_refused(bed):
    """CVE-2021-23222: what somebody puts behind the server's 'S' must not be read as if it came inside TLS."""
    with socket.create_server(("127.0.0.1", 0)) as liar:

        def lie():
            connection, _ = liar.accept()
            with connection:
                connection.recv(8)
                connection.sendall(b"S" + wire.authentication(0) + wire.ready("I"))
                connection.recv(100)

        thread = threading.Thread(target=lie, daemon=True)
        thread.start()
        target = bed.target
        bed.target = lambda login: replace(
            target(login), port=liar.getsockname()[1], ssl=ssl.create_default_context(), ssl_hostname="localhost"
        )
        with pytest.raises(psycopg.OperationalError, match="in the clear came before TLS"):
            bed.connect()
        thread.join(10)


def test_channel_binding_is_not_offered_and_says_so(beds, tmp_path):
    bed = beds(tls=certificate(tmp_path, "localhost"))
    login = {"sslmode": "require", "channel_binding": "require"}
    with pytest.raises(psycopg.OperationalError, match="channel binding"):
        bed.connect("service", "a service's password", **login)
    with bed.connect("service", "a service's password", **{**login, "channel_binding": "prefer"}) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


# SNI ------------------------------------------------------------------------------------------------------------------


def test_a_name_of_sni_has_its_certificate_and_reaches_the_route(beds, tmp_path):
    bed = beds()
    seen = []
    bed.target, target = (lambda login: seen.append(login.server_name) or target(login)), bed.target
    others = {"*.prod.example": certificate(tmp_path, "db.prod.example")}
    listen_on(bed, Address(port=bed.port, tls=ServerTls(certificate(tmp_path, "localhost"), others)))
    for host in ("localhost", "DB.prod.example"):
        root = str(tmp_path / f"{host.lower()}.pem")
        for how in ("postgres", "direct"):
            options = {"sslmode": "verify-full", "sslrootcert": root, "sslnegotiation": how, "hostaddr": "127.0.0.1"}
            with bed.connect(host=host, **options) as connection:
                assert connection.info.pgconn.ssl_in_use
    assert seen == ["localhost", "localhost", "db.prod.example", "db.prod.example"]


def test_wildcards_fit_one_label():
    table = {"*.example.com": 1, "a.example.com": 2}
    hosts = ("b.example.com", "A.example.com.", "b.c.example.com", "example.com", "")
    assert [by_host(table, host) for host in hosts] == [1, 2, None, None, None]


# Who only holds a connection ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"\0\0\0", startup.SSL_REQUEST_PACKET, b"\x16\x03\x01"], ids=repr)
def test_who_says_nothing_is_sent_away(beds, tmp_path, said):
    bed = beds(tls=certificate(tmp_path, "localhost"), limits=Limits(first_packet_seconds=0.3))
    files = open_files()
    silent = [socket.create_connection(("127.0.0.1", bed.port), timeout=10) for _ in range(20)]
    for each in silent:
        each.sendall(said)
    assert {received(each) for each in silent} <= {b"", b"S"}
    for each in silent:
        each.close()
    bed.settle(lambda: open_files() <= files)


def test_who_doesnt_send_a_password_is_sent_away(beds):
    bed = beds(limits=Limits(startup_seconds=0.3))
    with socket.create_connection(("127.0.0.1", bed.port), timeout=10) as slow:
        slow.sendall(startup.startup_packet({"user": "ann", "database": "postgres"}))
        assert received(slow).startswith(b"R")


def test_many_who_say_nothing_keep_nobody_out(beds):
    bed = beds(limits=Limits(arrivals=10))
    silent = [socket.create_connection(("127.0.0.1", bed.port), timeout=10) for _ in range(50)]
    with bed.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert received(silent[0]) == b""
    for each in silent:
        each.close()


def test_a_client_that_trickles_its_start_up_is_sent_away(beds):
    bed = beds(limits=Limits(first_packet_seconds=0.4))
    packet = startup.startup_packet({"user": "trusted", "database": "postgres"})
    with socket.create_connection(("127.0.0.1", bed.port), timeout=10) as slow:
        before = time.monotonic()
        with pytest.raises(OSError):
            for byte in packet * 5:
                slow.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - before < 3


def test_keepalive_is_on_for_both_legs(beds):
    bed = beds(limits=Limits(keepalive_seconds=7))
    with bed.connect():

        async def options():
            [session] = bed.proxy._open
            for channel in (session.relay._client, session.relay._server):
                made = channel.transport.get_extra_info("socket")
                yield made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                yield made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                yield made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)  # who reads late isn't gone

        async def found():
            return [each async for each in options()]

        assert bed.thread.run(found()) == [1, 7, 0, 1, 7, 0]


def test_messages_above_their_limit_end_the_session_and_reach_nobody(beds):
    limits = Limits(query_bytes=2_000, bind_bytes=3_000, small_bytes=100, startup_bytes=200, password_bytes=50)
    bed = beds(limits=limits)
    large = b"SELECT '" + b"x" * 3_000 + b"'"
    for frame in (
        wire.query(large),
        wire.parse(b"", large),
        wire.bind(b"", b"", [b"x" * 3_000]),
        wire.close(b"S", b"x" * 100),
    ):
        with socket.create_connection(("127.0.0.1", bed.port), timeout=10) as client:
            client.sendall(startup.startup_packet({"user": "trusted", "database": "postgres"}))
            while not (data := client.recv(65536)).endswith(wire.ready("I")):
                assert data
            client.sendall(frame)
            assert b"08P01" in received(client)
    for first in (
        startup.startup_packet({"user": "u" * 300}),
        startup.startup_packet({"user": "ann", "database": "postgres"}) + wire.message(wire.PASSWORD, b"x" * 60),
    ):
        with socket.create_connection(("127.0.0.1", bed.port), timeout=10) as client:
            client.sendall(first)
            assert b"08P01" in received(client)
    assert bed.guard.judged == []


def test_a_burst_while_the_loop_is_busy_is_not_refused(bed):
    """What the loop hasn't accepted yet waits in the system's queue."""
    bed.thread.loop.call_soon_threadsafe(time.sleep, 0.5)
    clients = [socket.create_connection(("127.0.0.1", bed.port), timeout=10) for _ in range(400)]
    for each in clients:
        each.sendall(startup.SSL_REQUEST_PACKET)
    assert {each.recv(1) for each in clients} == {b"N"}
    for each in clients:
        each.close()


def test_out_of_files_is_a_pause_and_one_bad_connection_is_not_the_end(bed, monkeypatch):
    """accept(2) fails while every file is in use; the tap goes on when one is free again."""
    listener = bed.proxy._listeners[0]
    failures = iter([OSError(24, "Too many open files"), ConnectionAbortedError()])
    arrivals = iter([ValueError("a fault of the tap's"), asyncio.CancelledError()])

    class Loop:
        async def sock_accept(self, _):
            for failure in failures:
                raise failure
            return socket.socketpair()

    def arrive(connection, _):
        connection.close()
        raise next(arrivals)

    monkeypatch.setattr(listener, "_arrive", arrive)
    monkeypatch.setattr("taprail.connectors.postgres.listener.asyncio.get_running_loop", Loop)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(listener._accept(None))
    assert [list(failures), list(arrivals)] == [[], []]
