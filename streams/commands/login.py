"""`taprail login | logout | token`: sign in once with a browser; programs get a fresh token from then on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taprail.schemas.errors import RefusedError, SettingsError, StackError, TaprailError
from taprail.streams import settings
from taprail.streams.commands.home import HOME

if TYPE_CHECKING:
    from taprail.connectors.oidc.device import Prompt
    from taprail.connectors.oidc.kept import Kept

FRESH_SECONDS = 60.0  # a token that is printed or passed on holds for this long at least
LOOPBACK_SSLMODE = "prefer"
PROFILE = click.option(
    "--profile", default="default", show_default=True, envvar="TAPRAIL_PROFILE", help="Which of several sign-ins."
)


@click.command()
@click.option("--issuer", envvar="TAPRAIL_ISSUER", help="The identity provider; default: as last time.")
@click.option("--client-id", envvar="TAPRAIL_CLIENT_ID", help="Our client there.  [default: taprail]")
@click.option("--scope", help="Scopes to ask for.  [default: openid profile email offline_access]")
@click.option("--audience", help="Audience to ask for, where the provider wants it named.")
@click.option("--host", envvar="TAPRAIL_HOST", help="The tap's host, for `taprail connect`.  [default: 127.0.0.1]")
@click.option("--port", type=int, envvar="TAPRAIL_PORT", help="The tap's port.  [default: 6432]")
@click.option(
    "--sslmode",
    type=click.Choice(["verify-full", "verify-ca", "require", "prefer"]),
    help="libpq's sslmode.  [default: verify-full; prefer on this machine]",
)
@click.option("--ca-file", help="Certificates that the tap's is checked against; `system` for the system's.")
@PROFILE
def login(profile: str, **given: str | int | None) -> None:
    """Sign in at the identity provider with a browser, on this device or another (RFC 8628).

    The tokens stand in $XDG_STATE_HOME/taprail, readable by nobody else. What isn't given is as last time.

    \b
    Examples:
      taprail login --issuer https://idp.example.com --host tap.example.com
      taprail login
      taprail login --profile staging --issuer https://idp.example.com --host staging-tap.example.com
    """
    from msgspec.structs import replace

    from taprail.connectors.oidc import device, kept

    path = kept.path_of(profile)
    wanted = _wanted(_last(path), given)
    granted = asyncio.run(device.sign_in(wanted.client, _show))
    with kept.locked(path):
        kept.write(path, replace(wanted, granted=granted))
    who = user_of(granted.access_token) or "somebody whom only the provider knows"
    click.echo(f"signed in as {device.printable(who)}{_until(granted.expires)}", err=True)
    if not device.claims_unverified(granted.access_token):
        click.echo("  the provider gave a token that isn't a JWT, which no tap takes: try --audience", err=True)
    if not granted.refresh_token and granted.expires:
        click.echo("  the provider gave no refresh token: sign in again then", err=True)


@click.command()
@PROFILE
def logout(profile: str) -> None:
    """Forget the tokens, and tell the provider that they aren't needed any more.

    Sessions that are open go on until their token's end; a token that was copied elsewhere holds until then, too.

    \b
    Examples:
      taprail logout
      taprail logout --profile staging
    """
    from taprail.connectors.oidc import device, kept

    path = kept.path_of(profile)
    found: Kept | None = None
    with kept.locked(path):
        try:
            found = kept.read(path)
        except RefusedError as error:  # it goes all the same
            click.echo(str(error), err=True)
        path.unlink(missing_ok=True)
    if found is None:
        click.echo("nobody was signed in", err=True)
        return
    token = found.granted.refresh_token or found.granted.access_token
    try:
        told = asyncio.run(device.revoke(found.client, token))
    except TaprailError:
        told = False
    click.echo("signed out" if told else "signed out here; the provider wasn't told", err=True)


@click.command()
@click.argument("person", required=False)
@PROFILE
@HOME
def token(person: str | None, profile: str, home: Path) -> None:
    """Print an access token that holds for a minute at least: it is the password for DBeaver, notebooks and the like.

    With PERSON: a token of that person from the local stack's own identity provider (for this machine only).

    \b
    Examples:
      taprail token
      PGPASSWORD=$(taprail token ann) psql "host=127.0.0.1 port=6432 dbname=prod user=ann"
    """
    click.echo(fresh(profile).granted.access_token if person is None else _of_the_stack(person, home))


def fresh(profile: str) -> Kept:
    """The sign-in with a token that holds for a minute, or less where the provider is away. Raises RefusedError."""
    from msgspec.structs import replace

    from taprail.connectors.oidc import device, kept

    path = kept.path_of(profile)
    if not path.exists():
        raise RefusedError("nobody is signed in", hint="run `taprail login`")
    with kept.locked(path):
        found = kept.read(path)
        if found is None:
            raise RefusedError("nobody is signed in", hint="run `taprail login`")
        granted = found.granted
        if granted.expires == 0.0 or granted.expires - time.time() > FRESH_SECONDS:
            return found
        if not granted.refresh_token:
            raise RefusedError("the sign-in has ended", hint="run `taprail login`")
        try:
            found = replace(found, granted=asyncio.run(device.refresh(found.client, granted.refresh_token)))
        except RefusedError:
            if granted.expires > time.time():  # a provider that is away for a moment stops nobody
                return found
            raise
        kept.write(path, found)
        return found


def user_of(access_token: str) -> str:
    """The user name that the tap expects with this token: what it takes for the person's name or subject itself."""
    from taprail.connectors.oidc.device import claims_unverified

    claims = claims_unverified(access_token)
    return str(claims.get("preferred_username") or claims.get("email") or claims.get("sub") or "")


