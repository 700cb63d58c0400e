"""The tap between psycopg and a real server: nothing that a client does may notice it."""

from __future__ import annotations

import socket
import threading
import time

import psycopg
import pytest
from psycopg import pq

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from tests.connectors.postgres.test_tap_at_the_wire import Wire, kinds


def test_a_simple_select_gets_its_row_and_its_records(bed):
    with bed.connect("ann", "a.good.token") as connection:
        assert connection.execute("SELECT 1 + 1, 'é'").fetchone() == (2, "é")
    bed.settle(lambda: len(bed.recorder.sessions) == 2)
    assert bed.recorder.texts() == ["SELECT 1 + 1, 'é'"]
    assert bed.recorder.ended() == [("SELECT 1 + 1, 'é'", "ok", 1, "committed")]
    assert [event for event, _, _ in bed.recorder.sessions] == ["opened", "closed"]
    assert bed.recorder.statements[0][0].session.person.subject == "ann"


def test_bind_values_are_recorded_as_sent(bed):
    with bed.connect() as connection:
        assert connection.execute("SELECT %s::text, %s::int", ["x", None]).fetchone() == ("x", None)
    assert bed.recorder.statements[0][0].parameters == (b"x", None)


def test_prepared_statements_are_recorded_at_every_execution(bed):
    with bed.connect() as connection:
        for number in range(5):
            assert connection.execute("SELECT %s::int", [number], prepare=True).fetchone() == (number,)
    bed.settle(lambda: len(bed.recorder.outcomes) == 5)
    assert len(bed.recorder.statements) == 5


def test_transactions_end_as_the_server_says(bed):
    with bed.connect(autocommit=False) as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        connection.commit()
        connection.execute("INSERT INTO t VALUES (1), (2)")
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
        connection.commit()
    ended = {text: (status, rows, transaction) for text, status, rows, transaction in bed.recorder.ended()}
    assert ended["INSERT INTO t VALUES (1), (2)"] == ("ok", 2, "open")
    assert ended["ROLLBACK"][2] == "rolled_back"
    numbers = [(request.text, request.transaction) for request, _, _ in bed.recorder.statements]
    first = numbers[0][1]  # servers before 18 are asked for search_path, in a transaction of its own
    assert [number - first for _, number in numbers] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_pipelines_keep_their_order(bed):
    with bed.connect() as connection, connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", [number]) for number in range(50)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))


def test_an_error_in_a_pipeline_leaves_the_rest_unrun(bed):
    client = Wire(bed, user="trusted")
    client.read()
    texts = (b"SELECT 1", b"SELECT 1/0", b"SELECT 2")  # all are sent before the first is answered
    statements = [wire.parse(b"", text) + wire.bind(b"", b"") + wire.execute(b"") for text in texts]
    assert kinds(client.ask(*statements, wire.SYNC_MESSAGE)) == "12DC1EZ"  # planning fails, in Bind
    assert kinds(client.ask(wire.query(b"SELECT 3"))) == "TDCZ"
    bed.settle(lambda: len(bed.recorder.outcomes) == len(bed.recorder.statements))
    statuses = {text: (status, transaction) for text, status, _, transaction in bed.recorder.ended()}
    assert statuses["SELECT 1/0"] == ("error", "rolled_back")
    assert statuses["SELECT 2"] == ("cancelled", "none")
    assert statuses["SELECT 1"] == ("ok", "rolled_back")


def test_copy_goes_both_ways_and_is_counted(bed):
    with bed.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (a int, b text)")
        with connection.cursor() as cursor:
            with cursor.copy("COPY t FROM STDIN") as copy:
                for number in range(1000):
                    copy.write_row((number, "x" * 500))
            assert cursor.rowcount == 1000
            with cursor.copy("COPY t TO STDOUT") as copy:
                assert sum(1 for _ in copy.rows()) == 1000
        wrong = pytest.raises(psycopg.errors.InvalidTextRepresentation)
        with wrong, connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write("not a number\tx\n")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1000,)
    bed.settle(lambda: len(bed.recorder.outcomes) == 5)
    copies = [ended for ended in bed.recorder.ended() if ended[0].startswith("COPY")]
    assert [(status, rows) for _, status, rows, _ in copies] == [("ok", 1000), ("ok", 1000), ("error", 0)]


