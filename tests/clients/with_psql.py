"""psql: backslash commands, tables, COPY, cursors, several statements at once.

The stack's psql 18 is built without TLS, so it signs in without; as `psql_tls` this runs with the system's.
"""

from __future__ import annotations

import os
import subprocess

from told import CA_FILE, DATABASE, HOST, PASSWORD, PORT, PROTECTED, SSLMODE, USER, tell, tell_table

MARK = "-- next --"
COMMANDS = os.environ["CLIENT_BACKSLASH"].splitlines()
TLS = SSLMODE if os.environ["CLIENT_PSQL_TLS"] else "disable"
SCRIPTS = {
    "types": "SELECT id, at, wall, day, span, tags, grid, raw, uid, amount, ratio, yes, state, span4 FROM kinds;",
    "a transaction": "BEGIN; INSERT INTO orders VALUES (9, 1); SELECT count(*) FROM orders; ROLLBACK; TABLE orders;",
    "errors": "\\set VERBOSITY verbose\nSELECT nothing;\nSELEC;\nSELECT 1/0;\nINSERT INTO orders VALUES (1, 1);\n",
    "\\gdesc": "SELECT * FROM kinds \\gdesc",
    "FETCH_COUNT": "\\set FETCH_COUNT 1000\nSELECT n FROM big WHERE n < 5000 ORDER BY n;",
    "\\copy": "CREATE TEMP TABLE c (a int, b text);\n\\copy c FROM STDIN\n1\tone\n2\ttwo\n\\.\n\\copy c TO STDOUT\n",
    "several in one": "SELECT 1 \\; SELECT 2 \\; SELECT 3;",
    "notifications": "LISTEN news;\nSELECT pg_sleep(0);\n",
    "\\crosstabview": "SELECT 1 AS a, 2 AS b, 3 AS c \\crosstabview",
    "\\gexec": "SELECT 'SELECT 7' \\gexec",
}


def psql(script: str, database: str = DATABASE, *options: str) -> tuple[str, str]:
    """Standard output and errors."""
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "PGSSLMODE": TLS, "PGTZ": "UTC"}
    if CA_FILE:
        environment["PGSSLROOTCERT"] = CA_FILE
    command = [os.environ["CLIENT_PSQL"], "-X", "-q", "-h", HOST, "-p", str(PORT), "-U", USER, "-d", database, *options]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, env=environment)
    return done.stdout, done.stderr


if not os.environ["CLIENT_PSQL_TLS"]:  # from psql 16 on
    SCRIPTS["\\bind"] = "SELECT $1::int + $2::int \\bind 1 2 \\g"
for name, script in SCRIPTS.items():
    out, errors = psql(script)
    # The tap judges before the server parses, so a syntax error is told without the place in the server's source.
    tell(name, [line for line in (out + errors).splitlines() if "scanner_yyerror" not in line])
out, errors = psql("".join(f"\\echo {MARK}\n\\warn {MARK}\n{command}\n" for command in COMMANDS))
assert MARK in out, errors
for command, said, warned in zip(COMMANDS, out.split(MARK)[1:], errors.split(MARK)[1:], strict=True):
    tell(command, said + warned)
out, errors = psql("SELECT * FROM customers ORDER BY id", DATABASE, "--csv")
header, *lines = (line.split(",") for line in out.splitlines())
tell_table("customers", header, lines)
tell("100,000 rows", len(psql("TABLE big", DATABASE, "-At")[0].splitlines()))
if PROTECTED:
    for step, text in (("denied", "DROP TABLE orders;"), ("held", "DELETE FROM orders;")):
        out, errors = psql(f"\\set VERBOSITY verbose\n{text}\nSELECT 'alive';", PROTECTED, "-At")
        tell(step, [errors, out])
