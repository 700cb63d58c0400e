"""Sign-in and hostile bytes, over a socket that speaks the protocol by hand."""

from __future__ import annotations

import datetime
import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import replace

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import structs

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from taprail.connectors.postgres.signin import Login
from taprail.connectors.postgres.upstream import md5_response


class Wire:
    """A client made of bytes."""

    def __init__(self, bed, **parameters):
        self.socket = socket.create_connection(("127.0.0.1", bed.port), timeout=10)
        self.inbox, self.messages = wire.Inbox(), []
        if parameters:
            self.socket.sendall(startup.startup_packet({"database": "postgres", **parameters}))

    def read(self, until=b"Z"):
        """(type, body) of every message up to one of the types in `until`, or to the end of the connection."""
        found = []
        while True:
            while self.messages:
                kind, body = self.messages.pop(0)
                found.append((chr(kind), body))
                if kind in until:
                    return found
            data = self.socket.recv(65536)
            if not data:
                return found
            self.messages = wire.split(self.inbox, data, lambda _: 1 << 20)

    def ask(self, *frames):
        self.socket.sendall(b"".join(frames))
        return self.read()

    def error(self, found):
        """(SQLSTATE, message) of the only error."""
        [fields] = [wire.parse_fields(body) for kind, body in found if kind == "E"]
        return fields["C"], fields["M"]


@pytest.fixture
def client(bed):
    made = Wire(bed, user="trusted")
    made.read()
    yield made
    made.socket.close()


def kinds(found):
    return "".join(kind for kind, _ in found)


# Sign-in --------------------------------------------------------------------------------------------------------------


def test_a_token_is_the_password(bed):
    with bed.connect("ann", "a.good.token") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("postgres",)
    with pytest.raises(psycopg.OperationalError, match="access token isn't valid"):
        bed.connect("ann", "a.bad.token")
    refused = [(context.database, reason) for event, context, reason in bed.recorder.sessions if event == "refused"]
    assert refused == [("postgres", "the access token isn't valid")]


def test_somebody_who_proved_who_he_is_and_whom_the_server_refuses_is_recorded_with_his_name(bed):
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        bed.connect("ann", "a.good.token", dbname="nowhere")
    refused = [context for event, context, _ in bed.recorder.sessions if event == "refused"]
    assert [(c.method, c.person.subject, c.database) for c in refused] == [("oidc", "ann", "nowhere")]


def test_a_service_signs_in_with_scram(bed):
    with bed.connect("service", "a service's password", require_auth="scram-sha-256") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    for user in ("service", "nobody-knows-me"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            bed.connect(user, "wrong")
    assert bed.recorder.sessions[0][1].method == "scram"


def test_an_unknown_user_gets_the_same_challenge_every_time(bed):
    def salt():
        unknown = Wire(bed, user="nobody-knows-me")
        unknown.read(b"R")
        first = b"n,,n=,r=abcdefghijkl"
        unknown.socket.sendall(wire.message(wire.PASSWORD, b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first))
        [(_, body)] = unknown.read(b"R")
        return body.split(b",")[1]

    assert salt() == salt()


def test_tokens_need_tls_and_tls_works(beds, tmp_path):
    bed = beds(plaintext_tokens=False, tls=server_context(tmp_path))
    with pytest.raises(psycopg.OperationalError, match="needs TLS"):
        bed.connect("ann", "a.good.token")
    options = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "certificate.pem"), "host": "localhost"}
    with bed.connect("ann", "a.good.token", **options, hostaddr="127.0.0.1") as connection:
        assert connection.info.pgconn.ssl_in_use
        assert connection.execute("SELECT repeat('x', 1000000)").fetchone() == ("x" * 1_000_000,)
        cancelled = connection.cancel_safe
        cancelled()


@pytest.mark.parametrize(
    "role", [("service", "a service's password"), ("ann", "a.good.token")], ids=["scram", "cleartext"]
)
def test_tls_to_the_server_with_its_name_verified(beds, tmp_path, role):
    """Behind the tap stands another tap: a server that speaks TLS and asks for this kind of password."""
    behind = beds(plaintext_tokens=False, tls=server_context(tmp_path))
    bed = beds()
    trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    there = {"host": "127.0.0.1", "port": behind.port, "role": role[0], "password": role[1], "ssl": trusting}
    target = bed.target
    bed.target = lambda login: structs.replace(target(login), **there, ssl_hostname="localhost")
    with bed.connect() as connection:
        assert connection.execute("SELECT repeat('x', 1000000)").fetchone() == ("x" * 1_000_000,)
        threading.Timer(0.3, connection.cancel_safe).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
    for wrong in ({"ssl_hostname": "elsewhere"}, {"ssl": None, "role": "ann", "password": "a.good.token"}):
        bed.target = lambda login, wrong=wrong: structs.replace(
            target(login), **there | {"ssl_hostname": "localhost"} | wrong
        )
        with pytest.raises(psycopg.OperationalError, match=r"no TLS with server|in the clear|refused the tap"):
            bed.connect()


