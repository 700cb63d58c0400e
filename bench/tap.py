"""pgbench -S through the tap, through pgbouncer and directly, taking turns; and what each costs in CPU.

The tap judges and records every statement of a whole installation; the others pass it on. pgbouncer (session mode) is
the baseline where it is installed (Debian: `apt-get install pgbouncer`), otherwise the server itself is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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
from figures import Figures

from taprail.connectors.local.identity import access_token
from taprail.connectors.local.ports import choose_ports
from taprail.streams.local import LocalInstallation

DATABASE = "dev"
SCALE = 4
ROUNDS, SECONDS = 3, 3
MODES = ("simple", "extended", "prepared")
CLIENTS = (1, 8)


class Target(NamedTuple):
    name: str
    port: int
    user: str
    password: str
    pid: int  # 0: its CPU isn't looked at


class Run(NamedTuple):
    tps: float
    cpu_us: float  # of the process in the middle, for each transaction


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="taprail-bench-") as folder, contextlib.ExitStack() as stack:
        Path(folder).chmod(0o755)
        installation = LocalInstallation(Path(folder) / "home", lambda _: None)
        stack.callback(installation.stop)
        loaded = installation.start()
        postgres = installation.endpoints.postgres
        bin_folder = Path(installation.endpoints.psql).parent
        direct = Target("direct", postgres.port, postgres.superuser, postgres.password, 0)
        _pgbench(bin_folder, direct, "-i", "-q", "-s", str(SCALE))
        token = access_token(installation.endpoints.issuer_url, "ann")
        tap = Target("tap", loaded.settings.tap.port, "ann", token, installation.supervisor["tap"].child.pid or 0)
        targets = [direct, tap]
        if (program := shutil.which("pgbouncer")) is not None:
            targets.insert(1, stack.enter_context(_pgbouncer(program, Path(folder), direct)))
        else:
            print("pgbouncer is not installed: the server itself is the baseline", file=sys.stderr)
        _report(_measure(bin_folder, targets), baseline=targets[-2].name)


def _measure(bin_folder: Path, targets: list[Target]) -> dict[tuple[str, int, str], list[Run]]:
    runs = defaultdict(list)
    for mode in MODES:
        for clients in CLIENTS:
            for _ in range(ROUNDS):
                for target in targets:
                    runs[mode, clients, target.name].append(_run(bin_folder, target, mode, clients))
    return runs


def _run(bin_folder: Path, target: Target, mode: str, clients: int) -> Run:
    before = _cpu_seconds(target.pid)
    options = ["-S", "-n", "-M", mode, "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(SECONDS)]
    told = _pgbench(bin_folder, target, *options)
    used = _cpu_seconds(target.pid) - before
    tps = float(next(line for line in told.splitlines() if line.startswith("tps")).split()[2])
    done = int(next(line for line in told.splitlines() if "actually processed" in line).split(":")[1].split("/")[0])
    return Run(tps, used / done * 1e6)


def _report(runs: dict[tuple[str, int, str], list[Run]], baseline: str) -> None:
    out = Figures("tap")
    for mode in MODES:
        for clients in CLIENTS:
            tap, other = runs[mode, clients, "tap"], runs[mode, clients, baseline]
            what = f"pgbench -S, {mode}, {clients} client{'s' if clients > 1 else ''}"
            tps = [round(statistics.median(r.tps for r in each)) for each in (tap, other)]
            out.figure(what, tps[0], "tps", baseline, tps[1])
            cpu = [round(statistics.median(r.cpu_us for r in each), 1) for each in (tap, other)]
            out.figure(f"{what}, CPU of the process", cpu[0], "us/transaction", baseline, cpu[1] or None)


def _pgbench(bin_folder: Path, target: Target, *options: str) -> str:
    address = ["-h", "127.0.0.1", "-p", str(target.port), "-U", target.user, DATABASE]
    env = {**os.environ, "PGPASSWORD": target.password, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    run = subprocess.run([bin_folder / "pgbench", *options, *address], env=env, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"pgbench against {target.name} failed: {run.stderr}")
    return run.stdout


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


def _cpu_seconds(pid: int) -> float:
    if not pid:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
