"""A tap as it is run: its own process or processes with a settings file, before the stack's PostgreSQL and Kafka.

with RunningTap(tmp_path, stack, "database") as tap:
    with tap.connect() as connection: ...
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import psycopg

from taprail.connectors.local.ports import choose_ports
from taprail.schemas.endpoints import Endpoints
from taprail.streams import keys

SERVICE, PASSWORD = "reports", "a service's password"
READY_SECONDS_MAX = 60.0


class RunningTap:
    """`database` is what the tap fronts, as the superuser; the service `reports` signs in with SCRAM."""

    def __init__(self, home: Path, stack: Endpoints, database: str, *, tap: str = "", more: str = "") -> None:
        self.home, self.stack, self.database = home, stack, database
        self.port = choose_ports(["tap"], home / "ports.json")["tap"]
        self.id = f"test-{secrets.token_hex(4)}"
        self.config, self.log = home / "taprail.toml", home / "tap.log"
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("mark", "data"):
            keys.new_symmetric(home / name)
        keys.new_pair(home / "control.pem", home / "control.pub.pem")
        for name, text in (
            ("kafka", stack.kafka.users["tap"]),
            ("postgres", stack.postgres.password),
            ("service", PASSWORD),
        ):
            (home / name).write_text(text)
        self.write(tap=tap, more=more)

    def write(self, *, tap: str = "", more: str = "", services: str = "", role_password: str = "file:postgres") -> None:
        """The settings file anew. `tap` goes into [tap], `more` behind everything."""
        postgres = self.stack.postgres
        self.config.write_text(f"""
[kafka]
bootstrap = "{self.stack.kafka.bootstrap}"
security = "{self.stack.kafka.security_protocol}"
passwords = {{ tap = "file:kafka" }}
[registry]
url = "{self.stack.registry_url}"
[identity]
issuer = "{self.stack.issuer_url}"
[keys]
mark = "file:mark"
data = "file:data"
control_public = {{ control-1 = "control.pub.pem" }}
[[services]]
name = "{SERVICE}"
password = "file:service"
{services}
[[databases]]
name = "{self.database}"
environment = "dev"
server = "main"
host = "{postgres.host}"
port = {postgres.port}
tls = "disable"
catalog_role = "{postgres.superuser}"
catalog_password = "file:postgres"
[[databases.roles]]
group = "*"
role = "{postgres.superuser}"
password = "{role_password}"
[tap]
id = "{self.id}"
port = {self.port}
plaintext_tokens = true
{tap}
{more}
""")

    def start(self) -> Self:
        ready = self.home / "ready"
        ready.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "taprail.streams.cli", "run", "tap", "--config", self.config]
            self._process = subprocess.Popen(
                [*command, "--ready-file", ready],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not ready.exists():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """Process ids of its processes, where it has several."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    def said(self, text: str, seconds: float = 15.0) -> str:
        """The log, once it says this."""
        deadline = time.monotonic() + seconds
        while text not in (log := self.log.read_text()):
            assert time.monotonic() < deadline, log
            time.sleep(0.05)
        return log

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        given = {"host": "127.0.0.1", "port": self.port, "user": SERVICE, "password": PASSWORD}
        given |= {"dbname": self.database, "sslmode": "disable", "autocommit": True}
        return psycopg.connect(**{**given, **options})

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
