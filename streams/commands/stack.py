"""`taprail up | down | status | demo | token`: a whole stack on this machine."""

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
from typing import TYPE_CHECKING, Any

import click

from taprail.schemas.errors import StackError
from taprail.streams import settings
from taprail.streams.commands.home import HOME

if TYPE_CHECKING:
    from taprail.streams.local import LocalInstallation

DOWN_SECONDS_MAX = 60.0
DETACH_SECONDS_MAX = 600.0
WATCH_SECONDS = 0.25


def say(text: str) -> None:
    click.echo(click.style("· ", fg="cyan") + text, err=True)


@click.command()
@HOME
@click.option("--detach", "-d", is_flag=True, help="Start in the background; `taprail down` stops it.")
def up(home: Path, detach: bool) -> None:
    """Start the stack on this machine: Kafka, Connect, registry, PostgreSQL, identity provider, and the roles.

    The first start downloads what is missing (Java programs, about 250 MB); later starts are offline.
    """
    if detach:
        _detach(home)
        return
    from taprail.streams.local import LocalInstallation

    installation = LocalInstallation(home, say)
    with _running(installation):
        loaded = installation.start()
        _write_state(home, loaded)
        click.echo(how_to_connect(home, loaded))
        _watch(installation)


@contextlib.contextmanager
def _running(installation: LocalInstallation) -> Iterator[None]:
    """Ctrl-C and SIGTERM both end in an orderly stop."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        say("stopping")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        (installation.home / "run" / "up.json").unlink(missing_ok=True)
        installation.stop()


def _watch(installation: LocalInstallation) -> None:
    while True:
        installation.supervisor.watch(say)
        time.sleep(WATCH_SECONDS)


def _write_state(home: Path, loaded: settings.Loaded) -> None:
    tap = loaded.settings.tap
    state = {"pid": os.getpid(), "tap": f"{tap.host}:{tap.port}", "approvals": loaded.settings.approvals.url}
    (home / "run" / "up.json").write_text(json.dumps(state))


def _state(home: Path) -> dict[str, Any]:
    """What `up` wrote. Raises StackError where nothing runs."""
    try:
        state: dict[str, Any] = json.loads((home / "run" / "up.json").read_text())
        os.kill(state["pid"], 0)
    except (OSError, ValueError, KeyError):
        raise StackError(f"no stack runs in {home}", hint="start one: `taprail up`") from None
    return state


def _detach(home: Path) -> None:
    run = home / "run"
    run.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(StackError):
        state = _state(home)
        raise StackError(f"a stack runs already (pid {state['pid']})", hint="`taprail status`, or `taprail down` first")
    with (run / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "taprail.streams.cli", "up", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + DETACH_SECONDS_MAX
    while not (run / "up.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError("the stack didn't start", hint=f"its log is {run / 'up.log'}")
        time.sleep(0.2)
    click.echo(how_to_connect(home, settings.load(home / "taprail.toml")))


@click.command()
@HOME
def down(home: Path) -> None:
    """Stop the stack that `taprail up` started. Data, keys and the log stay."""
    state = _state(home)
    os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            os.kill(state["pid"], 0)
        except ProcessLookupError:
            click.echo("stopped")
            return
        time.sleep(0.1)
    raise StackError(f"the stack (pid {state['pid']}) didn't stop within {DOWN_SECONDS_MAX:.0f} s", hint="kill it")


@click.command()
@HOME
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(home: Path, as_json: bool) -> None:
    """Say what runs, where it listens and how much memory it takes. Exit code 1 where nothing runs."""
    import psutil

    state = _state(home)
    processes = []
    for child in psutil.Process(state["pid"]).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            name = _name_of(child.cmdline())
            if name:
                processes.append({"name": name, "pid": child.pid, "mib": round(child.memory_info().rss / 2**20)})
    if as_json:
        click.echo(json.dumps({**state, "processes": processes}))
        return
    click.echo(f"tap {state['tap']}, approvals {state['approvals']}, supervisor pid {state['pid']}")
    for process in sorted(processes, key=lambda p: -int(str(p["mib"]))):
        click.echo(f"  {process['name']:<12} pid {process['pid']:<8} {process['mib']:>5} MiB")


def _name_of(command: list[str]) -> str:
    """The part that a command line runs; '' for a part's own helpers."""
    line = " ".join(command)
    if "taprail.streams.cli run" in line:
        return command[command.index("run") + 1]
    marks = {
        "kafka.Kafka": "kafka",
        "ConnectDistributed": "connect",
        "quarkus-run": "registry",
        "local.identity": "identity",
        "bin/postgres": "postgresql",
    }
    return next((name for mark, name in marks.items() if mark in line), "")


@click.command()
@click.argument("person")
@HOME
def token(person: str, home: Path) -> None:
    """Print an access token of PERSON from the stack's own identity provider (for this machine only)."""
    from taprail.connectors.local.identity import access_token

    loaded = settings.load(home / "taprail.toml")
    click.echo(access_token(loaded.settings.identity.issuer, person))


@click.command()
@click.option("--json", "report", type=click.Path(path_type=Path), help="Write each step with its evidence there.")
@click.option("--stay/--no-stay", default=None, help="Stay up afterwards; default: on a terminal.")
@HOME
def demo(report: Path | None, stay: bool | None, home: Path) -> None:
    """Start the stack and play the story: who did what, denied, held, masked, alerted, proven.

    Exit code 0 only if every step held.
    """
    from taprail.streams.demo.run import run_demo
    from taprail.streams.local import LocalInstallation

    installation = LocalInstallation(home, say)
    held = False
    with _running(installation):
        loaded, held = run_demo(installation, report, click.echo)
        if stay if stay is not None else sys.stdout.isatty():
            _write_state(home, loaded)
            click.echo(how_to_connect(home, loaded))
            _watch(installation)
    sys.exit(0 if held else 1)


def how_to_connect(home: Path, loaded: settings.Loaded) -> str:
    tap = loaded.settings.tap
    names = ", ".join(d.name for d in loaded.settings.databases)
    option = "" if home == Path(".taprail") else f" --home {home}"
    return f"""
The tap listens on {tap.host}:{tap.port}; databases: {names}. Connect as ann, bob or agent:

  PGPASSWORD=$(taprail token ann{option}) psql "host={tap.host} port={tap.port} dbname=prod user=ann"

Watch:    taprail tail{option}
Decide:   {loaded.settings.approvals.url}   or   taprail approvals list{option}
Ask:      taprail audit sql "SELECT * FROM statements LIMIT 10"{option}
Verify:   taprail audit verify{option}
Stop:     Ctrl-C, or `taprail down{option}`
"""
