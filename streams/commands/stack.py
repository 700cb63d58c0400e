"""`taprail up | down | status | demo`: a whole stack on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taprail.schemas.errors import StackError
from taprail.streams import settings
from taprail.streams.commands.home import HOME
from taprail.streams.supervise import ROLES

if TYPE_CHECKING:
    from taprail.streams.local import LocalInstallation

DOWN_SECONDS_MAX = 60.0
DETACH_SECONDS_MAX = 600.0
WATCH_SECONDS = 0.25
LOG_LINES = 5
PARTS = {  # of the stack, by what stands in their command lines
    "kafka.Kafka": "kafka",
    "ConnectDistributed": "connect",
    "quarkus-run": "registry",
    "local.identity": "identity",
    "bin/postgres": "postgresql",
}


def say(text: str) -> None:
    click.echo(click.style("· ", fg="cyan") + text, err=True)


@click.command()
@HOME
@click.option("--detach", "-d", is_flag=True, help="Start in the background; `taprail down` stops it.")
def up(home: Path, detach: bool) -> None:
    """Start the stack on this machine: Kafka, Connect, registry, PostgreSQL, identity provider, and the roles.

    The first start downloads what is missing (Java programs, about 230 MB); later starts are offline. What ends is
    started again. Ports that are taken are avoided, so two stacks with two homes live side by side.

    \b
    Examples:
      taprail up
      taprail up --detach
      taprail up --home /srv/taprail
    """
    from taprail.streams.local import LocalInstallation

    _refuse_a_second(home)
    if detach:
        _detach(home)
        return
    installation = LocalInstallation(home, say)
    with _running(installation):
        loaded = installation.start()
        _stay(installation, loaded)


@contextlib.contextmanager
def _running(installation: LocalInstallation) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal all end in an orderly stop."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    except KeyboardInterrupt:
        say("stopping")
    finally:
        for number in numbers:  # a second Ctrl-C must not leave half of it running
            signal.signal(number, signal.SIG_IGN)
        installation.stop()


def _stay(installation: LocalInstallation, loaded: settings.Loaded) -> None:
    """Say how to connect, and start again what ends, until a signal."""
    click.echo(how_to_connect(installation.home, loaded))
    installation.announce(loaded)
    while True:
        installation.supervisor.watch(say)
        time.sleep(WATCH_SECONDS)


def _refuse_a_second(home: Path) -> None:
    from taprail.streams.local import running_in

    try:
        running = running_in(home)
    except StackError:
        return
    raise StackError(
        f"a stack runs already in {home} (pid {running.pid})", hint="`taprail status`, or `taprail down` first"
    )


def _detach(home: Path) -> None:
    """Start `taprail up` as a session of its own, and wait until it is up. It ends where this is interrupted."""
    from taprail.streams.local import running_in

    run = home / "run"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "taprail.streams.cli", "up", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + DETACH_SECONDS_MAX
    try:
        while True:
            with contextlib.suppress(StackError):
                if running_in(home).pid == process.pid:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                end = "\n    ".join((run / "up.log").read_text(errors="replace").strip().splitlines()[-LOG_LINES:])
                raise StackError(f"the stack didn't start:\n    {end}", hint=f"the whole log is {run / 'up.log'}")
            time.sleep(0.2)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    click.echo(how_to_connect(home, settings.load(home / "taprail.toml")))


@click.command()
@HOME
def down(home: Path) -> None:
    """Stop the stack that `taprail up` started. Data, keys and the log stay.

    \b
    Examples:
      taprail down
      taprail down --home /srv/taprail
    """
    from taprail.streams.local import running_in

    running = running_in(home)
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS_MAX
    while running.alive:
        if time.monotonic() > deadline:
            text = f"the stack (pid {running.pid}) didn't stop within {DOWN_SECONDS_MAX:.0f} s"
            raise StackError(text, hint=f"kill -KILL {running.pid}: its parts end with it")
        time.sleep(0.1)
    click.echo("stopped")


@click.command()
@HOME
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(home: Path, as_json: bool) -> None:
    """Say what runs, where it listens and how much memory it takes.

    Exit code 1 where nothing runs, or a part of it doesn't.

    \b
    Examples:
      taprail status
      taprail status --json
    """
    import psutil

    from taprail.streams.local import running_in

    running = running_in(home)
    processes = []
    for child in psutil.Process(running.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if name := _name_of(child.cmdline()):
                processes.append({"name": name, "pid": child.pid, "mib": round(child.memory_info().rss / 2**20)})
    missing = sorted({*ROLES, *PARTS.values()} - {str(p["name"]) for p in processes})
    if as_json:
        where = {"pid": running.pid, "tap": running.tap, "approvals": running.approvals}
        click.echo(json.dumps({**where, "processes": processes, "missing": missing}))
    else:
        click.echo(f"tap {running.tap}, approvals {running.approvals}, supervisor pid {running.pid}")
        for process in sorted(processes, key=lambda p: -int(str(p["mib"]))):
            click.echo(f"  {process['name']:<12} pid {process['pid']:<8} {process['mib']:>5} MiB")
        for name in missing:
            click.echo(f"  {name:<12} doesn't run now; it is started again")
    sys.exit(1 if missing else 0)


def _name_of(command: list[str]) -> str:
    """The part that a command line runs; '' for a part's own helpers."""
    line = " ".join(command)
    if "taprail.streams.cli run" in line:
        return command[command.index("run") + 1]
    return next((name for mark, name in PARTS.items() if mark in line), "")


@click.command()
@click.option("--json", "report", type=click.Path(path_type=Path), help="Write each step with its evidence there.")
@click.option("--stay/--no-stay", default=None, help="Stay up afterwards; default: on a terminal.")
@HOME
def demo(report: Path | None, stay: bool | None, home: Path) -> None:
    """Start the stack and play the story: who did what, denied, held, masked, alerted, proven.

    Exit code 0 only if every step held.

    \b
    Examples:
      taprail demo
      taprail demo --no-stay --json story.json
    """
    from taprail.streams.demo.receiver import Receiver
    from taprail.streams.demo.run import run_demo
    from taprail.streams.local import LocalInstallation

    _refuse_a_second(home)
    if report is not None and not report.absolute().parent.is_dir():
        raise StackError(f"the report can't be written: {report.parent} isn't a directory", hint="make it first")
    held = False
    receiver = Receiver()
    installation = LocalInstallation(home, say, receiver.url)
    with receiver, _running(installation):
        loaded, held = run_demo(installation, receiver, report, click.echo)
        if stay if stay is not None else sys.stdout.isatty():
            _stay(installation, loaded)
    sys.exit(0 if held else 1)


def how_to_connect(home: Path, loaded: settings.Loaded) -> str:
    tap = loaded.settings.tap
    names = ", ".join(d.name for d in loaded.settings.databases)
    option = "" if home.absolute() == Path(".taprail").absolute() else f" --home {home}"
    return f"""
The tap listens on {tap.host}:{tap.port}; databases: {names}. Connect as ann, bob or agent:

  PGPASSWORD=$(taprail token ann{option}) psql "host={tap.host} port={tap.port} dbname=prod user=ann"

Or sign in with a browser, then `taprail connect prod`:

  taprail login --issuer {loaded.settings.identity.issuer} --port {tap.port}

Watch:    taprail tail{option}
Decide:   {loaded.settings.approvals.url}   or   taprail approvals list{option}
Ask:      taprail audit sql "SELECT * FROM statements LIMIT 10"{option}
Verify:   taprail audit verify{option}
Stop:     Ctrl-C, or `taprail down{option}`
"""
