"""Where `taprail up` keeps everything of a stack on this machine."""

from __future__ import annotations

from pathlib import Path

import click

HOME = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path(".taprail"),
    show_default=True,
    envvar="TAPRAIL_HOME",
    help="Directory of the stack on this machine.",
)
