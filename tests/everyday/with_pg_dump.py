"""pg_dump: the schema, the data, one table; and vacuumdb's analysis, as a nightly job does it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from told import DATABASE, HOST, PASSWORD, PORT, USER, tell

PROGRAMS = Path(os.environ["CLIENT_PSQL"]).parent
ENVIRONMENT = {
    **os.environ,
    "PGHOST": HOST,
    "PGPORT": str(PORT),
    "PGUSER": USER,
    "PGPASSWORD": PASSWORD,
    "PGSSLMODE": "disable",
}
for step, *command in (
    ("pg_dump --schema-only", "pg_dump", "--schema-only", DATABASE),
    ("pg_dump --data-only", "pg_dump", "--data-only", DATABASE),
    ("pg_dump of one table", "pg_dump", "--table=customers", "--column-inserts", DATABASE),
    ("vacuumdb --analyze-only", "vacuumdb", "--analyze-only", DATABASE),
    ("reindexdb of a table", "reindexdb", "--table=customers", DATABASE),
    ("pg_isready", "pg_isready"),
):
    done = subprocess.run([PROGRAMS / command[0], *command[1:]], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    tell(step, done.returncode)
