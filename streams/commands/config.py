"""`taprail config` and `taprail keys`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from taprail.streams import keys as key_files
from taprail.streams import settings


@click.group()
def config() -> None:
    """Check and explain the configuration.

    \b
    Examples:
      taprail config check taprail.toml
      taprail config document
    """


@config.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("taprail.toml"))
def check(path: Path) -> None:
    """Say what is wrong with the configuration file at PATH, and where. Exit code 1 if anything is.

    \b
    Examples:
      taprail config check
      taprail config check deploy/taprail.toml
    """
    loaded = settings.load(path)
    found = settings.problems(loaded)
    for problem in found:
        click.echo(problem, err=True)
    if found:
        sys.exit(1)
    databases = ", ".join(f"{d.name} ({d.environment})" for d in loaded.settings.databases)
    click.echo(f"{path}: fine; databases: {databases}")


@config.command()
def document() -> None:
    """Print docs/settings.md: every setting, from its type.

    \b
    Example:
      taprail config document
    """
    click.echo(settings.document(), nl=False)


@click.group()
def keys() -> None:
    """Make keys. A key that is there is never overwritten.

    \b
    Examples:
      taprail keys new mark keys/mark
      taprail keys new control keys/control.pem
    """


@keys.command()
@click.argument("kind", type=click.Choice(["mark", "data", "control", "log"]))
@click.argument("path", type=click.Path(path_type=Path))
def new(kind: str, path: Path) -> None:
    """Make a key of KIND at PATH. `control` and `log` are Ed25519 pairs: the public half goes to PATH.pub.

    \b
    Examples:
      taprail keys new data keys/data
      taprail keys new log keys/log.pem
    """
    if kind in ("mark", "data"):
        key_files.new_symmetric(path)
        click.echo(f"{path}: a secret key of 32 bytes")
    else:
        public = path.with_name(path.name + ".pub")
        key_files.new_pair(path, public)
        click.echo(f"{path}: the private key\n{public}: the public key")
