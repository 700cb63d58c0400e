"""The tap beside pgbouncer (session mode) and the server itself: small statements, large results, what waiting costs.

The tap parses, judges, marks and records every statement; the others pass it on. All of them, the broker and the
clients share this machine, so everything takes turns, and figures are medians. pgbouncer is the baseline where it is
installed (Debian: `apt-get install pgbouncer`), otherwise the server itself is.

    make bench-tap
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
from figures import Figures

from taprail.connectors.local.identity import access_token
from taprail.connectors.local.ports import choose_ports
from taprail.connectors.postgres import messages as wire
from taprail.schemas.endpoints import Endpoints
from taprail.streams.local import LocalInstallation

DATABASE = "dev"
SCALE = 4
ROUNDS, SECONDS = 5, 3
MODES = ("simple", "extended", "prepared")
CLIENTS = (1, 8)
BULK_ROWS, BULK_ROUNDS = 1_000_000, 5
IDLE, BURST = 2_000, 500
MANY_CONNECTIONS = {"max_connections": str(IDLE + 100)}
# 224 bytes a row on the wire; name and e-mail address are masked for whoever may not see them.
PEOPLE = f"""
CREATE TABLE people AS SELECT n AS id, n * 7 AS branch, 'Person number ' || n AS full_name,
  'person.' || n || '@example.com' AS email, repeat('x', 60) AS note_1, repeat('y', 56) AS note_2, n % 97 AS score
