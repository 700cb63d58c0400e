"""Limits of a session that don't touch its statements: time-outs, how many, how much is in flight, cancel keys."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import psycopg
import pytest
from msgspec import structs

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup, timeouts
from taprail.connectors.postgres.cancel import CancelKeys
from taprail.connectors.postgres.limits import Limits
from taprail.connectors.postgres.timeouts import Stopwatch
from taprail.schemas.errors import RefusedError, StackError
from taprail.schemas.guard import Release


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(timeouts, "LOOK_SECONDS", 0.05)


# Time-outs ------------------------------------------------------------------------------------------------------------


def test_an_idle_session_ends_as_postgresql_ends_one(beds):
    bed = beds(limits=Limits(idle_seconds=0.3))
    connection = bed.connect()
    for _ in range(5):
        time.sleep(0.15)
        connection.execute("SELECT 1")
    time.sleep(0.6)
    with pytest.raises(psycopg.errors.IdleSessionTimeout, match="idle-session timeout"):
        connection.execute("SELECT 1")
    assert ("closed", "terminating connection due to idle-session timeout") in [
        (event, reason) for event, _, reason in bed.recorder.sessions
    ]


def test_a_transaction_that_nobody_goes_on_with_ends(beds):
    bed = beds(limits=Limits(idle_in_transaction_seconds=0.3))
    quiet, waiting = bed.connect(), bed.connect(autocommit=False)
    waiting.execute("SELECT 1")
    time.sleep(0.7)
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        waiting.execute("SELECT 1")
    assert quiet.execute("SELECT 1").fetchone() == (1,)
    quiet.close()


def test_a_statement_that_runs_too_long_is_cancelled_and_the_session_lives(beds):
    bed = beds(limits=Limits(statement_seconds=0.4))
    notices = []
    with bed.connect() as connection:
        connection.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
        assert connection.execute("SELECT pg_sleep(0.2)").fetchone() == ("",)
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert notices == ["canceling statement due to statement timeout"]


def test_what_is_sent_meanwhile_gives_a_statement_no_more_time(beds):
    bed = beds(limits=Limits(statement_seconds=0.4))
    with bed.connect() as connection:
        before = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled), connection.pipeline() as pipeline:
            connection.execute("SELECT pg_sleep(5)")
            pipeline.sync()
            for _ in range(8):
                time.sleep(0.1)
                connection.execute("SELECT 1")
                pipeline._conn.pgconn.send_flush_request()
                pipeline._conn.wait(pipeline._communicate_gen())
        assert time.monotonic() - before < 4


def test_waiting_for_an_approval_is_not_running(beds):
    bed = beds(limits=Limits(statement_seconds=0.3, idle_seconds=0.3))
    bed.guard.rule = lambda _, verdict: replace(verdict, action="hold", hold_seconds=60)

    async def decide(_):
        import asyncio

        await asyncio.sleep(0.8)
        return Release(True, approval_id="approval-1")

    bed.gate.decide = decide
    with bed.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


class Shown:
    """What a stopwatch looks at."""

    def __init__(self, progress=(0, 1), *, busy=False, status="I", wait=None):
        self.progress, self.busy, self.wait = progress, busy, wait
        self.context = type("Context", (), {"transaction_status": status})


def test_a_stopwatch_tells_of_a_statement_once_and_of_the_next_one_again():
    stopwatch = Stopwatch(Limits(statement_seconds=10))
    first, second = Shown((0, "a", 0), busy=True), Shown((0, "b", 0), busy=True)
    assert [stopwatch.look(first, now) for now in (0, 9, 10, 99)] == [None, None, timeouts.STATEMENT, None]
    assert [stopwatch.look(second, now) for now in (100, 111)] == [None, timeouts.STATEMENT]
    unlimited = Stopwatch(Limits())
    assert [unlimited.look(first, now) for now in (0, 1e9)] == [None, None]


# How many -------------------------------------------------------------------------------------------------------------


def test_sessions_of_one_person_are_counted_apart(beds):
    bed = beds(limits=Limits(sessions_per_person=2))
    hers = [bed.connect("ann", "a.good.token") for _ in range(2)]
    with pytest.raises(psycopg.OperationalError, match="Ann has 2 sessions open"):
        bed.connect("ann", "a.good.token")
    with bed.connect() as other:
        assert other.execute("SELECT 1").fetchone() == (1,)
    hers.pop().close()
    bed.settle(lambda: bed.proxy.sessions == 1)
    bed.connect("ann", "a.good.token").close()
    hers.pop().close()
    bed.settle(lambda: bed.proxy.sessions == 0)
    assert not bed.proxy._persons


@pytest.mark.parametrize("limit", ["sessions_per_person", "sessions"])
def test_sign_ins_at_the_same_time_do_not_pass_the_limit_together(beds, limit):
    bed = beds(limits=Limits(**{limit: 3}))
    connected, refused = [], []

    def connect():
        try:
            connected.append(bed.connect("ann", "a.good.token"))
        except psycopg.OperationalError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=connect) for _ in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(connected), len(refused)) == (3, 9)
    assert all("sessions" in text for text in refused)
    for each in connected:
        each.close()


def test_a_pipeline_longer_than_the_limit_goes_through(beds):
    """Above the limit the client isn't read, and goes on when answers have come: nothing is lost, nothing waits."""
    bed = beds(limits=Limits(statements_in_flight=2_000))
    most = 0
    with bed.connect() as connection, connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", [number], prepare=True) for number in range(6_000)]
        for number, cursor in enumerate(cursors):
            assert cursor.fetchone() == (number,)
            if number % 500 == 0:
                most = max([most, *(each.session.in_flight for each in bed.proxy._open)])
    assert most < 2_000 + 64 * 1024 // 5  # what one read of the socket may bring


