"""`taprail onboard`: prepare a server's database for taprail, or take it back; shown before anything is done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import json

from taprail.schemas.errors import SettingsError, StackError
from taprail.streams.commands.roles import CONFIG

if TYPE_CHECKING:
    from taprail.connectors.postgres.onboard import Step
    from taprail.connectors.postgres.readiness import Finding

HIDDEN = "-- holds a key: not shown"
ANYWHERE = ("the.tap.s.address/32",)


@click.command()
@click.argument("database")
@CONFIG
@click.option("--apply", "does", is_flag=True, help="Do it. Without this nothing is changed.")
@click.option("--undo", is_flag=True, help="Take it back: roles, functions, publication, slots, replica identities.")
@click.option("--yes", is_flag=True, help="Don't ask before doing it.")
@click.option("--sql", "as_sql", is_flag=True, help="A script for psql, of what is still to be done.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--tap", multiple=True, metavar="CIDR", help="Where taps are, for pg_hba.conf. May be repeated.")
@click.option("--connect", multiple=True, metavar="CIDR", help="Where Kafka Connect is; default: as taps.")
def onboard(
    database: str,
    config: Path,
    does: bool,
    undo: bool,
    yes: bool,
    as_sql: bool,
    as_json: bool,
    tap: tuple[str, ...],
    connect: tuple[str, ...],
) -> None:
    """Prepare DATABASE (its name in the settings): roles, DDL messages, replica identities, the publication.

    It shows what is still to be done, each statement with its reason, and changes nothing. With --apply it is done, all
    of it or nothing; doing it twice is safe. `databases.admin_role` must be a superuser. What only you can do is told:
    lines for pg_hba.conf, the server's settings.

    \b
    Examples:
      taprail onboard prod --config taprail.toml
      taprail onboard prod --tap 10.0.7.0/24 --apply
      taprail onboard prod --undo --apply --yes
      taprail onboard prod --sql
    """
    from taprail.connectors.postgres import onboard as onboarding
    from taprail.connectors.postgres.readiness import hba, readiness
    from taprail.streams import initialise, settings

    loaded = settings.load(config)
    if (named := loaded.database(database)) is None:
        known = ", ".join(each.name for each in loaded.settings.databases)
        raise SettingsError(f"there is no database {database!r} in {config}", hint=f"there are: {known}")
    if not named.admin_role:
        raise SettingsError(f"databases.{database}.admin_role is not set", hint="a superuser prepares the database")
    dsn = initialise.admin_dsn(loaded, named)
    steps = initialise.undoing(loaded, named) if undo else initialise.steps(loaded, named)
    found = [] if undo else asyncio.run(readiness(dsn, feed=bool(named.feed_role)))
    wanted = asyncio.run(onboarding.plan(dsn, steps))
    pending = [step for step, is_wanted in zip(steps, wanted, strict=True) if is_wanted]
    lines = [] if undo else hba(initialise.onboarding(loaded, named), tap or ANYWHERE, connect or tap or ANYWHERE)
    if as_json:
        click.echo(json.encode(_report(found, pending, lines, does)))
    elif as_sql:
        click.echo(script(pending))
    else:
        _show(found, pending, steps, lines)
    if any(each.level == "fail" for each in found):
        raise StackError("the server can't be onboarded as it is", hint="change what is named above, then come back")
    if not does or not pending:
        return
    if not yes and sys.stdin.isatty():
        click.confirm(
            f"{'Take back' if undo else 'Do'} this on {named.host}:{named.port}/{named.upstream}?", abort=True
        )
    asyncio.run(onboarding.apply(dsn, steps))
    click.echo(f"done: {len(pending)} steps", err=True)


def script(steps: Sequence[Step]) -> str:
    """For psql: all or nothing."""
    from taprail.connectors.postgres.onboard import LOCK_TIMEOUT

    parts = ["\\set ON_ERROR_STOP on", "BEGIN;", f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';"]
    for step in steps:
        parts += [f"-- {step.reason}", HIDDEN if step.secret else f"{step.sql.strip()};"]
    return "\n".join([*parts, "COMMIT;"])


def _report(found: list[Finding], pending: list[Step], lines: list[str], does: bool) -> dict[str, object]:
    return {
        "findings": [{"level": f.level, "text": f.text, "hint": f.hint} for f in found],
        "steps": [{"reason": s.reason, "sql": "" if s.secret else s.sql.strip()} for s in pending],
        "pg_hba": lines,
        "applied": does and not any(f.level == "fail" for f in found),
    }


def _show(found: list[Finding], pending: list[Step], steps: list[Step], lines: list[str]) -> None:
    for each in found:
        click.secho(f"{each.level:5}{each.text}", fg={"ok": "green", "warn": "yellow", "fail": "red"}[each.level])
        if each.hint:
            click.echo(f"     {each.hint}")
    click.echo(f"\n{len(steps) - len(pending)} of {len(steps)} steps are done already.")
    for step in pending:
        click.secho(f"\n# {step.reason}", bold=True)
        click.echo(HIDDEN if step.secret else f"{step.sql.strip()};")
    if lines:
        click.secho("\n# For pg_hba.conf, above its other lines: taprail's roles come from taprail alone", bold=True)
        click.echo("\n".join(lines))
    click.echo("\nnothing to do" if not pending else "\nNothing was changed yet; --apply does it.", err=True)
