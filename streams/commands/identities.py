"""`taprail identities`: who is known, whose access is revoked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import json

from taprail.schemas.control import Identity
from taprail.schemas.errors import RefusedError
from taprail.streams.commands.home import HOME
from taprail.streams.commands.text import visible

if TYPE_CHECKING:
    from taprail.streams.identity.apply import Change

CONFIG = click.option("--config", type=click.Path(path_type=Path), help="Settings; default: those of --home.")


@click.group()
def identities() -> None:
    """Revoke a person, a service or an agent: sessions end within seconds, and nobody signs in as them.

    The records are signed with the control key, so this runs where the agents run.

    \b
    Examples:
      taprail identities revoke ann --reason "left the company"
      taprail identities restore ann --reason "came back"
      taprail identities list
      taprail identities apply people.toml
    """


@identities.command()
@click.argument("subject")
@click.option("--reason", "-r", required=True, help="Why, in a sentence; the signed record keeps it.")
@CONFIG
@HOME
def revoke(subject: str, reason: str, config: Path | None, home: Path) -> None:
    """End every session of SUBJECT, and let nobody sign in as it. SUBJECT is the token's `sub`, or a service's name.

    \b
    Examples:
      taprail identities revoke ann --reason "left the company"
    """
    _set(subject, False, reason, config, home)


@identities.command()
@click.argument("subject")
@click.option("--reason", "-r", required=True, help="Why, in a sentence.")
@CONFIG
@HOME
def restore(subject: str, reason: str, config: Path | None, home: Path) -> None:
    """Let SUBJECT sign in again.

    \b
    Examples:
      taprail identities restore ann --reason "came back"
    """
    _set(subject, True, reason, config, home)


@identities.command("list")
@CONFIG
@HOME
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(config: Path | None, home: Path, as_json: bool) -> None:
    """Everybody whom the topic of identities speaks of, by subject.

    \b
    Examples:
      taprail identities list
      taprail identities list --json
    """
    from taprail.streams import settings
    from taprail.streams.identity.publish import known
    from taprail.streams.identity.standing import bars

    for identity in known(settings.load(config or home / "taprail.toml")).all():
        if as_json:
            click.echo(json.encode(identity))
            continue
        state = "active" if identity.active else f"revoked by {' and '.join(sorted(bars(identity)))}"
        groups = ", ".join(identity.groups)
        told = (identity.subject, state, identity.kind, identity.name, groups, identity.reason)
        click.echo("  ".join(map(visible, told)).rstrip())


@identities.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each change.")
@CONFIG
@HOME
def apply(file: Path, dry_run: bool, yes: bool, as_json: bool, config: Path | None, home: Path) -> None:
    """Make the identities that come from files what FILE says, all of it or nothing.

    Who is gone from the file is revoked. FILE is TOML, or JSON where it is called so.

    \b
    Examples:
      taprail identities apply people.toml --dry-run
      taprail identities apply people.toml --yes
    """
    from taprail.streams import settings
    from taprail.streams.identity import apply as applying
    from taprail.streams.identity import apply_file
    from taprail.streams.identity.book import Book
    from taprail.streams.identity.roster import Roster

    entries = apply_file.read(file)
    book = Book(settings.load(config or home / "taprail.toml"))
    shown = applying.plan(entries, book.read())
    _show(shown, len(entries), as_json)
    if dry_run or not shown:
        return
    if not yes:
        click.confirm("Apply this?", abort=True, err=True)

    def decide(roster: Roster) -> list[Identity]:
        now = applying.plan(entries, roster)
        if now != shown:
            raise RefusedError("the identities have changed meanwhile", hint="look at the differences again")
        return applying.identities(now)

    book.change(decide)
    click.echo(f"{len(shown)} identities are written", err=True)


@identities.command()
@CONFIG
@HOME
def renew(config: Path | None, home: Path) -> None:
    """Sign every record again with the control key of now.

    After a new control key, and before the old public one is taken out of the settings: what it has signed isn't
    believed any more from then on, and neither is who was revoked.

    \b
    Examples:
      taprail identities renew
    """
    from taprail.streams import settings
    from taprail.streams.identity.book import Book

    book = Book(settings.load(config or home / "taprail.toml"))
    records = book.change(lambda roster: [*roster.all(), *roster.all_groups()])
    click.echo(f"{len(records)} records are signed again", err=True)


def _show(changes: Sequence[Change], entries: int, as_json: bool) -> None:
    signs = {"added": "+", "changed": "~", "revoked": "-", "removed": "-"}
    for change in changes:
        if as_json:
            click.echo(json.encode(change))
            continue
        line = (signs[change.action], change.identity.subject, ", ".join(change.details))
        click.echo("  ".join(map(visible, line)).rstrip())
    counts = {action: sum(change.action == action for change in changes) for action in signs}
    same = entries - len(changes) + counts["removed"]
    told = ", ".join([*(f"{count} {action}" for action, count in counts.items()), f"{same} unchanged"])
    click.echo(told, err=True)


def _set(subject: str, active: bool, reason: str, config: Path | None, home: Path) -> None:
    from taprail.streams import settings
    from taprail.streams.identity.publish import restore, revoke

    loaded = settings.load(config or home / "taprail.toml")
    now = revoke(loaded, subject, reason) if not active else restore(loaded, subject, reason)
    click.echo(f"{visible(subject)} is {'active' if now.active else 'revoked'}: {visible(now.reason)}", err=True)
    if active and not now.active:
        click.echo("the directory has revoked the access, too: it must give it back itself", err=True)
