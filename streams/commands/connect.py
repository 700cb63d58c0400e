"""`taprail connect`: any client of PostgreSQL, with the token in place and on no command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from taprail.schemas.errors import SettingsError
from taprail.streams.commands.login import PROFILE, fresh, user_of

if TYPE_CHECKING:
    from taprail.connectors.oidc.kept import Kept

# libpq would go elsewhere, or prove itself otherwise, if the caller's environment had these: a token goes to the tap.
_NOT_INHERITED = ("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSFILE", "PGREQUIREAUTH", "PGSSLNEGOTIATION")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("database")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--user", help="Another user name than the token's: a name that the tap knows the person by.")
@PROFILE
def connect(database: str, command: tuple[str, ...], user: str | None, profile: str) -> None:
    """Run COMMAND (default: psql) with everything in its environment that it needs to reach DATABASE through the tap.

    PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE and PGSSLMODE are what every client on libpq reads.

    \b
    Examples:
      taprail connect prod
      taprail connect prod -- psql -c "SELECT 1"
      taprail connect staging -- pg_dump --schema-only
    """
    kept = fresh(profile)
    environment = environment_of(kept, database, user or user_of(kept.granted.access_token), os.environ)
    program, *arguments = command or ("psql",)
    try:
        os.execvpe(program, [program, *arguments], environment)  # no process of ours stays behind to hold the token
    except OSError as error:
        raise SettingsError(
            f"can't run {program}: {error.strerror}", hint="is it installed, and on the PATH?"
        ) from error


def environment_of(kept: Kept, database: str, user: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The client's environment. Raises SettingsError where there is no user name to connect with."""
    if not user:
        raise SettingsError("the token doesn't say who you are", hint="name yourself: taprail connect --user …")
    environment = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    if not kept.ca_file:
        environment.pop("PGSSLROOTCERT", None)
    return {
        **environment,
        "PGHOST": kept.host,
        "PGPORT": str(kept.port),
        "PGUSER": user,
        "PGPASSWORD": kept.granted.access_token,
        "PGDATABASE": database,
        "PGSSLMODE": kept.sslmode,
        **({"PGSSLROOTCERT": kept.ca_file} if kept.ca_file else {}),
    }
