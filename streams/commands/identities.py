"""`taprail identities`: who is known, whose access is revoked."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import json, structs

from taprail.schemas.control import Identity
from taprail.streams.commands.home import HOME
from taprail.streams.commands.text import visible

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

    for identity in known(settings.load(config or home / "taprail.toml")).all():
        if as_json:
            click.echo(json.encode(identity))
            continue
        state = "active" if identity.active else "revoked"
        groups = ", ".join(identity.groups)
        told = (identity.subject, state, identity.kind, identity.name, groups, identity.reason)
        click.echo("  ".join(map(visible, told)).rstrip())


def _set(subject: str, active: bool, reason: str, config: Path | None, home: Path) -> None:
    from taprail.streams import settings
    from taprail.streams.identity.publish import known, publish

    loaded = settings.load(config or home / "taprail.toml")
    before = known(loaded).get(subject) or Identity(subject, subject, "person", ())
    publish(loaded, structs.replace(before, active=active, reason=reason))
    click.echo(f"{visible(subject)} is {'active' if active else 'revoked'}: {visible(reason)}", err=True)
