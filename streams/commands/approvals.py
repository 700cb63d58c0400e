"""`taprail approvals`: see what is held, and decide."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import json

from taprail.streams.approvals.client import ApprovalsClient
from taprail.streams.commands.audit import FORMAT
from taprail.streams.commands.audit import show as show_answer
from taprail.streams.commands.home import HOME
from taprail.streams.commands.text import visible
from taprail.streams.commands.times import FAR_FUTURE_US, since_us

TOKEN = click.option("--token", envvar="TAPRAIL_TOKEN", required=True, help="Your access token (or TAPRAIL_TOKEN).")
CONFIG = click.option("--config", type=click.Path(path_type=Path), help="Settings; default: those of --home.")
REASON = click.option("--reason", "-r", required=True, help="Why, in a sentence; it goes into the audit log.")
TICKET = click.option("--ticket", default="", help="The ticket that it belongs to.")
STATEMENT_CHARACTERS_MAX = 100


def service(config: Path | None, home: Path) -> ApprovalsClient:
    from taprail.streams import settings

    return ApprovalsClient(settings.load(config or home / "taprail.toml").settings.approvals.url)


@click.group()
def approvals() -> None:
    """See what is held, and decide on it. You can't decide on what you asked for yourself.

    \b
    Examples:
      export TAPRAIL_TOKEN=$(taprail token bob)
      taprail approvals list
      taprail approvals approve tap-1-1754006400-7 --reason "the carts are abandoned"
      taprail approvals stats --since 90d
    """


@approvals.command("list")
@TOKEN
@CONFIG
@HOME
@click.option("--mine", is_flag=True, help="What you have asked for yourself, with its state.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(token: str, config: Path | None, home: Path, mine: bool, as_json: bool) -> None:
    """What waits for a decision that you may take.

    \b
    Examples:
      taprail approvals list
      taprail approvals list --mine
      taprail approvals list --json
    """
    asked = service(config, home)
    for approval in asked.mine(token) if mine else asked.pending(token):
        if as_json:
            click.echo(json.encode(approval))
            continue
        said = approval["normalized"] or f"access: {approval['reason']}"
        text = visible(" ".join(said.split()))[:STATEMENT_CHARACTERS_MAX]
        who = approval["state"] if mine else visible(approval["person"]["name"])
        click.echo(f"{approval['approval_id']}  {approval['database'] or approval['environment']}  {who}  {text}")


@approvals.command()
@click.argument("approval_id")
@TOKEN
@CONFIG
@HOME
def show(approval_id: str, token: str, config: Path | None, home: Path) -> None:
    """Everything of one approval, the statement's text included, as JSON. Changes nothing.

    \b
    Example:
      taprail approvals show tap-1-1754006400-7
    """
    click.echo(json.format(json.encode(service(config, home).show(token, approval_id))))


@approvals.command()
@click.option("--since", default="30d", show_default=True, help="How far back: 90d, 12h, or a date as 2026-01-31.")
@click.option("--directory", type=click.Path(path_type=Path, exists=True), help="The log; default: that of --home.")
@FORMAT
@HOME
def stats(since: str, directory: Path | None, style: str, home: Path) -> None:
    """How many approvals were asked for, by rule; how fast they were decided; how many within 5 seconds, so unread.

    It asks the audit log alone.

    \b
    Examples:
      taprail approvals stats
      taprail approvals stats --since 90d --format csv
    """
    from taprail.streams.approvals.stats import stats as ask

    answer = ask(directory or home / "log", since_us(since), FAR_FUTURE_US)
    show_answer(answer.columns, answer.rows, style)


@approvals.command()
@click.argument("approval_id")
@REASON
@TICKET
@click.option("--remember", is_flag=True, help="Let equal statements of the role pass, while the policy says.")
@TOKEN
@CONFIG
@HOME
def approve(
    approval_id: str, reason: str, ticket: str, remember: bool, token: str, config: Path | None, home: Path
) -> None:
    """Let the held statement run, once; or give the access that is asked for. `show` says what it allows.

    \b
    Examples:
      taprail approvals approve tap-1-1754006400-7 --reason "the carts are abandoned" --ticket OPS-17
      taprail approvals approve tap-1-1754006400-7 --reason "it runs every night" --remember
    """
    click.echo(service(config, home).decide(token, approval_id, "approve", reason, ticket, remember=remember))


@approvals.command()
@click.argument("approval_id")
@REASON
@TICKET
@TOKEN
@CONFIG
@HOME
def deny(approval_id: str, reason: str, ticket: str, token: str, config: Path | None, home: Path) -> None:
    """Refuse it; the requester is told your reason.

    \b
    Example:
      taprail approvals deny tap-1-1754006400-7 --reason "add a WHERE, please"
    """
    click.echo(service(config, home).decide(token, approval_id, "deny", reason, ticket))


@approvals.command()
@click.argument("approval_id")
@click.option("--reason", "-r", default="", help="Why.")
@TOKEN
@CONFIG
@HOME
def withdraw(approval_id: str, reason: str, token: str, config: Path | None, home: Path) -> None:
    """Ask no more for what you have asked for. A statement that waits you cancel where you sent it.

    \b
    Example:
      taprail approvals withdraw access-18f3a-9c21
    """
    click.echo(service(config, home).withdraw(token, approval_id, reason))
