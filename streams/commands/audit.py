"""`taprail audit`: verify the log offline, ask it questions. Imports neither Kafka nor Faust."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import click

from taprail.streams.commands.home import HOME

FORMAT = click.option(
    "--format", "style", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)


@click.group()
def audit() -> None:
    """The audit log: verify it, ask it."""


def show(columns: list[str], rows: list[tuple[Any, ...]], style: str) -> None:
    """An answer as a table, as JSON lines or as CSV."""
    if style == "json":
        for row in rows:
            click.echo(json.dumps(dict(zip(columns, row, strict=True)), default=str))
    elif style == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=None, header_style="bold")
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row))
        Console(width=None if sys.stdout.isatty() else 200).print(table)


@audit.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="The log's public key (PEM).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@HOME
def verify(directory: Path | None, key: Path | None, as_json: bool, home: Path) -> None:
    """Verify the log in DIRECTORY (a copy will do) with the public key alone.

    Exit code 0 where everything holds, 1 where anything was changed, removed or reordered: it is named.
    """
    from taprail.streams.audit.verify import verify as verify_log

    report = verify_log(directory or home / "log", key or home / "log.pub.pem")
    if as_json:
        click.echo(report.to_json())
    else:
        click.echo(report.to_text())
    sys.exit(0 if report.ok else 1)


@audit.command()
@click.argument("query")
@click.option("--directory", type=click.Path(path_type=Path, exists=True), help="The log; a copy will do.")
@FORMAT
@HOME
def sql(query: str, directory: Path | None, style: str, home: Path) -> None:
    """Answer a SQL QUERY (DuckDB) over the log's views: statements, outcomes, changes, detections, …"""
    from taprail.streams.audit.questions import sql as ask

    columns, rows = ask(directory or home / "log", query)
    show(columns, rows, style)
