"""An adversary who signs in, may do everything on the server, and wants to see what the tap masks.

Every attack runs on a real tap with the shipped guard, in an environment that isn't protected, so that nothing but
masking stands in its way. Whatever it does: no byte of a canary reaches the client, and the session lives.
"""

from __future__ import annotations

import base64
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq

from taprail.connectors.postgres import messages as wire
from taprail.connectors.postgres import startup
from taprail.schemas.endpoints import Endpoints
from tests.streams.policy.guarded_tap import GuardedTap, guarded_tap

CANARY = "canary7q"
CARD = "4111777766665555"
WORLD = f"""
DROP SCHEMA IF EXISTS decoy, d2, public, postgres CASCADE;
CREATE SCHEMA public;
CREATE SCHEMA decoy;
CREATE EXTENSION dblink; CREATE EXTENSION tablefunc; CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pageinspect;
CREATE TABLE customers (id int PRIMARY KEY, name text, email text UNIQUE, phone text, card_number bigint, note text,
                        payload jsonb, region text NOT NULL DEFAULT 'north');
INSERT INTO customers SELECT i, '{CANARY}name' || i, '{CANARY}ann' || i || '@mail.example', '{CANARY}+49' || i, {CARD},
                             'ok', jsonb_build_object('k', '{CANARY}json' || i) FROM generate_series(1, 3) i;
INSERT INTO customers VALUES (4, '{CANARY}', '{CANARY}', '{CANARY}', {CARD}, 'ok', '"{CANARY}"');
CREATE TABLE customers_archive (closed date) INHERITS (customers);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, note text, total numeric, row_to_json int, e text);
INSERT INTO orders VALUES (1, 1, 'first', 10, 1, 'x');
CREATE TABLE decoy.customers (id int, email int, payload int, name int);
CREATE TABLE decoy.custo (note text);
CREATE TABLE ord (id int, email text);
INSERT INTO ord VALUES (1, '{CANARY}');
CREATE VIEW people_view AS SELECT id, email AS e, lower(name) AS label, note FROM customers;
CREATE VIEW nested_view AS SELECT v.e AS contact FROM people_view v;
CREATE MATERIALIZED VIEW people_copy AS SELECT id, email AS e FROM customers;
CREATE FUNCTION customer_email(int) RETURNS text STABLE LANGUAGE sql AS 'SELECT email FROM customers WHERE id = $1';
CREATE FUNCTION frozen_email() RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1';
CREATE FUNCTION all_people() RETURNS SETOF customers STABLE LANGUAGE sql AS 'SELECT * FROM customers';
CREATE FUNCTION keep(text) RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO orders VALUES (77, 1, $1, 1); RETURN 1; END $$;
CREATE FUNCTION complain(text) RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION '%', $1 USING ERRCODE = '42703', DETAIL = $1, HINT = $1; END $$;
CREATE FUNCTION mumble(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; RETURN 1; END $$;
CREATE OPERATOR @@@ (RIGHTARG = int, FUNCTION = customer_email);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_notify('told', NEW.email); RETURN NEW; END $$;
CREATE TRIGGER tell AFTER UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION tell();
CREATE DOMAIN mail_address AS text CHECK (VALUE <> '');
CREATE DOMAIN work_address AS mail_address;
CREATE TYPE pair AS (a text, b text);
CREATE TABLE accounts (id int, mail work_address, contact pair, contacts pair[], note text);
INSERT INTO accounts VALUES (1, '{CANARY}', ('{CANARY}', 'x'), ARRAY[('x', '{CANARY}')::pair], 'ok');
CREATE FUNCTION tattle() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE NOTICE '%', customer_email(1); RAISE EXCEPTION '%', customer_email(2) USING ERRCODE = '22012'; END $$;
CREATE TABLE tattling (id int, note text);
INSERT INTO tattling VALUES (9, 'x');
CREATE TRIGGER tattle BEFORE INSERT OR UPDATE OR DELETE ON tattling FOR EACH ROW EXECUTE FUNCTION tattle();
CREATE TABLE checked (id int CHECK (mumble(customer_email(1)) = 1), note text);
CREATE STATISTICS people_mcv (mcv) ON email, phone FROM customers;
INSERT INTO customers SELECT i, name, email || i, phone, card_number, note, payload FROM customers,
  generate_series(100, 130) i WHERE id = 4;
ANALYZE;
"""


def attacks(*sections: str) -> list[str]:
    """Attacks of guard_attacks.sql."""
    found, section = [], ""
    for line in Path(__file__).with_name("guard_attacks.sql").read_text().splitlines():
        if line.startswith("-- "):
            section = line[3:].partition(":")[0]
        elif line and section in sections:
            found.append(line)
    assert found
    return found


