"""`taprail approvals`: see what is held, and decide."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from msgspec import json

from taprail.streams.approvals.client import ApprovalsClient
from taprail.streams.commands.home import HOME

TOKEN = click.option("--token", envvar="TAPRAIL_TOKEN", required=True, help="Your access token (or TAPRAIL_TOKEN).")
CONFIG = click.option("--config", type=click.Path(path_type=Path), help="Settings; default: those of --home.")
REASON = click.option("--reason", "-r", required=True, help="Why, in a sentence; it goes into the audit log.")
TICKET = click.option("--ticket", default="", help="The ticket that it belongs to.")
STATEMENT_CHARACTERS_MAX = 100


def _client(config: Path | None, home: Path) -> ApprovalsClient:
    from taprail.streams import settings

    return ApprovalsClient(settings.load(config or home / "taprail.toml").settings.approvals.url)


@click.group()
def approvals() -> None:
    """See what is held, and decide on it. You can't decide on what you asked for yourself."""


@approvals.command("list")
@TOKEN
@CONFIG
@HOME
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(token: str, config: Path | None, home: Path, as_json: bool) -> None:
    """What waits for a decision that you may take."""
    for approval in _client(config, home).pending(token):
        if as_json:
            click.echo(json.encode(approval))
            continue
        text = " ".join(approval["normalized"].split())[:STATEMENT_CHARACTERS_MAX]
        click.echo(f"{approval['approval_id']}  {approval['database']}  {approval['person']['name']}  {text}")


@approvals.command()
@click.argument("approval_id")
@TOKEN
@CONFIG
@HOME
def show(approval_id: str, token: str, config: Path | None, home: Path) -> None:
    """Everything of one approval, the statement's text included, as JSON. Changes nothing."""
    click.echo(json.format(json.encode(_client(config, home).show(token, approval_id))))


def _decide(
    decision: Literal["approve", "deny"], approval_id: str, token: str, reason: str, ticket: str, url: ApprovalsClient
) -> None:
    click.echo(url.decide(token, approval_id, decision, reason, ticket))


@approvals.command()
@click.argument("approval_id")
@REASON
@TICKET
@TOKEN
@CONFIG
@HOME
def approve(approval_id: str, reason: str, ticket: str, token: str, config: Path | None, home: Path) -> None:
    """Let the held statement run, once."""
    _decide("approve", approval_id, token, reason, ticket, _client(config, home))


@approvals.command()
@click.argument("approval_id")
@REASON
@TICKET
@TOKEN
@CONFIG
@HOME
def deny(approval_id: str, reason: str, ticket: str, token: str, config: Path | None, home: Path) -> None:
    """Refuse it; the requester is told your reason."""
    _decide("deny", approval_id, token, reason, ticket, _client(config, home))
