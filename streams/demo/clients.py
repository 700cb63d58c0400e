"""The people's programs: psql, a notebook, an agent, and somebody who goes round the tap."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
from msgspec import Struct

PSQL_TIMEOUT_S = 60


class Tap(Struct, frozen=True):
    """Where the tap listens, and how to get a person's token."""

    host: str
    port: int
    psql: str
    token: Callable[[str], str]

    def start_psql(self, person: str, database: str, script: str) -> subprocess.Popen[str]:
        """psql as everybody uses it, except that the token is the password. It reads `script`."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": person,
            "PGDATABASE": database,
            "PGPASSWORD": self.token(person),
            "PGSSLMODE": "disable",  # the wheel's psql is built without TLS; psycopg below uses it
        }
        process = subprocess.Popen(
            [self.psql, "--no-psqlrc", "--csv", "--tuples-only"],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(script)
        process.stdin.close()
        process.stdin = None  # communicate() would flush it again
        return process

    def psql_answers(self, person: str, database: str, script: str) -> tuple[str, str]:
        """What psql printed for `script`: standard output, standard error."""
        with self.start_psql(person, database, script) as process:
            return process.communicate(timeout=PSQL_TIMEOUT_S)

    def connect(self, person: str, database: str) -> AbstractContextManager[psycopg.Connection[Any]]:
        """A psycopg connection, as a notebook or a service opens it."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=person,
            dbname=database,
            password=self.token(person),
            sslmode="require",
            autocommit=True,
        )
