"""`taprail tap`: check a configuration before it starts, and speak with a tap that runs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
from msgspec import json

from taprail.connectors import admin_socket
from taprail.schemas.errors import StackError
from taprail.streams import settings
from taprail.streams.commands.roles import CONFIG
from taprail.streams.tap_processes import admin_socket as socket_of

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.group()
def tap() -> None:
    """Check a tap's configuration, and speak with a tap that runs on this machine.

    \b
    Examples:
      taprail tap check
      taprail tap reload
      taprail tap status
    """


@tap.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: level, what, text, hint.")
def check(config: Path, as_json: bool) -> None:
    """Say what would go wrong, before the tap starts: a line each, and exit code 1 if anything fails.

    It reads the settings and secrets, looks at certificates, addresses and spools, and asks Kafka, the registry, the
    identity provider and every database, as every role. Nothing is changed; the tap may be running.

    \b
    Examples:
      taprail tap check --config taprail.toml
      taprail tap check --json
    """
    if asyncio.run(_check(config, as_json)):
        sys.exit(1)


async def _check(config: Path, as_json: bool) -> int:
    from taprail.streams.tap_check import check_tap

    shows = not as_json and sys.stderr.isatty()

    def about(what: str) -> None:
        if shows:
            click.echo(f"\r\x1b[K… {what}", nl=False, err=True)

    counts = {"ok": 0, "warn": 0, "fail": 0}
    async for finding in check_tap(config, about):
        counts[finding.level] += 1
        if shows:
            click.echo("\r\x1b[K", nl=False, err=True)
        if as_json:
            click.echo(json.encode(finding).decode())
            continue
        level = click.style(f"{finding.level:<4}", fg=COLOURS[finding.level])
        click.echo(f"{level}  {finding.what}: {finding.text}")
        if finding.hint and finding.level != "ok":
            click.echo(f"      {finding.hint}")
    if not as_json:
        click.echo(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")
    return counts["fail"]


@tap.command()
@CONFIG
def reload(config: Path) -> None:
    """Have a running tap read its settings again. Sessions go on; who comes from now on finds the new settings.

    A file that is wrong changes nothing, and the reason is said here. SIGHUP does the same, with the log to say it.

    \b
    Example:
      taprail tap reload --config taprail.toml
    """
    for process, answer in _ask(config, "reload"):
        click.echo(f"process {process}: reloaded; {answer['sessions']} sessions go on")
        if answer["needs_restart"]:
            click.echo(f"  these count from the next start on: {', '.join(answer['needs_restart'])}")


@tap.command()
@CONFIG
def status(config: Path) -> None:
    """Say where a running tap listens, and how many sessions are open, by process.

    \b
    Example:
      taprail tap status --config taprail.toml
    """
    for process, answer in _ask(config, "status"):
        listens = ", ".join(answer["listens"])
        click.echo(f"process {process} (pid {answer['pid']}): {answer['sessions']} sessions on {listens}")


def _ask(config: Path, verb: str) -> list[tuple[int, dict[str, Any]]]:
    """Every process in turn; the first that says no is the last that is asked."""
    loaded = settings.load(config)
    sockets = [socket_of(loaded, process) for process in range(loaded.settings.tap.processes)]
    if not any(path.exists() for path in sockets):
        raise StackError(f"no tap runs with {config}", hint="start it: `taprail up`, or `taprail run tap`")
    return [(number, asyncio.run(admin_socket.ask(path, verb, 60.0))) for number, path in enumerate(sockets)]