@pytest.fixture(scope="module")
def tap(stack: Endpoints) -> Iterator[GuardedTap]:
    with guarded_tap(stack, "dev", WORLD) as made:
        with made.direct() as connection:
            connection.execute(f"SELECT lo_from_bytea(4242, '{CANARY}')")
        yield made


@pytest.fixture
def ann(tap: GuardedTap) -> Iterator[psycopg.Connection[Any]]:
    with tap.connect() as connection:
        tap.sent.clear()
        yield connection


@pytest.fixture
def rebuilt(tap: GuardedTap) -> None:
    """The database as it was: another attack has changed it."""
    with tap.direct() as connection:
        connection.execute(WORLD)
    tap.refresh()


def shapes(secret: str) -> set[bytes]:
    """A secret as it is, backwards, in capitals, in hex and in base64 at each alignment."""
    plain = secret.encode()
    coded = {base64.b64encode(b"x" * shift + plain)[4 if shift else 0 :].rstrip(b"=")[:-1] for shift in range(3)}
    return {plain, plain[::-1], plain.upper(), plain.hex().encode(), *coded}


SECRETS = shapes(CANARY) | shapes(CARD)


def received(raw: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """The next result; the tap runs in this process, so waiting must not hold the interpreter's lock."""
    while raw.flush() or raw.is_busy():
        assert select.select([raw.socket], [], [], 20)[0], "no answer within 20 s"
        raw.consume_input()
    return raw.get_result()


def drain(raw: pq.abc.PGconn) -> None:
    """COPY's data, to its end."""
    while (length := raw.get_copy_data(1)[0]) >= 0:
        if length == 0:
            assert select.select([raw.socket], [], [], 20)[0], "no data within 20 s"
            raw.consume_input()


def send(connection: psycopg.Connection[Any], text: str, *, extended: bool = False) -> list[tuple[str, bool]]:
    """(SQLSTATE or '', whether it gave rows) of each result, COPY data drained."""
    raw = connection.pgconn
    (raw.send_query_params(text.encode(), []) if extended else raw.send_query(text.encode()))
    found = []
    while (result := received(raw)) is not None:
        if result.status == pq.ExecStatus.COPY_OUT:
            drain(raw)
        elif result.status == pq.ExecStatus.COPY_IN:
            raw.put_copy_end()
        found.append(((result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode(), result.ntuples > 0))
        assert raw.status == pq.ConnStatus.OK, f"{text!r} ended the session"
    return found


def attack(tap: GuardedTap, connection: psycopg.Connection[Any], steps: list[str], *, extended: bool = False) -> None:
    for step in steps:
        try:
            send(connection, step, extended=extended)
        finally:
            leaked = [secret for secret in SECRETS if secret in tap.sent]
            assert leaked == [], f"{step!r} shows {bytes(tap.sent)!r}"
    send(connection, "ROLLBACK")
    assert send(connection, "SELECT 1") == [("", True)], "the session doesn't live any more"
    assert [secret for secret in SECRETS if secret in tap.sent] == []


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("expression", attacks("expressions", "aggregates"), ids=str)
def test_expressions(tap: GuardedTap, ann: psycopg.Connection[Any], expression: str, extended: bool) -> None:
    attack(tap, ann, [f"SELECT {expression} FROM customers c"], extended=extended)


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("query", attacks("queries"), ids=str)
def test_queries(tap: GuardedTap, ann: psycopg.Connection[Any], query: str, extended: bool) -> None:
    attack(tap, ann, [query], extended=extended)


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("statement", attacks("telltales"), ids=str)
def test_errors_and_notices(tap: GuardedTap, ann: psycopg.Connection[Any], statement: str, extended: bool) -> None:
    attack(tap, ann, [statement], extended=extended)


@pytest.mark.usefixtures("rebuilt")
@pytest.mark.parametrize("journey", attacks("journeys"), ids=str)
def test_journeys(tap: GuardedTap, ann: psycopg.Connection[Any], journey: str) -> None:
    attack(tap, ann, [step.strip() for step in journey.split(" | ")])


HIDDEN = b"SELECT lower(email) FROM customers"
PLAIN = b"SELECT note || '' FROM orders"
BEGIN, SYNC = wire.query(b"BEGIN"), wire.message(wire.SYNC)


def portal(name: bytes, text: bytes) -> bytes:
    return wire.parse(b"", text) + wire.bind(name, b"", []) + SYNC


# Names of the protocol and of SQL are the same names to the server: a prepared statement of either, a portal or cursor.
MESSAGES = {
    "a portal that was bound in another search_path": (
        BEGIN,
        portal(b"c", b"SELECT email || '' FROM customers"),
        wire.query(b"SET search_path = decoy"),
        wire.execute(b"c") + SYNC,
    ),
    "a prepared statement in the place of SQL's": (
        wire.query(b"PREPARE p AS " + PLAIN),
        wire.close(b"S", b"p") + wire.parse(b"p", HIDDEN) + SYNC,
        wire.query(b"EXECUTE p"),
    ),
    "the same in one group": (
        wire.query(b"PREPARE p AS " + PLAIN),
        wire.close(b"S", b"p")
        + wire.parse(b"p", HIDDEN)
        + wire.parse(b"", b"EXECUTE p")
        + wire.bind(b"", b"", [])
        + wire.execute(b"")
        + SYNC,
    ),
    "SQL's in the place of a prepared statement": (
        wire.parse(b"p", PLAIN) + SYNC,
        wire.query(b"DEALLOCATE p"),
        wire.query(b"PREPARE p AS " + HIDDEN),
        wire.bind(b"", b"p", []) + wire.execute(b"") + SYNC,
    ),
    "a cursor in the place of a closed portal": (
        BEGIN,
        portal(b"c", PLAIN),
        wire.query(b"CLOSE c"),
        wire.query(b"DECLARE c CURSOR FOR " + HIDDEN),
        wire.execute(b"c") + SYNC,
    ),
    "a cursor in the place of a portal that was rolled back": (
        BEGIN,
        wire.query(b"SAVEPOINT s"),
        portal(b"c", PLAIN),
        wire.query(b"ROLLBACK TO s"),
        wire.query(b"DECLARE c CURSOR FOR " + HIDDEN),
        wire.execute(b"c") + SYNC,
    ),
    "a portal in the place of a closed cursor": (
        BEGIN,
        wire.query(b"DECLARE c CURSOR FOR " + PLAIN),
        wire.close(b"P", b"c") + portal(b"c", HIDDEN),
        wire.query(b"FETCH ALL c"),
    ),
    "code that waits for an approval, in the place of SQL's": (
        wire.query(b"PREPARE p AS " + PLAIN),
        wire.close(b"S", b"p")
        + wire.parse(b"p", b"DO $$ BEGIN EXECUTE 'CREATE TABLE z AS SELECT email AS e FROM customers'; END $$")
        + SYNC,
        wire.query(b"EXECUTE p"),
        wire.query(b"TABLE z"),
    ),
    "the same behind a cursor that was rolled back": (
        BEGIN,
        wire.query(b"SAVEPOINT s"),
        wire.query(b"DECLARE c CURSOR FOR " + PLAIN),
        wire.query(b"ROLLBACK TO s"),
        portal(b"c", b"DO $$ BEGIN EXECUTE 'CREATE TABLE z AS SELECT email AS e FROM customers'; END $$"),
        wire.query(b"FETCH ALL c"),
        wire.query(b"COMMIT"),
        wire.query(b"TABLE z"),
    ),
    "DDL in a query that was sent ahead": (
        wire.query(b"ALTER TABLE orders RENAME TO o2; ALTER TABLE ord RENAME TO orders")
        + wire.query(b"SELECT lower(email) FROM orders"),
    ),
    "DDL in a group that was sent ahead": (
        portal(b"", b"ALTER TABLE orders RENAME TO o2").removesuffix(SYNC)
        + wire.execute(b"")
        + portal(b"", b"ALTER TABLE ord RENAME TO orders").removesuffix(SYNC)
        + wire.execute(b"")
        + portal(b"", b"SELECT lower(email) FROM orders").removesuffix(SYNC)
        + wire.execute(b"")
        + SYNC
        + portal(b"", b"SELECT upper(email) FROM orders").removesuffix(SYNC)
        + wire.execute(b"")
        + SYNC,
    ),
}


@pytest.mark.usefixtures("rebuilt")
@pytest.mark.parametrize("steps", MESSAGES.values(), ids=MESSAGES)
def test_messages(tap: GuardedTap, steps: tuple[bytes, ...]) -> None:
    tap.sent.clear()
    with socket.create_connection(("127.0.0.1", tap.port), timeout=10) as client:
        client.settimeout(10)
        client.sendall(startup.startup_packet({"user": "ann", "database": tap.database}))
        for step in (b"", *steps, wire.query(b"ROLLBACK"), wire.query(b"SELECT 1")):
            client.sendall(step)
            expected = step.count(SYNC) + step.count(b"Q\0\0\0") or 1
            inbox, ready = wire.Inbox(), 0
            while ready < expected:
                data = client.recv(65536)
                assert data, f"{step!r} ended the session"
                ready += sum(kind == wire.READY for kind, _ in wire.split(inbox, data, lambda _: 1 << 20))
            assert [secret for secret in SECRETS if secret in tap.sent] == [], bytes(tap.sent)