FROM generate_series(1, {BULK_ROWS}) n;
CREATE TABLE things AS SELECT id, branch, full_name AS label_1, email AS label_2, note_1, note_2, score FROM people;
"""


class Target(NamedTuple):
    name: str
    port: int
    user: str
    password: str
    pid: int  # 0: its CPU isn't looked at

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname={DATABASE}"


class Run(NamedTuple):
    tps: float
    cpu_us: float  # of the process in the middle, for each transaction


def main() -> None:
    out = Figures("tap")
    with _installed({}) as (installation, targets):
        _small(out, Path(installation.endpoints.psql).parent, targets)
        _bulk(out, targets)
        _hashed(out, installation, targets)
    with _installed(MANY_CONNECTIONS) as (_, targets):  # such a server reads large tables more slowly
        _burst(out, targets[-1])
        _waiting(out, targets[-1])


@contextlib.contextmanager
def _installed(postgres: dict[str, str]) -> Iterator[tuple[LocalInstallation, list[Target]]]:
    """The server itself, pgbouncer where there is one, and the tap last; `postgres` are settings of the server."""
    with tempfile.TemporaryDirectory(prefix="taprail-bench-") as folder, contextlib.ExitStack() as stack:
        Path(folder).chmod(0o755)
        installation = LocalInstallation(Path(folder) / "home", lambda _: None, postgres=postgres)
        stack.callback(installation.stop)
        loaded = installation.start(_fill)
        for role in ("stream", "agents", "ledger", "signer"):  # they run on other machines
            installation.supervisor[role].child.stop()
        next(part for part in installation.stack.parts if part.name == "Kafka Connect").stop()
        server = installation.endpoints.postgres
        direct = Target("direct", server.port, server.superuser, server.password, 0)
        token = access_token(installation.endpoints.issuer_url, "ann")
        tap = Target("tap", loaded.settings.tap.port, "ann", token, installation.supervisor["tap"].child.pid)
        targets = [direct, tap]
        if (program := shutil.which("pgbouncer")) is not None:
            targets.insert(1, stack.enter_context(_pgbouncer(program, Path(folder), direct)))
        else:
            print("pgbouncer is not installed: the server itself is the baseline", file=sys.stderr)
        yield installation, targets


def _fill(endpoints: Endpoints) -> None:
    """Before there are change feeds: they would read it all."""
    postgres = endpoints.postgres
    direct = Target("direct", postgres.port, postgres.superuser, postgres.password, 0)
    _pgbench(Path(endpoints.psql).parent, direct, "-i", "-q", "-s", str(SCALE))
    with psycopg.connect(postgres.dsn(DATABASE), autocommit=True) as connection:
        connection.execute(PEOPLE.encode())
        connection.execute("VACUUM FREEZE ANALYZE")


# Small statements -----------------------------------------------------------------------------------------------------


def _small(out: Figures, bin_folder: Path, targets: list[Target]) -> None:
    """pgbench -S. With `held` the publisher stands still, as if its work and the broker's were another machine's."""
    tap, baseline = targets[-1], targets[-2]
    (publisher,) = psutil.Process(tap.pid).children()
    for mode in MODES:
        for clients in CLIENTS:
            runs, publishing = defaultdict(list), []
            for _ in range(ROUNDS):
                for target in targets[:-1]:
                    runs[target.name].append(_run(bin_folder, target, mode, clients))
                publisher.suspend()
                runs["held"].append(_run(bin_folder, tap, mode, clients))
                publisher.resume()
                _drained(publisher)
                before = _cpu_seconds(publisher.pid)
                runs["tap"].append(_run(bin_folder, tap, mode, clients))
                _drained(publisher)
                publishing.append((_cpu_seconds(publisher.pid) - before) / (runs["tap"][-1].tps * SECONDS) * 1e6)
            what = f"pgbench -S, {mode}, {clients} client{'s' if clients > 1 else ''}"
            tps = {name: round(statistics.median(run.tps for run in each)) for name, each in runs.items()}
            cpu = {name: round(statistics.median(run.cpu_us for run in each), 1) for name, each in runs.items()}
            out.figure(what, tps["held"], "tps", baseline.name, tps[baseline.name])
            out.figure(f"{what}, publishing here meanwhile", tps["tap"], "tps", baseline.name, tps[baseline.name])
            out.figure(f"{what}, CPU", cpu["held"], "us/transaction", baseline.name, cpu[baseline.name] or None)
            out.figure(f"{what}, CPU of the publisher", round(statistics.median(publishing), 1), "us/transaction", "-")


def _run(bin_folder: Path, target: Target, mode: str, clients: int) -> Run:
    before = _cpu_seconds(target.pid)
    options = ["-S", "-n", "-M", mode, "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(SECONDS)]
    told = _pgbench(bin_folder, target, *options)
    used = _cpu_seconds(target.pid) - before
    tps = float(next(line for line in told.splitlines() if line.startswith("tps")).split()[2])
    done = int(next(line for line in told.splitlines() if "actually processed" in line).split(":")[1].split("/")[0])
    return Run(tps, used / done * 1e6)


def _pgbench(bin_folder: Path, target: Target, *options: str) -> str:
    address = ["-h", "127.0.0.1", "-p", str(target.port), "-U", target.user, DATABASE]
    env = {**os.environ, "PGPASSWORD": target.password, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    run = subprocess.run([bin_folder / "pgbench", *options, *address], env=env, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"pgbench against {target.name} failed: {run.stderr}")
    return run.stdout


def _drained(publisher: psutil.Process) -> None:
    """Wait until it has nothing to do."""
    while True:
        before = _cpu_seconds(publisher.pid)
        time.sleep(0.5)
        if _cpu_seconds(publisher.pid) - before < 0.03:
            return


# Large results --------------------------------------------------------------------------------------------------------


def _bulk(out: Figures, targets: list[Target]) -> None:
    tap, baseline = targets[-1], targets[-2]
    cases = {"things": "unmasked", "people": "2 columns masked"}
    rates, grown = defaultdict(list), 0
    for _ in range(BULK_ROUNDS):
        for table in cases:
            for target in targets:
                before = _resident(target.pid)
                rates[table, target.name].append(_read_all(target, table))
                grown = max(grown, _resident(target.pid) - before) if target is tap else grown
    for table, case in cases.items():
        mine, other = (round(statistics.median(rates[table, t.name])) for t in (tap, baseline))
        out.figure(f"{BULK_ROWS:,} rows, {case}", mine, "MB/s", baseline.name, other)
    before = _resident(tap.pid)
    _read_all(tap, "people", slowly=True)
    grown = max(grown, _resident(tap.pid) - before)
    out.figure("memory that a result takes, slow readers included", round(grown / 2**20, 1), "MiB", "to be at most 64")


def _hashed(out: Figures, installation: LocalInstallation, targets: list[Target]) -> None:
    """The same with `masked = "hashed"`, which a running tap takes over."""
    tap, baseline = targets[-1], targets[-2]
    config = installation.config.read_text()
    installation.config.write_text(config.replace("[policy]\n", '[policy]\nmasked = "hashed"\n', 1))
    os.kill(tap.pid, signal.SIGHUP)
    while _first_email(tap) == "***@***":
        time.sleep(0.1)
    rates = defaultdict(list)
    for _ in range(BULK_ROUNDS):
        for target in (baseline, tap):
            rates[target].append(_read_all(target, "people"))
    mine, other = (round(statistics.median(rates[target])) for target in (tap, baseline))
    out.figure(f"{BULK_ROWS:,} rows, 2 columns under a keyed hash", mine, "MB/s", baseline.name, other)


def _first_email(target: Target) -> str:
    with psycopg.connect(f"{target.dsn} sslmode=disable") as connection:
        row = connection.execute("SELECT email FROM people LIMIT 1").fetchone()
        return str(row[0]) if row else ""


def _read_all(target: Target, table: str, *, slowly: bool = False) -> float:
    """MB/s of everything that the server says; the client only counts it."""
    with psycopg.connect(f"{target.dsn} sslmode=disable", autocommit=True) as connection:
        raw = socket.socket(fileno=os.dup(connection.fileno()))
        raw.setblocking(True)
        raw.sendall(wire.query(f"SELECT * FROM {table}".encode()))
        buffer, total, tail = bytearray(1 << 20), 0, b""
        started = time.perf_counter()
        while not tail.endswith(b"Z\0\0\0\5I"):
            count = raw.recv_into(buffer)
            tail, total = (tail + buffer[max(0, count - 6) : count])[-6:], total + count
            if slowly and total < 20_000_000:
                time.sleep(0.02)
        took = time.perf_counter() - started
        raw.close()
        if total < 100 * BULK_ROWS:
            sys.exit(f"{target.name} sent {total} bytes only")
        return total / took / 1e6


# Waiting --------------------------------------------------------------------------------------------------------------


def _burst(out: Figures, tap: Target) -> None:
    """Sign-ins all at once: each with a token that is verified, and a connection of its own to the server."""

    async def sign_in() -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(f"{tap.dsn} sslmode=disable")

    async def burst() -> float:
        started = time.perf_counter()
        sessions = await asyncio.gather(*(sign_in() for _ in range(BURST)))
        took = time.perf_counter() - started
        for session in sessions:
            await session.close()
        return took

    took = asyncio.run(burst())
    out.figure(f"{BURST} sign-ins at once, all of them in", round(took, 2), "s", "no error, or the bench fails")


def _waiting(out: Figures, tap: Target) -> None:
    """Sessions that do nothing: what they add to the tap, and all of its memory."""
    before = _resident(tap.pid)
    sessions = [psycopg.connect(f"{tap.dsn} sslmode=disable") for _ in range(IDLE)]
    whole = _resident(tap.pid)
    for session in sessions:
        session.close()
    out.figure("memory of a session that waits", round((whole - before) / IDLE / 1024, 1), "KiB", "-")
    out.figure(f"memory of the tap with {IDLE:,} of them", round(whole / 2**20), "MiB", "to be at most 200")


@contextlib.contextmanager
def _pgbouncer(program: str, folder: Path, server: Target) -> Iterator[Target]:
    port = choose_ports(["pgbouncer"], folder / "ports.json")["pgbouncer"]
    (folder / "users.txt").write_text(f'"{server.user}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{DATABASE} = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = plain\nauth_file = {folder}/users.txt\npool_mode = session\n"
        "unix_socket_dir =\n"
    )
    for file in ("users.txt", "pgbouncer.ini"):
        (folder / file).chmod(0o644)
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, "-q", *as_user, folder / "pgbouncer.ini"], stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield Target("pgbouncer", port, server.user, server.password, process.pid)
    finally:
        process.terminate()
        process.wait()


def _resident(pid: int) -> int:
    return psutil.Process(pid).memory_info().rss if pid else 0


def _cpu_seconds(pid: int) -> float:
    if not pid:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
