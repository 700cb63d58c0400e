"""`taprail access`: ask for access for a time, take it in an emergency, take it back, review what was taken."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import json

from taprail.streams.approvals.shown import clock
from taprail.streams.commands.approvals import CONFIG, TICKET, TOKEN, service
from taprail.streams.commands.home import HOME
from taprail.streams.commands.text import visible
from taprail.streams.commands.times import seconds

ENVIRONMENT = click.option("--environment", "-e", required=True, help="Where: prod, staging, …")
DATABASE = click.option("--database", "-d", default="", help="One database; default: all that there are.")
ROLE = click.option("--role", default="", help="A database role that you don't have otherwise.")
RELATION = click.option("--relation", "relations", multiple=True, help="Only on this one, as schema.name; repeatable.")
FOR = click.option("--for", "lasts", default="1h", show_default=True, help="How long: 30m, 2h, 90s.")
REASON = click.option("--reason", "-r", required=True, help="Why, in a sentence; it goes into the audit log.")


@click.group()
def access() -> None:
    """Access for a time: to a role, or without being asked for each approval. It ends by itself.

    \b
    Examples:
      export TAPRAIL_TOKEN=$(taprail token ann)
      taprail access request -e prod --relation public.carts --for 30m --reason "clean up abandoned carts"
      taprail access list
    """


def _wanted(
    environment: str,
    database: str,
    role: str,
    relations: tuple[str, ...],
    lasts: str,
    reason: str,
    ticket: str,
    *,
    emergency: bool,
) -> dict[str, str]:
    return {
        "environment": environment,
        "database": database,
        "role": role,
        "relations": ",".join(relations),
        "seconds": str(seconds(lasts)),
        "reason": reason,
        "ticket": ticket,
        "emergency": "yes" if emergency else "",
    }


@access.command()
@ENVIRONMENT
@DATABASE
@ROLE
@RELATION
@FOR
@REASON
@TICKET
@TOKEN
@CONFIG
@HOME
def request(
    environment: str,
    database: str,
    role: str,
    relations: tuple[str, ...],
    lasts: str,
    reason: str,
    ticket: str,
    token: str,
    config: Path | None,
    home: Path,
) -> None:
    """Ask for access; approvers are told. Without --role: statements that policies hold run without asking.

    \b
    Examples:
      taprail access request -e prod --role writer --for 30m --reason "fix order 4711" --ticket OPS-17
      taprail access request -e prod --relation public.carts --reason "clean up abandoned carts"
    """
    wanted = _wanted(environment, database, role, relations, lasts, reason, ticket, emergency=False)
    click.echo(service(config, home).ask_access(token, wanted))


@access.command()
@ENVIRONMENT
@DATABASE
@ROLE
@RELATION
@FOR
@REASON
@TICKET
@TOKEN
@CONFIG
@HOME
def emergency(
    environment: str,
    database: str,
    role: str,
    relations: tuple[str, ...],
    lasts: str,
    reason: str,
    ticket: str,
    token: str,
    config: Path | None,
    home: Path,
) -> None:
    """Break the glass: access at once, if you are entitled. Owners are told, and somebody else reviews it.

    \b
    Example:
      taprail access emergency -e prod --role owner --for 30m --reason "orders can't be placed since 3 o'clock"
    """
    wanted = _wanted(environment, database, role, relations, lasts, reason, ticket, emergency=True)
    click.echo(service(config, home).ask_access(token, wanted))


@access.command("list")
@TOKEN
@CONFIG
@HOME
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(token: str, config: Path | None, home: Path, as_json: bool) -> None:
    """What you hold, and what you answer for: in force, lately over, or waiting for a review.

    \b
    Examples:
      taprail access list
      taprail access list --json
    """
    for grant in service(config, home).grants(token):
        if as_json:
            click.echo(json.encode(grant))
            continue
        review = ", review open" if grant.get("review") == "open" else ""
        who, gives = visible(grant["person"]["name"]), visible(grant["gives"])
        until = clock(grant["until_us"])
        click.echo(f"{grant['grant_id']}  {grant['state']}{review}  {who}  {gives}, until {until}")


@access.command()
@click.argument("grant_id")
@REASON
@TOKEN
@CONFIG
@HOME
def revoke(grant_id: str, reason: str, token: str, config: Path | None, home: Path) -> None:
    """Take access back before its time; sessions that stand on it end within seconds.

    \b
    Example:
      taprail access revoke access-18f3a-9c21 --reason "done"
    """
    click.echo(service(config, home).revoke(token, grant_id, reason))


@access.command()
@click.argument("grant_id")
@click.option("--findings", "-f", required=True, help="What you found, in a sentence; it goes into the audit log.")
@TOKEN
@CONFIG
@HOME
def review(grant_id: str, findings: str, token: str, config: Path | None, home: Path) -> None:
    """Close the review of an emergency: you have looked at what was done with it.

    \b
    Example:
      taprail access review emergency-18f3a-9c21 --findings "restarted the queue, read nothing personal"
    """
    click.echo(service(config, home).review(token, grant_id, findings))