def test_a_copy_that_the_client_gives_up(bed):
    with bed.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        with pytest.raises(ZeroDivisionError), connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write("1\n")
            raise ZeroDivisionError
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_server_cursors_fetch_in_parts(bed):
    with bed.connect(autocommit=False) as connection:
        with connection.cursor(name="part") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT n FROM generate_series(1, 1000) AS n")
            assert sum(row[0] for row in cursor) == 500_500
        connection.commit()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_notices_and_notifications_arrive(bed):
    with bed.connect() as connection, bed.connect() as other:
        notices: list[str] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        connection.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
        assert notices == ["hello"]
        connection.execute("LISTEN news")
        other.execute("NOTIFY news, 'today'")
        assert [notify.payload for notify in connection.notifies(timeout=5, stop_after=1)] == ["today"]


def test_cancel_reaches_the_statement(bed):
    with bed.connect() as connection:
        threading.Timer(0.3, connection.cancel_safe).start()
        begun = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - begun < 10
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_client_never_learns_the_servers_cancel_key(bed):
    """Its process id it does learn: notifications name it. With the tap's secret the server cancels nothing."""
    with bed.connect() as connection, bed.direct() as direct:
        pid = connection.info.backend_pid
        assert connection.execute("SELECT pg_backend_pid()").fetchone() == (pid,)
        client = Wire(bed, user="trusted")
        [key] = [body for kind, body in client.read() if kind == "K"]
        client.socket.sendall(wire.query(b"SELECT pg_sleep(0.5)"))
        with socket.create_connection((direct.info.host, direct.info.port)) as canceller:
            canceller.sendall(startup.packet(80877102, key))
            assert canceller.recv(10) == b""
        assert "C" in kinds(client.read())


def test_a_notification_names_the_process_that_its_sender_was_told(bed):
    with bed.connect(autocommit=True) as listener, bed.connect(autocommit=True) as sender:
        listener.execute("LISTEN spoken")
        sender.execute("NOTIFY spoken, 'hello'")
        [notification] = listener.notifies(timeout=10, stop_after=1)
        assert notification.pid == sender.info.backend_pid


def test_a_session_may_end_itself_by_the_process_id_that_it_was_told(bed):
    with bed.connect(autocommit=True) as connection, pytest.raises(psycopg.errors.AdminShutdown):
        connection.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])


def test_several_statements_in_one_message(bed):
    with bed.connect() as connection:
        cursor = connection.execute("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1); SELECT a FROM t; -- end")
        tags = [cursor.statusmessage]
        while cursor.nextset():
            tags.append(cursor.statusmessage)
        assert tags == ["CREATE TABLE", "INSERT 0 1", "SELECT 1"]
        assert cursor.fetchone() == (1,)
    assert len(bed.recorder.statements) == 3


def test_empty_statements_pass(bed):
    with bed.connect() as connection:
        for text in ("", "  ", "-- nothing", ";"):
            assert connection.execute(text).pgresult.status == pq.ExecStatus.EMPTY_QUERY
        result = connection.pgconn.exec_params(b"-- nothing", None)
        assert result.status == pq.ExecStatus.EMPTY_QUERY
    assert bed.recorder.statements == []


def test_binary_results_and_large_values(bed):
    with bed.connect() as connection, connection.cursor(binary=True) as cursor:
        value = cursor.execute("SELECT repeat('x', 5000000), 7, NULL").fetchone()
        assert value == ("x" * 5_000_000, 7, None)


def test_errors_keep_their_position_although_a_mark_stands_before_them(bed):
    text = "INSERT INTO nowhere VALUES ('ü'); SELECT 1"
    with bed.connect() as connection, pytest.raises(psycopg.errors.UndefinedTable) as raised:
        connection.execute(text)
    assert raised.value.diag.statement_position == str(text.index("nowhere") + 1)


def test_deallocate_and_discard_are_followed(bed):
    with bed.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        for command in ("DEALLOCATE ALL", "DISCARD PLANS", "DEALLOCATE ALL"):
            connection.execute("INSERT INTO t VALUES (%s)", [1])
            connection.execute(command)
            connection.execute("INSERT INTO t VALUES (%s)", [1])
        connection.execute("DISCARD ALL")
        connection.execute("CREATE TEMP TABLE t (a int)")
        connection.execute("INSERT INTO t VALUES (%s)", [1])
