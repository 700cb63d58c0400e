"""Five hundred people at nine o'clock: a burst of real sign-ins, and what their idle sessions weigh."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from taprail.connectors.local.ports import choose_ports
from taprail.connectors.local.postgres import Postgres
from tests.fakes.running_tap import PASSWORD, SERVICE, RunningTap

SIGN_INS = 500
SESSION_BYTES_MAX = 40 << 10  # so that 2,000 idle sessions and the tap itself fit into 200 MB


@pytest.fixture
def large_server(tmp_path):
    """A PostgreSQL that takes as many connections."""
    (tmp_path / "logs").mkdir()
    port = choose_ports(["postgres"], tmp_path / "postgres.json")["postgres"]
    settings = {"max_connections": str(SIGN_INS + 50), "shared_buffers": "32MB"}
    server = Postgres(tmp_path / "server", port, settings=settings)
    server.start()
    yield server
    server.child.stop()
    shutil.rmtree(server.data.parent, ignore_errors=True)


def resident(pid: int) -> int:
    """Bytes of its memory that are there."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) << 10


def test_five_hundred_sign_ins_at_once(tmp_path, stack, large_server):
    home = tmp_path / "tap"
    home.mkdir()
    with RunningTap(home, replace(stack, postgres=large_server.endpoint), "postgres") as tap:
        tap.connect().close()
        before = resident(tap.pid)

        async def sign_in():
            connection = await psycopg.AsyncConnection.connect(
                host="127.0.0.1", port=tap.port, user=SERVICE, password=PASSWORD, dbname="postgres", sslmode="disable"
            )
            await connection.execute("SELECT 1")
            return connection

        async def burst():
            connections = await asyncio.gather(*(sign_in() for _ in range(SIGN_INS)))
            used = resident(tap.pid) - before
            for connection in connections:
                await connection.close()
            return used

        used = asyncio.run(burst())
        assert used / SIGN_INS < SESSION_BYTES_MAX, f"{used / SIGN_INS / 1024:.0f} KiB a session"
