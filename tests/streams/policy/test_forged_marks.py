"""A mark names the statement that a row change belongs to. Nobody writes one through the tap but the tap.

Every role may call pg_logical_emit_message, so the guard refuses it by name; code that nobody can read could still call
it, but has no key: what it writes isn't taken for a mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from taprail.schemas import mark
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import SignatureError
from tests.streams.policy.guarded_tap import MARK_KEY, GuardedTap, guarded_tap

FORGED = ("1|tap-1|1|1|main|shop|" + "0" * 32, "1|tap-1|1|2|main|shop|00")
WORLD = f"""
CREATE TABLE orders (id int PRIMARY KEY, note text);
CREATE TABLE customers (id int PRIMARY KEY, email text);
CREATE FUNCTION shout() RETURNS pg_lsn LANGUAGE sql AS
  $$ SELECT pg_logical_emit_message(true, 'taprail', '{FORGED[0]}') $$;
"""
CALL = f"pg_logical_emit_message(true, 'taprail', '{FORGED[1]}')"
REFUSED = (
    f"SELECT {CALL}",
    f"SELECT pg_catalog.{CALL}",
    "SELECT pg_logical_emit_message(true, 'taprail'::text, 'x'::bytea)",
    "SELECT pg_logical_emit_message(transactional => true, prefix => 'taprail', message => 'x')",
    "SELECT \"pg_logical_emit_message\"(true, U&'tap\\0072ail', 'x')",
    "SELECT U&\"pg\\005flogical_emit_message\"(true, 'tap' || 'rail', 'x')",
    "SELECT pg_logical_emit_message(true, 'taprail', 'x', true)",
    "SELECT pg_logical_emit_message(false, 'taprail', 'x')",
    f"SELECT * FROM {CALL}",
    f"SELECT * FROM orders, LATERAL {CALL}",
    f"SELECT 1 WHERE {CALL} IS NOT NULL",
    f"WITH x AS MATERIALIZED (SELECT {CALL}) SELECT * FROM x",
    f"INSERT INTO orders VALUES (7, {CALL}::text)",
    f"UPDATE orders SET note = {CALL}::text WHERE id = 1",
    f"DELETE FROM orders WHERE {CALL} IS NULL",
    f"INSERT INTO orders VALUES (7) RETURNING {CALL}",
    f"PREPARE p AS SELECT {CALL}",
    f"EXPLAIN ANALYZE SELECT {CALL}",
    f"DECLARE c CURSOR WITH HOLD FOR SELECT {CALL}",
    f"COPY (SELECT {CALL}) TO STDOUT",
    f"CREATE TABLE z AS SELECT {CALL}",
    f"CREATE VIEW z AS SELECT {CALL}",
    f"CREATE TABLE z (x pg_lsn DEFAULT {CALL})",
    f"ALTER TABLE orders ALTER note SET DEFAULT {CALL}",
    f"CREATE DOMAIN d AS pg_lsn DEFAULT {CALL}",
    f"CREATE POLICY p ON orders USING ({CALL} IS NOT NULL)",
    f"SELECT query_to_xml('SELECT {CALL.replace(chr(39), chr(39) * 2)}', true, false, '')",
    f"BEGIN; INSERT INTO orders VALUES (8); SELECT {CALL}; COMMIT",
)
OPAQUE = (
    f"DO $$ BEGIN PERFORM {CALL}; INSERT INTO orders VALUES (100); END $$",
    f"DO $$ BEGIN EXECUTE 'SELECT ' || $q${CALL}$q$; END $$",
    f"CREATE FUNCTION whisper() RETURNS pg_lsn LANGUAGE sql AS $$ SELECT {CALL} $$; SELECT whisper()",
    f"CREATE FUNCTION trill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {CALL}; RETURN NEW; END $$;"
    " CREATE TRIGGER trill BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION trill();"
    " INSERT INTO orders VALUES (101)",
    "SELECT shout()",
)


@pytest.fixture(scope="module")
def tap(stack: Endpoints) -> Iterator[GuardedTap]:
    with guarded_tap(stack, "dev", WORLD) as made:
        yield made


@pytest.fixture
def messages(tap: GuardedTap) -> Iterator[Any]:
    """A function: the contents of the messages with the marks' prefix since the test began."""
    with tap.direct() as connection:
        name = f"{tap.database}_slot"
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])

        def read() -> list[str]:
            rows = connection.execute(
                "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, 'proto_version', '1',"
                " 'publication_names', 'taprail', 'messages', 'true')",
                [name],
            ).fetchall()
            # PostgreSQL documentation, 54.9, Message: Byte1('M'), flags, LSN, prefix, length, content.
            parts = [data[10:].partition(b"\0") for (data,) in rows if data[:1] == b"M"]
            return [rest[4:].decode() for prefix, _, rest in parts if prefix.decode() == mark.PREFIX]

        try:
            yield read
        finally:
            connection.execute("SELECT pg_drop_replication_slot(%s)", [name])


def valid(contents: list[str]) -> list[int]:
    """Sequences of the marks that a tap has made."""
    found = []
    for content in contents:
        try:
            found.append(mark.parse(content, MARK_KEY).sequence)
        except SignatureError:
            continue
    return found


@pytest.mark.parametrize("person", ["ann", "owner"])
@pytest.mark.parametrize("prepare", [False, True], ids=["simple", "prepared"])
def test_the_call_is_denied_wherever_it_stands(tap: GuardedTap, messages: Any, person: str, prepare: bool) -> None:
    with tap.connect(person) as connection:
        for text in REFUSED:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="server-programs"):
                connection.execute(text.encode(), prepare=prepare and ";" not in text)
            connection.rollback()
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.Error, match="doesn't know the prepared statement"):
            connection.execute("EXECUTE p")
    assert messages() == []


@pytest.mark.parametrize("text", OPAQUE)
def test_what_code_writes_is_no_mark(tap: GuardedTap, messages: Any, text: str) -> None:
    """The data's owner may run code that isn't judged; beside its forged message stands the tap's own mark."""
    with tap.connect("owner") as connection:
        connection.execute(text.encode())
        connection.execute("INSERT INTO orders VALUES (102) ON CONFLICT DO NOTHING")
    contents = messages()
    forged = [content for content in contents if content in FORGED]
    assert forged and valid(forged) == []
    assert valid(contents) == sorted(valid(contents)) and len(valid(contents)) == len(contents) - len(forged)


def test_code_of_those_who_see_masked_data_waits(tap: GuardedTap, messages: Any) -> None:
    with tap.connect("ann") as connection:
        for text in OPAQUE[:3]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody decided"):
                connection.execute(text.encode())
    assert messages() == []


def test_a_mark_that_was_seen_and_changed_is_none(tap: GuardedTap, messages: Any) -> None:
    with tap.connect("ann") as connection:
        connection.execute("INSERT INTO customers VALUES (103)")
    (content,) = messages()
    assert valid([content])
    with pytest.raises(SignatureError):
        mark.parse(content, b"x" * 32)
    head, _, mac = content.rpartition("|")
    with pytest.raises(SignatureError):
        mark.parse(f"{head.replace('tap-1', 'tap-2')}|{mac}", MARK_KEY)