def test_a_server_that_has_no_tls_is_refused_where_tls_is_asked_for(bed):
    target = bed.target
    bed.target = lambda login: structs.replace(target(login), ssl=ssl.create_default_context())
    with pytest.raises(psycopg.OperationalError, match="doesn't speak TLS"):
        bed.connect()


def test_md5_answers_are_what_libpq_computes(bed):
    with bed.direct() as direct:
        stored = direct.pgconn.encrypt_password(b"secret", b"app", b"md5")
    target = structs.replace(bed.target(Login("u", "d", "", "", False)), role="app", password="secret")
    assert md5_response(target, b"salt") == b"md5" + hashlib.md5(stored[3:] + b"salt").hexdigest().encode()


def server_context(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def test_bytes_in_the_clear_before_tls_are_refused(beds, tmp_path):
    """CVE-2021-23214: what is injected before the handshake must not be read as if it came inside TLS."""
    bed = beds(tls=server_context(tmp_path))
    client = Wire(bed)
    injected = startup.SSL_REQUEST_PACKET + startup.startup_packet({"user": "trusted", "database": "postgres"})
    client.socket.sendall(injected)
    assert client.error(client.read())[0] == "08P01"


def test_encryption_that_is_not_there_is_declined(bed):
    client = Wire(bed)
    for packet in (startup.GSS_REQUEST_PACKET, startup.SSL_REQUEST_PACKET):
        client.socket.sendall(packet)
        assert client.socket.recv(10) == b"N"
    client.socket.sendall(startup.SSL_REQUEST_PACKET)
    assert client.error(client.read())[0] == "08P01"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"replication": "database"}, "replication"),
        ({"options": "-c client_encoding=SJIS"}, "client_encoding"),
        ({"client_encoding": "LATIN1"}, "client_encoding"),
        ({"standard_conforming_strings": "off"}, "standard_conforming_strings"),
        ({"options": "-c session_authorization=postgres"}, "session_authorization"),
        ({"role": "postgres"}, "role"),
        ({"options": "-W 30"}, "option"),
        ({"client_connection_check_interval": "0"}, "client_connection_check_interval"),
    ],
)
def test_start_up_settings_that_may_not_be_chosen(bed, parameters, message):
    client = Wire(bed, user="trusted", **parameters)
    sqlstate, text = client.error(client.read())
    assert sqlstate == "28000" and message in text


def test_start_up_settings_that_may_be_chosen(bed):
    options = r"-c search_path=a,\ b --statement-timeout=5s -cgeqo=off"
    with bed.connect(options=options, application_name="tests") as connection:
        shown = [
            connection.execute(f"SHOW {name}").fetchone()[0] for name in ("search_path", "statement_timeout", "geqo")
        ]
        assert shown == ["a, b", "5s", "off"]
        assert bed.guard.judged[0].session.search_path == "a, b"
        assert bed.guard.judged[0].session.client == "tests"


@pytest.mark.parametrize("version", ["3.0", "3.2"])
def test_protocol_versions(bed, version):
    with bed.connect(max_protocol_version=version, min_protocol_version=version) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_what_is_newer_than_the_protocol_is_negotiated(bed):
    client = Wire(bed)
    client.socket.sendall(startup.startup_packet({"user": "trusted", "database": "postgres", "_pq_.x": "1"}, minor=9))
    found = client.read()
    assert kinds(found)[:2] == "vR"
    assert found[0][1] == bytes.fromhex("00030002 00000001") + b"_pq_.x\0"
    [key] = [body for kind, body in found if kind == "K"]
    assert len(key) == 4 + 33


def test_a_wrong_cancel_key_cancels_nothing(bed):
    with bed.connect() as connection:
        packet = startup.cancel_packet(connection.info.backend_pid, b"\0\0\0\0")
        with socket.create_connection(("127.0.0.1", bed.port)) as canceller:
            canceller.sendall(packet)
            assert canceller.recv(10) == b""
        assert connection.execute("SELECT pg_sleep(0.1)").fetchone() == ("",)


