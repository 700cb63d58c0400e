"""psycopg 3, and psycopg_pool: what an application does with them."""

from __future__ import annotations

import threading
import time
import uuid

import psycopg
import psycopg_pool
from psycopg.rows import dict_row
from told import DATABASE, PROTECTED, parameters, tell, tell_table


def read(connection: psycopg.Connection) -> None:
    cursor = connection.execute("SELECT * FROM kinds ORDER BY id")
    assert cursor.description is not None
    tell_table("types", [column.name for column in cursor.description], cursor.fetchall())
    tell("columns", [(column.name, column.type_code) for column in cursor.description])
    cursor = connection.execute("SELECT * FROM customers ORDER BY id")
    assert cursor.description is not None
    tell_table("customers", [column.name for column in cursor.description], cursor.fetchall())
    for binary in (False, True):
        rows = connection.cursor(binary=binary).execute("SELECT email, id FROM customers ORDER BY id", prepare=True)
        tell_table(f"prepared, binary {binary}", ["email", "id"], rows.fetchall())
    tell("bind values", connection.execute("SELECT %s::uuid, %s::int[]", [uuid.UUID(int=7), [1, 2]]).fetchone())
    with connection.transaction(), connection.cursor(name="part") as part:
        part.execute("SELECT n FROM big ORDER BY n")
        tell("server-side cursor", [len(part.fetchmany(1000)), len(part.fetchmany(500)), part.fetchone()])
    tell("100,000 rows", sum(row[0] for row in connection.execute("SELECT n, word FROM big")))
    tell("dict_row", connection.cursor(row_factory=dict_row).execute("SELECT 1 AS a, 2 AS b").fetchone())


def write(connection: psycopg.Connection) -> None:
    with connection.transaction(force_rollback=True):
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO orders VALUES (%s, %s) RETURNING id", [(9, 1), (10, 2)], returning=True)
        tell("batch", [cursor.fetchone(), cursor.nextset(), cursor.fetchone()])
        tell("in the transaction", connection.execute("SELECT count(*) FROM orders").fetchone())
    tell("rolled back", connection.execute("SELECT count(*) FROM orders").fetchone())
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", [number]) for number in range(5)]
    tell("pipeline", [cursor.fetchone() for cursor in cursors])
    connection.execute("CREATE TEMP TABLE copied (a int, b text)")
    with connection.cursor().copy("COPY copied FROM STDIN") as copy:
        copy.write_row((1, "tab\there"))
    with connection.cursor().copy("COPY copied TO STDOUT") as copy:
        tell("COPY", list(copy.rows()))


def fail(connection: psycopg.Connection) -> None:
    for text in ("SELECT 1/0", "SELECT nothing", "SELEC 1", "INSERT INTO orders VALUES (1, 1)"):
        try:
            connection.execute(text)
        except psycopg.Error as error:
            diag = error.diag
            tell(text, [error.sqlstate, diag.message_primary, diag.message_detail, diag.statement_position])
    timer = threading.Timer(0.5, connection.cancel_safe)
    timer.start()
    began = time.monotonic()
    try:
        connection.execute("SELECT pg_sleep(20)")
    except psycopg.errors.QueryCanceled as error:
        tell("cancel", [error.sqlstate, time.monotonic() - began < 5])
    tell("the session lives", connection.execute("SELECT 1").fetchone())


def hear(connection: psycopg.Connection) -> None:
    notices: list[str | None] = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("DROP TABLE IF EXISTS never_was")
    tell("notices", notices)
    try:
        connection.execute("LISTEN news")
        with psycopg.connect(**parameters(), autocommit=True) as other:
            other.execute("NOTIFY news, 'today'")
        tell("notifications", [each.payload for each in connection.notifies(timeout=5, stop_after=1)])
    except psycopg.errors.InsufficientPrivilege as error:
        tell("notifications", str(error))


def pool() -> None:
    check = psycopg_pool.ConnectionPool.check_connection
    with psycopg_pool.ConnectionPool(kwargs=parameters(), min_size=1, max_size=1, check=check) as pool:
        for _ in range(5):
            with pool.connection() as connection:
                answer = connection.execute("SELECT current_database() = %s", [DATABASE]).fetchone()
        with pool.connection() as connection:
            pid = connection.info.backend_pid
            connection.execute("SET idle_session_timeout = '100ms'")
        time.sleep(1)
        with pool.connection() as connection:
            tell("pool, and a connection lost", [answer, connection.info.backend_pid != pid])


def policy() -> None:
    """Only through the tap."""
    notices: list[str | None] = []
    with psycopg.connect(**parameters(PROTECTED), autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for step, text in (("denied", "DROP TABLE orders"), ("held", "DELETE FROM orders")):
            try:
                connection.execute(text)
            except psycopg.Error as error:
                tell(step, [error.sqlstate, str(error), notices, connection.execute("SELECT 1").fetchone()])


with psycopg.connect(**parameters(), autocommit=True) as connected:
    tell("connected", [connected.info.server_version, connected.info.user == parameters()["user"]])
    read(connected)
    write(connected)
    fail(connected)
    hear(connected)
pool()
if PROTECTED:
    policy()
