"""The same bytes sent straight to the server and through the tap get the same answers; asyncpg; slow clients."""

from __future__ import annotations

import asyncio
import io
import socket
import time

import asyncpg
import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup

texts = st.sampled_from(
    [
        b"SELECT 1",
        b"SELECT 1/0",
        b"SELEC",
        b"",
        b"-- nothing",
        b"SELECT generate_series(1, 3)",
        b"INSERT INTO same VALUES (1)",
        b"INSERT INTO same VALUES (1) RETURNING a",
        b"INSERT INTO same VALUES ('x')",
        b"BEGIN",
        b"COMMIT",
        b"ROLLBACK",
        b"SAVEPOINT s",
        b"ROLLBACK TO s",
        b"DECLARE c CURSOR FOR SELECT 7",
        b"FETCH c",
        b"PREPARE q AS SELECT 8",
        b"EXECUTE q",
        b"DEALLOCATE ALL",
        b"DEALLOCATE a",
        b"SELECT 1; INSERT INTO same VALUES (2); SELECT nothing",
        b"INSERT INTO same VALUES (3); SELECT 2",
        b"COPY same TO STDOUT",
    ]
)
names = st.sampled_from([b"", b"a", b"b"])
kinds = st.sampled_from([b"S", b"P"])
message = st.one_of(
    st.builds(wire.parse, names, texts.filter(lambda text: b";" not in text)),
    st.builds(wire.bind, names, names),
    st.builds(wire.describe, kinds, names),
    st.builds(wire.close, kinds, names),
    st.builds(wire.execute, names, st.sampled_from([0, 2])),
    st.just(wire.FLUSH_MESSAGE),
)
run = st.builds(lambda text: wire.parse(b"", text) + wire.bind(b"", b"") + wire.execute(b""), texts)
copy_data = st.sampled_from([b"4\n", b"x\n", b"4", b""]).map(lambda rows: wire.message(wire.COPY_DATA, rows))
copy_end = st.sampled_from([wire.message(wire.COPY_DONE), wire.message(wire.COPY_FAIL, b"no\0")])
copy_text = st.sampled_from(
    [b"COPY same FROM STDIN", b"COPY nowhere FROM STDIN", b"INSERT INTO same VALUES (5); COPY same FROM STDIN"]
)
copy = st.one_of(
    st.builds(lambda text, data, end: wire.query(text) + data + end, copy_text, copy_data, copy_end),
    st.builds(
        lambda sync, data, end: (
            wire.parse(b"", b"COPY same FROM STDIN")
            + wire.bind(b"", b"")
            + wire.execute(b"")
            + sync
            + data
            + end
            + wire.SYNC_MESSAGE
        ),
        st.sampled_from([b"", wire.FLUSH_MESSAGE]),
        copy_data,
        copy_end,
    ),
)
group = st.one_of(
    copy,
    texts.map(wire.query),
    st.lists(message | run, max_size=6).map(lambda parts: b"".join(parts) + wire.SYNC_MESSAGE),
)
END = wire.query(b"ROLLBACK; SELECT 'the end'")


