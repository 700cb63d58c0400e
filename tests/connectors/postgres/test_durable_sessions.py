"""A connection whose statements wait until their records are durable: nothing is forwarded before."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.session import RecordWait
from taprail.schemas.errors import RefusedError

REFUSED = RefusedError("Kafka didn't take its record within 10 s", hint="is the broker up?")


@pytest.fixture
def durable(offline):
    return offline(durability="kafka")


def test_a_query_is_recorded_and_waits(durable):
    assert durable.from_client(wire.query(b"SELECT 1; SELECT 2")) == b""
    assert durable.session.wait == RecordWait("kafka")
    assert durable.recorder.texts() == ["SELECT 1", "SELECT 2"]
    durable.session.resume(None)
    assert durable.session.take_to_server() == wire.query(b"SELECT 1; SELECT 2")


def test_a_pipeline_waits_at_each_execution(durable):
    group = wire.parse(b"", b"SELECT 1") + wire.bind(b"", b"") + wire.execute(b"") + wire.SYNC_MESSAGE
    assert durable.from_client(group + group) == b""
    durable.session.resume(None)
    assert durable.session.wait == RecordWait("kafka") and len(durable.recorder.statements) == 2
    assert durable.session.take_to_server() == b""
    durable.session.resume(None)
    assert durable.session.take_to_server() == group + group


def test_what_can_not_be_made_durable_does_not_run(durable):
    durable.from_client(wire.query(b"DELETE FROM t"))
    durable.session.resume(REFUSED)
    sent = durable.session.take_to_server()
    assert b"DELETE" not in sent
    durable.from_server(wire.error("42601", "syntax error") + wire.ready("I"))
    assert b"Kafka didn't take its record" in durable.client and b"58030" in durable.client
    assert [(status, text) for text, status, *_ in durable.recorder.ended()] == [("cancelled", "DELETE FROM t")]


def test_through_a_real_server(beds):
    bed = beds(durability="machine")
    asked = []

    async def settle(durability):
        asked.append((durability, len(bed.recorder.statements)))
        await asyncio.sleep(0)

    bed.gate.settle = settle
    with bed.connect() as connection:
        connection.execute("SELECT 1")
        connection.execute("SELECT %s", [2], prepare=True)
    assert asked == [("machine", 1), ("machine", 2), ("machine", 3), ("machine", 4)][: len(asked)] and len(asked) >= 2

    async def refuse(_):
        raise REFUSED

    bed.gate.settle = refuse
    with bed.connect(autocommit=True) as connection:
        with pytest.raises(psycopg.errors.IoError, match="Kafka didn't take its record"):
            connection.execute("CREATE TABLE never (id int)")
        bed.gate.settle = settle
        assert connection.execute("SELECT to_regclass('never')").fetchone() == (None,)


def test_bytes_in_and_the_first_row_are_recorded(bed):
    with bed.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE copied (id int, note text)")
        rows = "".join(f"{n}\tnote\n" for n in range(500))
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            copy.write(rows)
        connection.execute("SELECT * FROM copied, pg_sleep(0.05)").fetchall()
    results = {request.text: (result, ticket) for request, result, ticket in bed.recorder.outcomes}
    copied, _ = results["COPY copied FROM STDIN"]
    assert (copied.rows, copied.first_row_us) == (500, 0)
    assert len(rows) <= copied.bytes_in < len(rows) + 1000
    selected, ticket = results["SELECT * FROM copied, pg_sleep(0.05)"]
    assert selected.rows == 500 and selected.bytes > 500 * 10 and selected.bytes_in == 0
    assert selected.first_row_us - ticket.started_us >= 50_000
