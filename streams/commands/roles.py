"""`taprail run ROLE` and `taprail init`: what compose, Kubernetes and `taprail up` start."""

from __future__ import annotations

from pathlib import Path

import click

from taprail.streams import settings
from taprail.streams.supervise import ROLES

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), default=Path("taprail.toml"), show_default=True, help="Its settings."
)


@click.command()
@click.argument("role", type=click.Choice(ROLES))
@CONFIG
@click.option("--ready-file", type=click.Path(path_type=Path), help="Made when the role is ready to serve.")
def run(role: str, config: Path, ready_file: Path | None) -> None:
    """Run one ROLE in the foreground until SIGTERM.

    \b
    Example:
      taprail run tap --config taprail.toml
    """
    from taprail.streams.roles import run_role

    run_role(role, settings.load(config), ready_file)


@click.command()
@CONFIG
def init(config: Path) -> None:
    """Prepare Kafka, the registry, the databases and the change feeds. Doing it twice is safe.

    \b
    Example:
      taprail init --config taprail.toml
    """
    from taprail.streams.initialise import initialise

    initialise(settings.load(config), click.echo)
