"""`taprail`: one command, a verb each in `streams/commands/`. Verbs import what they need when they run."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from typing import Any

import click

from taprail.schemas.errors import PolicyError, TaprailError

VERBS = {
    "demo": "stack:demo",
    "up": "stack:up",
    "down": "stack:down",
    "status": "stack:status",
    "tail": "tail:tail",
    "login": "login:login",
    "logout": "login:logout",
    "token": "login:token",
    "connect": "connect:connect",
    "access": "access:access",
    "approvals": "approvals:approvals",
    "identities": "identities:identities",
    "policy": "policy:policy",
    "audit": "audit:audit",
    "tap": "tap:tap",
    "config": "config:config",
    "keys": "config:keys",
    "onboard": "onboard:onboard",
    "init": "roles:init",
    "run": "roles:run",
}
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


class Verbs(click.Group):
    """Finds a verb's command in its module, and turns an error of ours into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"taprail.streams.commands.{module}"), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TaprailError as error:
            said = str(error) if isinstance(error, PolicyError) else error.message  # a policy's says where
            click.secho(f"taprail: {said}", fg="red", err=True)
            if error.hint and said == error.message:
                click.echo(f"  {error.hint}", err=True)
            sys.exit(EXIT_FAILED)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("taprail"), prog_name="taprail")
def main() -> None:
    """Know, prove and govern who did what in your databases.

    \b
    Start here:  taprail demo         a whole stack on this machine, and the story it is for
    Every day:   taprail up           start it; then connect with psql as before
                 taprail login        sign in with a browser; taprail connect prod runs psql with the token
                 taprail tail         one live view over all environments
                 taprail approvals    decide on held statements
                 taprail access       ask for access for a time
                 taprail policy       write, test and explain what may run
                 taprail audit        verify the log, ask it questions
    """


if __name__ == "__main__":
    main()
