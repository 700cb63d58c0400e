"""Function call messages: large objects as libpq's lo_* functions use them, judged as the SELECT that they are."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace

import pytest

from taprail.connectors.local.postgres import installed_psql
from taprail.connectors.postgres import large_objects
from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres.large_objects import FunctionCall, parse_function_call
from taprail.schemas.errors import ProtocolError
from taprail.schemas.guard import MaskPlan
from tests.connectors.postgres.test_tap_at_the_wire import Wire, kinds

LO_CREAT, LO_OPEN, LOWRITE, LOREAD, LO_LSEEK = 957, 952, 955, 954, 956
READ_WRITE = 0x60000


def number(value):
    return struct.pack(">i", value)


def call(oid, *arguments):
    sizes = [b"\xff\xff\xff\xff" if each is None else number(len(each)) + each for each in arguments]
    body = struct.pack(">IHHH", oid, 1, 1, len(arguments)) + b"".join(sizes) + b"\0\1"
    return wire.message(wire.FUNCTION_CALL, body)


def result(found):
    """The only response's value, None for NULL."""
    [body] = [body for kind, body in found if kind == "V"]
    return None if body == b"\xff\xff\xff\xff" else body[4:]


@pytest.fixture
def client(bed):
    made = Wire(bed, user="trusted")
    made.read()
    yield made
    made.socket.close()


def written(client, data):
    """A large object that holds `data`, open at its beginning in the client's transaction: its descriptor."""
    client.ask(wire.query(b"BEGIN"))
    oid = result(client.ask(call(LO_CREAT, number(READ_WRITE))))
    descriptor = result(client.ask(call(LO_OPEN, oid, number(READ_WRITE))))
    assert result(client.ask(call(LOWRITE, descriptor, data))) == number(len(data))
    assert result(client.ask(call(LO_LSEEK, descriptor, number(0), number(0)))) == number(0)
    return descriptor


def test_a_call_is_judged_and_recorded_before_it_runs(client, bed):
    descriptor = written(client, b"hello")
    assert result(client.ask(call(LOREAD, descriptor, number(100)))) == b"hello"
    assert bed.recorder.texts()[-3:] == [
        "SELECT pg_catalog.lowrite($1, $2)",
        "SELECT pg_catalog.lo_lseek($1, $2, $3)",
        "SELECT pg_catalog.loread($1, $2)",
    ]
    assert bed.recorder.statements[-3][0].parameters == (descriptor, b"hello")
    client.ask(wire.query(b"COMMIT"))
    bed.settle(lambda: len(bed.recorder.outcomes) == len(bed.recorder.statements))
    assert bed.recorder.ended()[-2][1:3] == ("ok", 1)


def test_a_denied_call_does_not_run_and_aborts_the_transaction(client, bed):
    descriptor = written(client, b"hello")
    bed.guard.rule = lambda request, verdict: (
        replace(verdict, action="deny", reason="no") if "loread" in request.text else verdict
    )
    found = client.ask(call(LOREAD, descriptor, number(5)))
    assert kinds(found) == "EZ" and found[-1][1] == b"E" and client.error(found)[0] == "42501"
    assert bed.recorder.ended()[-1][1] == "denied"
    found = client.ask(call(LO_LSEEK, descriptor, number(0), number(0)))
    assert client.error(found)[0] == "25P02"


def test_a_masked_session_reads_nothing(client, bed):
    descriptor = written(client, b"ann@x.com")
    plan = MaskPlan(sensitive={}, known=frozenset())
    bed.guard.rule = lambda request, verdict: (
        replace(verdict, action="mask", mask=plan) if "loread" in request.text else verdict
    )
    found = client.ask(call(LOREAD, descriptor, number(100)))
    assert result(found) is None and b"ann@x.com" not in b"".join(body for _, body in found)
    bed.settle(lambda: len(bed.recorder.outcomes) == len(bed.recorder.statements))
    assert bed.recorder.outcomes[-1][1].masked_columns == 1
    assert kinds(client.ask(wire.query(b"SELECT 1"))) == "TDCZ"


def test_what_fails_at_the_server_fails_alike(client, bed):
    found = client.ask(call(LOREAD, number(7), number(1)))
    assert kinds(found) == "EZ" and client.error(found)[0] == "42704"
    bed.settle(lambda: bed.recorder.outcomes)
    assert bed.recorder.ended()[-1][1] == "error"


def test_calls_and_queries_may_be_sent_ahead(client):
    client.ask(wire.query(b"BEGIN"))
    client.socket.sendall(call(LO_CREAT, number(READ_WRITE)) + wire.query(b"SELECT 1") + call(LO_CREAT, number(0)))
    assert [kinds(client.read()) for _ in range(3)] == ["VZ", "TDCZ", "VZ"]


def test_psql_imports_and_exports_a_file(bed, tmp_path):
    (tmp_path / "in").write_bytes(bytes(range(256)) * 200)
    script = f"\\lo_import {tmp_path / 'in'} comment\n\\lo_export :LASTOID {tmp_path / 'out'}\n\\lo_unlink :LASTOID\n"
    dsn = f"host=127.0.0.1 port={bed.port} user=trusted dbname=postgres sslmode=disable"
    done = subprocess.run([installed_psql(), "-X", "-v", "ON_ERROR_STOP=1", dsn], input=script.encode(), check=False)
    assert done.returncode == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


def test_every_known_function_is_the_servers(bed):
    with bed.direct() as direct:
        rows = direct.execute(
            "SELECT oid::int, proname, pronargs::int, prorettype::int FROM pg_proc WHERE oid = ANY (%s)",
            [list(large_objects._FUNCTIONS)],
        ).fetchall()
    assert {oid: (name, count, returned) for oid, name, count, returned in rows} == large_objects._FUNCTIONS


def test_a_call_that_is_cut_or_has_too_much_ends_the_session():
    body = call(LOREAD, number(1), None)[5:]
    assert parse_function_call(body) == FunctionCall("SELECT pg_catalog.loread($1, $2)", (number(1), None), 17)
    for wrong in (*(body[:cut] for cut in range(len(body))), body + b"\0", call(LOREAD, number(1))[5:]):
        with pytest.raises(ProtocolError):
            parse_function_call(wrong)


def test_the_server_may_not_answer_a_call_that_nobody_sent(offline):
    session = offline()
    session.from_client(wire.query(b"SELECT 1"))
    with pytest.raises(ProtocolError):
        session.from_server(wire.message(wire.FUNCTION_CALL_RESPONSE, number(1) + b"x"))