def test_an_unreachable_server_and_an_unknown_database_are_named(bed):
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        bed.connect(dbname="nowhere")
    bed.target, target = (lambda login: structs.replace(target(login), port=1)), bed.target
    with pytest.raises(psycopg.OperationalError, match="can't reach server main"):
        bed.connect()


def test_a_wrong_role_password_is_not_told_to_clients(bed):
    bed.target, target = (lambda login: structs.replace(target(login), password="wrong")), bed.target
    with pytest.raises(psycopg.OperationalError, match="refused the tap's role") as raised:
        bed.connect()
    assert "wrong" not in str(raised.value)


# Messages -------------------------------------------------------------------------------------------------------------


def test_every_byte_may_come_alone(bed):
    client = Wire(bed, user="trusted")
    client.read()
    frames = wire.parse(b"s", b"SELECT $1::int") + wire.bind(b"", b"s", [b"5"]) + wire.execute(b"") + wire.SYNC_MESSAGE
    for byte in frames:
        client.socket.sendall(bytes([byte]))
    assert kinds(client.read()) == "12DCZ"


def test_a_length_that_lies_ends_the_session(client, bed):
    for frame in (b"Q\0\0\0\3", b"Q\x7f\xff\xff\xff", b"B\0\0\0\6ab", b"Q\0\0\0\x0aSE\0ECT"):
        liar = Wire(bed, user="trusted")
        liar.read()
        liar.socket.sendall(frame)
        assert liar.error(liar.read())[0] == "08P01"
    assert kinds(client.ask(wire.query(b"SELECT 1"))) == "TDCZ"


def test_function_call_messages_are_refused(client):
    """Those of other functions than large objects have: see test_large_objects.py."""
    found = client.ask(wire.message(wire.FUNCTION_CALL, bytes.fromhex("00000530 0000 0000 0000")))
    assert (kinds(found), client.error(found)[0]) == ("EZ", "0A000")
    assert kinds(client.ask(wire.query(b"SELECT 1"))) == "TDCZ"


def test_names_of_the_tap_are_its_own(client):
    for frame in (
        wire.parse(b"_taprail_mark", b"SELECT 1"),
        wire.close(b"S", b"_taprail_mark"),
        wire.execute(b"_taprail_x"),
    ):
        found = client.ask(frame, wire.SYNC_MESSAGE)
        assert (kinds(found), client.error(found)[0]) == ("EZ", "42939")


def test_a_name_that_the_server_did_not_take_is_judged_as_what_it_is(client, bed):
    """Close is skipped after an error, so the second Parse fails, and the name still means the first text."""
    client.ask(wire.parse(b"s", b"SELECT 'old'"), wire.SYNC_MESSAGE)
    skipped = wire.parse(b"", b"SELECT nothing") + wire.close(b"S", b"s") + wire.SYNC_MESSAGE
    fails = wire.parse(b"s", b"SELECT 'new'") + wire.SYNC_MESSAGE
    runs = wire.bind(b"", b"s") + wire.execute(b"") + wire.SYNC_MESSAGE
    client.socket.sendall(skipped + fails + runs)
    assert [kinds(client.read()) for _ in range(3)] == ["EZ", "EZ", "2DCZ"]
    assert bed.recorder.texts() == ["SELECT 'old'"]


def test_flush_brings_answers_without_sync(client):
    client.socket.sendall(wire.parse(b"", b"SELECT 1") + wire.describe(b"S", b"") + wire.FLUSH_MESSAGE)
    assert kinds(client.read(b"T")) == "1tT"
    assert kinds(client.ask(wire.bind(b"", b""), wire.execute(b""), wire.SYNC_MESSAGE)) == "2DCZ"


def test_a_denied_statement_answers_a_flush_at_once(client, bed):
    bed.guard.rule = lambda request, verdict: replace(verdict, action="deny", reason="no")
    client.socket.sendall(wire.parse(b"", b"SELECT 1") + wire.FLUSH_MESSAGE)
    assert client.error(client.read(b"E")) == ("42501", "no")
    assert kinds(client.ask(wire.query(b"SELECT 1"), wire.SYNC_MESSAGE)) == "Z"


