"""pgjdbc, called through JPype: DatabaseMetaData, fetch size, batches, cancel, CopyManager, HikariCP, a token plugin.

DBeaver speaks to PostgreSQL with this driver; with_dbeaver.py has its own questions to the catalog.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import jpype
from told import CA_FILE, DATABASE, HOST, PASSWORD, PORT, PROTECTED, SSLMODE, USER, tell, tell_table

jpype.startJVM(os.environ["CLIENT_JVM"], classpath=os.environ["CLIENT_JARS"].split(":"), convertStrings=True)
DriverManager = jpype.JClass("java.sql.DriverManager")
SQLException = jpype.JClass("java.sql.SQLException")
Properties = jpype.JClass("java.util.Properties")
jpype.JClass("org.postgresql.Driver")
TABLE_CALLS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("getCatalogs", ()), ("getSchemas", ()), ("getTableTypes", ()), ("getTypeInfo", ()),
    ("getClientInfoProperties", ()), ("getTables", (None, "public", "%", None)),
    ("getTables", (None, "pg_catalog", "pg_cl%", None)), ("getColumns", (None, "public", "%", "%")),
    ("getPrimaryKeys", (None, "public", "customers")), ("getImportedKeys", (None, "public", "orders")),
    ("getExportedKeys", (None, "public", "customers")), ("getIndexInfo", (None, "public", "customers", False, True)),
    ("getCrossReference", (None, "public", "customers", None, "public", "orders")),
    ("getTablePrivileges", (None, "public", "%")), ("getColumnPrivileges", (None, "public", "customers", "%")),
    ("getProcedures", (None, "public", "%")), ("getProcedureColumns", (None, "public", "%", "%")),
    ("getFunctions", (None, "public", "%")), ("getFunctionColumns", (None, "public", "%", "%")),
    ("getBestRowIdentifier", (None, "public", "customers", 0, True)), ("getUDTs", (None, "public", "%", None)),
    ("getVersionColumns", (None, "public", "customers")),
)  # fmt: skip
PLAIN_CALLS = ("getDatabaseProductVersion", "getSQLKeywords", "getNumericFunctions", "getMaxConnections",
               "getMaxColumnNameLength", "getDefaultTransactionIsolation", "supportsBatchUpdates")  # fmt: skip


def url(database: str = DATABASE) -> str:
    more = f"&sslrootcert={CA_FILE}" if CA_FILE else ""
    return f"jdbc:postgresql://{HOST}:{PORT}/{database}?sslmode={SSLMODE}{more}"


def connect(database: str = DATABASE, **options: str) -> Any:
    properties = Properties()
    for name, value in {"user": USER, "password": PASSWORD, **options}.items():
        properties.setProperty(name, value)
    return DriverManager.getConnection(url(database), properties)


def rows(result: Any) -> tuple[list[tuple[Any, ...]], list[list[Any]]]:
    """Columns with their types, and all rows as text."""
    of = result.getMetaData()
    at = range(1, of.getColumnCount() + 1)
    columns = [(of.getColumnLabel(i), of.getColumnTypeName(i), of.getPrecision(i), of.isNullable(i)) for i in at]
    found = []
    while result.next():
        found.append([result.getString(i) for i in at])
    return columns, found


def browse(connection: Any) -> None:
    meta = connection.getMetaData()
    for name, arguments in TABLE_CALLS:
        columns, found = rows(getattr(meta, name)(*arguments))
        tell(f"{name}{arguments}", [columns, sorted(found, key=str)])
    tell("plain metadata", [str(getattr(meta, name)()) for name in PLAIN_CALLS])


def types(step: str, connection: Any) -> None:
    text = "SELECT id, at, wall, day, span, tags, grid, doc, encode(raw, 'hex') AS raw, uid, amount, ratio, yes, state"
    columns, found = rows(connection.createStatement().executeQuery(text + ", net, span4 FROM kinds ORDER BY id"))
    tell(f"{step}: metadata", columns)
    tell_table(step, [column[0] for column in columns], found)


def read(connection: Any) -> None:
    types("types", connection)
    objects = connection.createStatement().executeQuery(
        "SELECT at, tags, grid, raw, uid, amount FROM kinds ORDER BY id"
    )
    objects.next()
    tell("as objects", [str(objects.getObject(i).getClass().getName()) for i in range(1, 7)])
    columns, found = rows(connection.createStatement().executeQuery("SELECT * FROM customers ORDER BY id"))
    tell("types of customers", columns)
    tell_table("customers", [column[0] for column in columns], found)
    prepared = connection.prepareStatement("SELECT email, id FROM customers WHERE id >= ? ORDER BY id")
    for turn in range(7):  # from the fifth on the driver names the statement at the server
        prepared.setInt(1, 1)
        found = rows(prepared.executeQuery())[1]
        if turn in (0, 6):
            tell_table(f"prepared, turn {turn}", ["email", "id"], found)
    connection.setAutoCommit(False)
    statement = connection.createStatement()
    statement.setFetchSize(5000)
    tell("100,000 rows by fetch size", len(rows(statement.executeQuery("SELECT n, word FROM big"))[1]))
    connection.rollback()


def write(connection: Any) -> None:
    prepared = connection.prepareStatement("INSERT INTO orders (id, customer_id) VALUES (?, ?)")
    for number in range(100, 110):
        prepared.setInt(1, number)
        prepared.setInt(2, 1)
        prepared.addBatch()
    tell("batch", [int(each) for each in prepared.executeBatch()])
    savepoint = connection.setSavepoint("here")
    keys = connection.prepareStatement("INSERT INTO orders VALUES (200, 1)", jpype.JArray(jpype.JString)(["id"]))
    keys.executeUpdate()
    tell("generated keys", rows(keys.getGeneratedKeys()))
    connection.rollback(savepoint)
    tell("in the transaction", rows(connection.createStatement().executeQuery("SELECT count(*) FROM orders")))
    connection.rollback()
    connection.setAutoCommit(True)
    editable = connection.createStatement(1004, 1008).executeQuery("SELECT id, customer_id FROM orders WHERE id = 1")
    editable.next()
    editable.updateInt(2, 1)
    editable.updateRow()
    tell("an updatable result, as a grid edits", editable.getInt(2))
    copy = connection.unwrap(jpype.JClass("org.postgresql.PGConnection")).getCopyAPI()
    connection.createStatement().execute("CREATE TEMP TABLE c (a int, b text)")
    tell("copied in", copy.copyIn("COPY c FROM STDIN", jpype.JClass("java.io.StringReader")("1\tone\n2\ttwo\n")))
    writer = jpype.JClass("java.io.StringWriter")()
    copy.copyOut("COPY c TO STDOUT", writer)
    tell("copied out", str(writer))


def failure(connection: Any, text: str) -> list[Any]:
    statement = connection.createStatement()
    try:
        statement.execute(text)
    except SQLException as error:
        warning = statement.getWarnings()
        return [error.getSQLState(), error.getMessage(), warning.getMessage() if warning else None]
    return []


def fail(connection: Any) -> None:
    for text in ("SELECT 1/0", "SELECT nothing", "SELEC 1", "INSERT INTO orders VALUES (1, 1)"):
        tell(text, failure(connection, text))
    statement = connection.createStatement()
    timer = threading.Timer(0.5, statement.cancel)
    timer.start()
    try:
        statement.execute("SELECT pg_sleep(20)")
    except SQLException as error:
        tell("cancel", error.getSQLState())
    statement.setQueryTimeout(1)
    try:
        statement.execute("SELECT pg_sleep(20)")
    except SQLException as error:
        tell("query timeout", error.getSQLState())
    tell("isValid", [connection.isValid(5), failure(connection, "SELECT 1")])
    refused = failure(connection, "LISTEN news")
    failure(connection, "NOTIFY news, 'today'")
    notifications = connection.unwrap(jpype.JClass("org.postgresql.PGConnection")).getNotifications(1000) or []
    tell("notifications", refused or [each.getParameter() for each in notifications])


def pool() -> None:
    settings = jpype.JClass("com.zaxxer.hikari.HikariConfig")()
    settings.setJdbcUrl(url())
    settings.setUsername(USER)
    settings.setPassword(PASSWORD)
    settings.setMaximumPoolSize(2)
    source = jpype.JClass("com.zaxxer.hikari.HikariDataSource")(settings)
    connection = source.getConnection()
    connection.createStatement().execute("SET idle_session_timeout = '100ms'")
    connection.close()
    time.sleep(1)  # HikariCP believes a connection for half a second
    connection = source.getConnection()
    tell("HikariCP reconnects", rows(connection.createStatement().executeQuery("SELECT 1")))
    source.close()


def policy() -> None:
    connection = connect(PROTECTED)
    for step, text in (("denied", "DROP TABLE orders"), ("held", "DELETE FROM orders")):
        tell(step, [failure(connection, text), connection.isValid(5)])
    connection.close()


connected = connect()
browse(connected)
read(connected)
write(connected)
fail(connected)
connected.close()
simple = connect(preferQueryMode="simple", binaryTransfer="false")
types("types, simple protocol", simple)
simple.close()
binary = connect(prepareThreshold="-1")
types("types, binary", binary)
binary.close()
pool()
if PROTECTED:
    policy()
