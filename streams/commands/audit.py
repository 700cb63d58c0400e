"""`taprail audit`: verify the log offline, ask it questions. Imports neither Kafka nor Faust."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import click

from taprail.streams.commands.home import HOME
from taprail.streams.commands.text import visible

DIRECTORY = click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True),
    help="The log; a copy will do. Default: that of --home.",
)
FORMAT = click.option(
    "--format", "style", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)
WIDTH = 200  # where there is no terminal to fit into


@click.group()
def audit() -> None:
    """The audit log: verify it, ask it. No Kafka, no network, a copy of the log will do.

    \b
    Examples:
      taprail audit verify
      taprail audit report
      taprail audit sql "SELECT person_name, normalized FROM statements LIMIT 10"
    """


def show(columns: list[str], rows: list[tuple[Any, ...]], style: str) -> None:
    """An answer as a table, as JSON lines or as CSV. What is too wide for a table stands row by row."""
    if style == "json":
        for row in rows:
            click.echo(json.dumps(dict(zip(columns, row, strict=True)), default=str))
    elif style == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        _table(columns, [["" if value is None else visible(str(value)) for value in row] for row in rows])


def _table(columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    if rows and console.measure(table, options=console.options.update(width=10_000)).maximum > console.width:
        name_width = max(map(len, columns))
        for number, row in enumerate(rows, 1):
            click.secho(f"-- {number}", bold=True)
            for name, value in zip(columns, row, strict=True):
                click.echo(f"{name:<{name_width}}  {value}".rstrip())
    else:
        console.print(table)


@audit.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="The log's public key (PEM).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@HOME
def verify(directory: Path | None, key: Path | None, as_json: bool, home: Path) -> None:
    """Verify the log in DIRECTORY (a copy will do) with the public key alone.

    Exit code 0 where everything holds, 1 where anything was changed, removed or reordered: it is named.

    \b
    Examples:
      taprail audit verify
      taprail audit verify /mnt/backup/log --key log.pub.pem --json
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
@DIRECTORY
@FORMAT
@HOME
def sql(query: str, directory: Path | None, style: str, home: Path) -> None:
    """Answer a SQL QUERY (DuckDB) over the log's views: statements, outcomes, changes, detections, …

    \b
    Examples:
      taprail audit sql "SELECT person_name, normalized FROM statements LIMIT 10"
      taprail audit sql "SELECT rule, count(*) FROM alerts GROUP BY rule" --format csv
    """
    from taprail.streams.audit.questions import sql as ask

    columns, rows = ask(directory or home / "log", query)
    show(columns, rows, style)


@audit.command()
@click.option("--relation", default="", metavar="NAME", help="Also: how many agents read this relation.")
@click.option("--rows", "rows_min", default=10_000, show_default=True, help="A read of so many rows is one in bulk.")
@DIRECTORY
@FORMAT
@HOME
def report(relation: str, rows_min: int, directory: Path | None, style: str, home: Path) -> None:
    """The standing questions: who tried to drop a table, what was read in bulk, how many agents read a relation.

    \b
    Examples:
      taprail audit report
      taprail audit report --relation customers --rows 50000
      taprail audit report --format json
    """
    from taprail.streams.audit import questions

    log = directory or home / "log"
    answers = {
        "who tried to drop a table": questions.who_tried_to_drop(log),
        f"what was read in bulk, {rows_min} rows or more": questions.read_in_bulk(log, rows_min),
    }
    if relation:
        answers[f"how many agents read {relation}"] = questions.agents_that_read(log, relation)
    for title, answer in answers.items():
        if style == "json":
            rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
            click.echo(json.dumps({"question": title, "rows": rows}, default=str))
            continue
        click.secho(f"# {title}", bold=True)
        show(answer.columns, answer.rows, style)
        click.echo("" if answer.rows else "nobody, nothing\n")