def test_row_limits_and_portals_that_wait(client, bed):
    begin = client.ask(wire.query(b"BEGIN"))
    assert kinds(begin) == "CZ"
    text = wire.parse(b"", b"SELECT generate_series(1, 5)")
    found = client.ask(text, wire.bind(b"p", b""), wire.execute(b"p", 2), wire.execute(b"p", 2), wire.SYNC_MESSAGE)
    assert kinds(found) == "12DDsDDsZ"
    assert kinds(client.ask(wire.execute(b"p", 2), wire.SYNC_MESSAGE)) == "DCZ"
    assert kinds(client.ask(wire.query(b"COMMIT"))) == "CZ"
    assert client.error(client.ask(wire.execute(b"p"), wire.SYNC_MESSAGE))[0] == "34000"
    rows = [result.rows for _, result, _ in bed.recorder.outcomes]
    assert rows == [0, 2, 2, 1, 0]


def test_copy_from_an_extended_query_ignores_the_first_sync(client):
    """libpq sends Sync with Execute; the server drops it inside COPY, so one ReadyForQuery comes for two Syncs."""
    client.ask(wire.query(b"CREATE TEMP TABLE t (a int)"))
    copy = wire.parse(b"", b"COPY t FROM STDIN") + wire.bind(b"", b"") + wire.execute(b"") + wire.SYNC_MESSAGE
    client.socket.sendall(copy)
    assert kinds(client.read(b"G")) == "12G"
    data = wire.message(wire.COPY_DATA, b"1\n") * 3
    assert kinds(client.ask(data, wire.message(wire.COPY_DONE), wire.SYNC_MESSAGE)) == "CZ"
    client.socket.sendall(copy)
    client.read(b"G")
    bad = wire.message(wire.COPY_DATA, b"x\n") + wire.message(wire.COPY_FAIL, b"no\0") + wire.SYNC_MESSAGE
    assert kinds(client.ask(bad)) == "EZ"
    assert kinds(client.ask(wire.query(b"SELECT count(*) FROM t"))) == "TDCZ"


def test_text_that_an_earlier_statement_may_change_the_reading_of(client):
    """Without a Sync between them nobody knows yet whether the first one has turned backslashes on."""
    turn = wire.parse(b"", b"DO $$ BEGIN END $$") + wire.bind(b"", b"") + wire.execute(b"")
    found = client.ask(turn, wire.parse(b"", rb"SELECT 'x\'"), wire.SYNC_MESSAGE)
    assert (kinds(found), client.error(found)[0]) == ("12CEZ", "0A000")
    client.socket.sendall(turn + wire.SYNC_MESSAGE + wire.parse(b"", rb"SELECT 'x\'") + wire.SYNC_MESSAGE)
    assert [kinds(client.read()) for _ in range(2)] == ["12CZ", "1Z"]


def test_invalid_utf8_does_not_reach_the_server(client, bed):
    found = client.ask(wire.query(b"SELECT '\xff'"))
    assert (kinds(found), client.error(found)[0]) == ("EZ", "22021")
    assert bed.guard.judged == []


# Death ----------------------------------------------------------------------------------------------------------------


def test_the_servers_death_is_an_error_and_outcomes_are_unknown(beds, mortal_server):
    bed = beds(mortal_server)
    with bed.connect() as connection:
        connection.pgconn.send_query(b"SELECT pg_sleep(30)")
        bed.settle(lambda: bed.recorder.statements)
        mortal_server.child.kill()
        with pytest.raises(psycopg.OperationalError, match=r"closed the connection|terminating"):
            while True:
                connection.pgconn.consume_input()
    bed.settle(lambda: bed.proxy.sessions == 0)
    assert [result.status for _, result, _ in bed.recorder.outcomes] == ["unknown"]


def test_a_terminated_backend_says_so_itself(bed):
    with bed.connect() as connection, bed.direct() as direct:
        pid = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
        direct.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT 1")


def test_closing_the_tap_ends_its_sessions(beds):
    bed = beds()
    connection = bed.connect()
    bed.close()
    with pytest.raises(psycopg.errors.AdminShutdown, match="shutting down"):
        connection.execute("SELECT 1")
    assert [event for event, _, _ in bed.recorder.sessions] == ["opened", "closed"]


def test_psql_and_its_backslash_commands(bed):
    psql = shutil.which("psql", path=str(bed.server.psql.parent))
    script = "\\d pg_class\nBEGIN;\nSELECT 1;\nCOMMIT;\n\\copy (SELECT 7) TO STDOUT\n"
    done = subprocess.run(
        [psql, "-X", "-v", "ON_ERROR_STOP=1", bed.conninfo()], input=script, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "relname" in done.stdout and done.stdout.endswith("COMMIT\n7\n")