# Settings at start-up -------------------------------------------------------------------------------------------------


def test_an_administrator_may_allow_more_but_not_who_acts():
    def wanted(name):
        packet = startup.StartupMessage(0, {"user": "u", "options": f"-c {name}=x"})
        return startup.wanted(packet, frozenset({"enable_seqscan", "my.setting", *startup.NEVER_ALLOWED})).settings

    assert wanted("enable-seqscan") == {"enable_seqscan": "x"} and wanted("My.Setting") == {"my.setting": "x"}
    for name in startup.NEVER_ALLOWED | {"enable_hashjoin"}:
        with pytest.raises(RefusedError):
            wanted(name)


# CancelRequest --------------------------------------------------------------------------------------------------------


def test_requests_are_handed_on_to_the_process_whose_they_are():
    """Protocol 3.2 has room for its number in the secret; in 3.0 all of it is random, so all siblings are asked."""
    cancelled, forwarded = [], []
    keys = CancelKeys(100, process=5, forward=lambda *request: forwarded.append(request))
    pid, key = keys.add(2, 4711, lambda: cancelled.append("mine"))
    keys.request(pid, key)
    keys.request(pid, key[:-1] + bytes([key[-1] ^ 1]))
    keys.request(pid + 1, key)
    assert cancelled == ["mine"] and forwarded == []
    other = CancelKeys(100, process=3)
    theirs, secret = other.add(2, 4711, lambda: cancelled.append("theirs"))
    old, short = other.add(0, 4711, lambda: cancelled.append("old"))
    for wanted in ((theirs, secret), (old, short), (1, b""), (1, bytes([200]) * 33), (1, bytes(300))):
        keys.request(*wanted)
    assert forwarded == [(3, 4711, secret), (None, 4711, short)]
    for _, pid, shown in forwarded:
        assert other.carry_out(pid, shown)
        other.remove(pid, shown)
        assert not other.carry_out(pid, shown)
    assert cancelled == ["mine", "theirs", "old"]


def test_a_server_that_tells_no_process_id_gets_one():
    keys, cancelled = CancelKeys(100), []
    pid, key = keys.add(0, 0, lambda: cancelled.append("it"))
    assert 0 < pid < 1 << 31
    keys.request(pid, key)
    assert cancelled == ["it"]


def test_there_are_at_most_64_processes():
    with pytest.raises(StackError):
        CancelKeys(1, process=64)


def test_guessing_keys_is_slow():
    cancelled = []
    keys = CancelKeys(10)
    pid, key = keys.add(0, 1, lambda: cancelled.append(1))
    for _ in range(1000):
        keys.request(pid, b"0000" if key != b"0000" else b"1111")
    keys.request(pid, key)
    assert cancelled == []


# Protocol versions of the server --------------------------------------------------------------------------------------


class OldServer:
    """A server that is made of bytes: answers a start-up with `answer`, then says that it is ready."""

    def __init__(self, *answer):
        self.asked = b""
        self._answer = b"".join(answer)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        connection, _ = self._socket.accept()
        with connection:
            self.asked = connection.recv(4096)
            pinned = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on"), ("search_path", "public")]
            reports = b"".join(wire.parameter_status(*each) for each in pinned)
            key = wire.message(wire.BACKEND_KEY, bytes(8))
            connection.sendall(self._answer + wire.authentication(0) + reports + key + wire.ready("I"))
            connection.recv(4096)

    def close(self):
        self._socket.close()


class Pooler(OldServer):
    """Lets nobody choose a setting that it doesn't know itself."""

    def __init__(self, sqlstate):
        self._sqlstate = sqlstate
        super().__init__()

    def _run(self):
        connection, _ = self._socket.accept()
        with connection:
            self.refused = connection.recv(4096)
            connection.sendall(wire.error(self._sqlstate, "unsupported startup parameter", severity="FATAL"))
        super()._run()


@pytest.mark.parametrize("sqlstate", ["08P01", "22023"])
def test_a_server_that_cant_look_for_its_client_is_asked_once_more_without(bed, sqlstate):
    server = Pooler(sqlstate)
    target = bed.target
    bed.target = lambda login: structs.replace(target(login), port=server.port)
    with bed.connect():
        assert b"client_connection_check_interval\x001s\0" in server.refused
        assert b"client_connection_check_interval" not in server.asked
    server.close()


def negotiate(version, *unknown):
    body = version.to_bytes(4, "big") + len(unknown).to_bytes(4, "big") + b"".join(unknown)
    return wire.message(wire.NEGOTIATE, body)


@pytest.mark.parametrize("minor", [0, 2])
def test_a_server_that_speaks_3_0_only(bed, minor):
    server = OldServer(*([negotiate(3 << 16)] if minor else []))
    target = bed.target
    bed.target = lambda login: structs.replace(target(login), port=server.port, minor=minor)
    with bed.connect():
        assert server.asked[4:8] == startup.startup_packet({}, minor)[4:8]
    server.close()


@pytest.mark.parametrize("answer", [negotiate(2 << 16), negotiate((3 << 16) + 3), negotiate(3 << 16, b"_pq_.x\0")])
def test_a_server_that_negotiates_what_was_not_asked_for(bed, answer):
    server = OldServer(answer)
    target = bed.target
    bed.target = lambda login: structs.replace(target(login), port=server.port)
    with pytest.raises(psycopg.OperationalError, match="negotiates protocol"):
        bed.connect()
    server.close()


def test_the_servers_keys_are_long_where_it_can_do_so(bed):
    with bed.connect() as connection:
        [session] = bed.proxy._open
        assert len(session.relay._opened.key) == (32 if connection.info.server_version >= 180_000 else 4)