def conversation(port, user, data, password_message=b""):
    """What the server side says to `data`: (type, SQLSTATE or body) of every message."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(startup.startup_packet({"user": user, "database": "postgres"}) + password_message)
        found, inbox = [], wire.Inbox()
        sent = False
        while not found or found[-1] != ("Z", b"I") or b"the end" not in b"".join(body for _, body in found if body):
            received = connection.recv(65536)
            assert received, found
            for kind, body in wire.split(inbox, received, lambda _: 1 << 20):
                shown = wire.parse_fields(body)["C"].encode() if kind in (wire.ERROR, wire.NOTICE) else body
                if sent:
                    found.append((chr(kind), shown))
                elif kind == wire.READY:
                    connection.sendall(data + wire.SYNC_MESSAGE + END)
                    sent = True
        return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(group, min_size=1, max_size=5))
@example(
    [
        wire.parse(b"a", b"SELECT 1") + wire.SYNC_MESSAGE,
        wire.query(b"DEALLOCATE a"),
        wire.bind(b"", b"a") + wire.SYNC_MESSAGE,
    ]
)
def test_the_same_bytes_get_the_same_answers(bed, groups):
    with bed.direct() as direct:
        direct.execute("DROP TABLE IF EXISTS same; CREATE TABLE same (a int)")
        data = b"".join(groups)
        through = conversation(bed.port, "trusted", data)
        rows = direct.execute("SELECT a FROM same").fetchall()
        direct.execute("TRUNCATE same")
        bed.settle(lambda: bed.proxy.sessions == 0)
        assert through == straight(direct, data)
        assert rows == direct.execute("SELECT a FROM same").fetchall()
    assert len(bed.recorder.statements) == len(bed.recorder.outcomes)


def straight(connection, data):
    """The same over a fresh connection of libpq's, whose socket is then spoken to by hand."""
    import psycopg

    with psycopg.connect(connection.info.dsn, password=connection.info.password) as signed_in:
        raw = socket.socket(fileno=signed_in.fileno())
        try:
            raw.setblocking(True)
            raw.sendall(data + wire.SYNC_MESSAGE + END)
            found, inbox = [], wire.Inbox()
            while (
                not found or found[-1] != ("Z", b"I") or b"the end" not in b"".join(body for _, body in found if body)
            ):
                for kind, body in wire.split(inbox, raw.recv(65536), lambda _: 1 << 20):
                    shown = wire.parse_fields(body)["C"].encode() if kind in (wire.ERROR, wire.NOTICE) else body
                    found.append((chr(kind), shown))
            return found
        finally:
            raw.detach()


async def asyncpg_work(port):
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="trusted", database="postgres", ssl=False)
    try:
        await connection.execute("CREATE TEMP TABLE t (a int, b text, c date)")
        await connection.executemany("INSERT INTO t VALUES ($1, $2, $3)", [(n, "x" * n, None) for n in range(200)])
        statement = await connection.prepare("SELECT a, b FROM t WHERE a = $1")
        assert [tuple(await statement.fetchrow(n)) for n in (5, 7)] == [(5, "x" * 5), (7, "x" * 7)]
        async with connection.transaction():
            assert [row["a"] async for row in connection.cursor("SELECT a FROM t ORDER BY a", prefetch=50)] == list(
                range(200)
            )
        await connection.copy_records_to_table("t", records=[(1000, "copied", None)], columns=["a", "b", "c"])
        target = io.BytesIO()
        await connection.copy_from_query("SELECT a FROM t WHERE a > 198 ORDER BY 1", output=target)
        assert target.getvalue() == b"199\n1000\n"
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetch("SELECT 1/0")
        with pytest.raises(asyncio.TimeoutError):
            await connection.execute("SELECT pg_sleep(20)", timeout=0.2)
        assert await connection.fetchval("SELECT count(*) FROM t") == 201
    finally:
        await connection.close()


def test_asyncpg_works(bed):
    asyncio.run(asyncpg_work(bed.port))
    bed.settle(lambda: len(bed.recorder.outcomes) == len(bed.recorder.statements))


def test_a_slow_client_costs_no_memory(bed):
    """200 MB of rows for a client that doesn't read: the tap stops reading, too."""
    process = psutil.Process()
    with socket.create_connection(("127.0.0.1", bed.port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(startup.startup_packet({"user": "trusted", "database": "postgres"}))
        before = process.memory_info().rss
        client.sendall(wire.query(b"SELECT repeat('x', 200) FROM generate_series(1, 1000000)"))
        time.sleep(1)
        assert process.memory_info().rss - before < 30_000_000
        received = 0
        while chunk := client.recv(1 << 20):
            received += len(chunk)
            if chunk.endswith(wire.ready("I")) and received > 1000:
                break
    bed.settle(lambda: bed.recorder.outcomes)
    assert bed.recorder.outcomes[0][1].rows == 1_000_000
    assert received > 200_000_000


def test_a_server_that_does_not_read_slows_the_client(bed):
    """COPY into a table that is locked: the client's bytes stay in the client."""
    process = psutil.Process()
    with bed.direct() as direct, bed.connect() as connection:
        direct.execute("DROP TABLE IF EXISTS locked; CREATE TABLE locked (a text)")
        with connection.cursor().copy("COPY locked FROM STDIN") as copy:
            before = process.memory_info().rss
            for _ in range(200):
                copy.write(("x" * 99 + "\n") * 10_000)
            assert process.memory_info().rss - before < 60_000_000
        assert direct.execute("SELECT count(*) FROM locked").fetchone() == (2_000_000,)