def _last(path: Path) -> Kept | None:
    from taprail.connectors.oidc import kept

    try:
        return kept.read(path)
    except RefusedError:  # signing in replaces it
        return None


def _wanted(last: Kept | None, given: dict[str, str | int | None]) -> Kept:
    """What was given, or else what was last time, or else the default."""
    from taprail.connectors.oidc.device import SCOPE, Client, Granted
    from taprail.connectors.oidc.kept import Kept

    def pick(name: str, before: str, default: str) -> str:
        value = given.get(name)
        return str(value) if value is not None else (before or default)

    issuer = pick("issuer", last.client.issuer if last else "", "")
    if not issuer:
        raise SettingsError("which identity provider?", hint="taprail login --issuer https://…")
    same = last if last is not None and last.client.issuer == issuer else None
    scope, audience = (same.client.scope, same.client.audience) if same else ("", "")
    client = Client(
        issuer,
        pick("client_id", same.client.client_id if same else "", "taprail"),
        pick("scope", scope, SCOPE),
        pick("audience", audience, ""),
    )
    host = pick("host", last.host if last else "", "127.0.0.1")
    moved = last is None or last.host != host
    safe = LOOPBACK_SSLMODE if _on_this_machine(host) else "verify-full"
    return Kept(
        client,
        Granted(),
        host=host,
        port=int(pick("port", str(last.port) if last else "", "6432")),
        sslmode=pick("sslmode", "" if moved or last is None else last.sslmode, safe),
        ca_file=pick("ca_file", last.ca_file if last else "", ""),
    )


def _on_this_machine(host: str) -> bool:
    from taprail.connectors.oidc.device import LOOPBACK

    return host in LOOPBACK or host.startswith("/")


def _show(prompt: Prompt) -> None:
    click.echo("To sign in, open this address in a browser, on any device:\n", err=True)
    click.echo(f"  {prompt.complete or prompt.address}\n", err=True)
    click.echo(f"and compare or type the code:  {prompt.code}\n", err=True)


def _until(expires: float) -> str:
    return time.strftime(", until %H:%M", time.localtime(expires)) if expires else ""


def _of_the_stack(person: str, home: Path) -> str:
    from taprail.connectors.local.identity import access_token

    issuer = settings.load(home / "taprail.toml").settings.identity.issuer
    try:
        return access_token(issuer, person)
    except OSError as error:
        raise StackError(f"the identity provider at {issuer} doesn't answer: {error}", hint="`taprail up`") from error
