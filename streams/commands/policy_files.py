"""What the verbs of `taprail policy` take."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taprail.schemas.errors import PolicyError

if TYPE_CHECKING:
    from taprail.streams.policy.policy import Policy

FOLDER = click.argument("folder", type=click.Path(path_type=Path), required=False)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
CONFIG = click.option("--config", type=click.Path(path_type=Path), help="Settings; default: those of --home.")


def load_policies(folder: Path | None) -> Iterable[Policy]:
    """Those of a folder, or the shipped ones. Ends with exit code 1 where one can't be used, and says where."""
    from taprail.streams.policy.load import load
    from taprail.streams.policy.packs import shipped

    try:
        return load(folder) if folder is not None else shipped().policies
    except PolicyError as error:
        click.secho(str(error), fg="red", err=True)
        sys.exit(1)
