"""`taprail policy`: write, test, ship and explain what may run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import json

from taprail.schemas.errors import PolicyError
from taprail.streams.commands.home import HOME
from taprail.streams.commands.policy_files import CONFIG, FOLDER, JSON, load_policies
from taprail.streams.commands.policy_ship import apply, backtest, status
from taprail.streams.commands.text import visible

if TYPE_CHECKING:
    from taprail.streams.policy.explain import Explained
    from taprail.streams.policy.policy import Dialect, Policy


@click.group()
def policy() -> None:
    """Policies are YAML files: where they apply, a condition in CEL, a verdict, and their own tests.

    FOLDER is yours, with all files below it; without one the policies that ship with taprail are meant.

    \b
    Examples:
      taprail policy list
      taprail policy lint policies
      taprail policy test policies
      taprail policy explain "DELETE FROM orders" --on prod
      taprail policy backtest policies --since 90d
      taprail policy apply policies --reason "agents may read the reports"
    """


@policy.command("list")
@FOLDER
@JSON
def list_(folder: Path | None, as_json: bool) -> None:
    """Each policy with its verdict, level and title, strictest first.

    \b
    Examples:
      taprail policy list
      taprail policy list policies --json
    """
    from taprail.streams.policy.ruling import PolicySet

    found = PolicySet(load_policies(folder))
    for each in found.policies:
        if as_json:
            click.echo(json.encode(each))
            continue
        state = "" if each.acts else f" ({each.status})"
        click.echo(f"{each.verdict:<6} {each.level:<13} {each.id:<24} {visible(each.title)}{state}")
    click.echo(f"{len(found.policies)} policies, version {found.version}", err=True)


@policy.command()
@FOLDER
def lint(folder: Path | None) -> None:
    """Read every file and check every condition against the facts. Exit code 1 where anything is wrong.

    All files are read, so all errors are told; each with file, line, caret and the nearest name.

    \b
    Examples:
      taprail policy lint policies
    """
    from taprail.streams.policy.load import files, parse, read
    from taprail.streams.policy.packs import BASE

    root = folder or BASE
    wrong, seen = 0, dict[str, str]()
    for path in files(root):
        name = str(path if folder else path.relative_to(BASE))
        try:
            found = parse(name, read(path))
            if found.id in seen:
                raise PolicyError(f"id {found.id!r} is the id of {seen[found.id]}, too", file=name, hint="rename one")
            seen[found.id] = name
            if not found.tests.match or not found.tests.passes:
                click.secho(f"{name}: has no tests of both kinds, match and pass", fg="yellow", err=True)
        except PolicyError as error:
            wrong += 1
            click.secho(str(error), fg="red", err=True)
    told = "1 policy is fine" if len(seen) == 1 else f"{len(seen)} policies are fine"
    if wrong:
        told += ", 1 file isn't" if wrong == 1 else f", {wrong} files aren't"
    click.echo(told, err=True)
    sys.exit(1 if wrong else 0)


@policy.command()
@FOLDER
@JSON
def test(folder: Path | None, as_json: bool) -> None:
    """Run the policies' own tests. Exit code 1 where one fails, 2 where there is none.

    \b
    Examples:
      taprail policy test policies
      taprail policy test --json
    """
    from taprail.streams.policy.trial import try_all

    tried = list(try_all(load_policies(folder)))
    for each in tried:
        if as_json:
            click.echo(json.encode(each))
        elif each.wrong:
            click.secho(f"{each.policy}: {visible(each.sql)}\n  {visible(each.wrong)}", fg="red", err=True)
    failed = sum(bool(each.wrong) for each in tried)
    click.echo(f"{len(tried) - failed} of {len(tried)} tests passed", err=True)
    sys.exit(2 if not tried else 1 if failed else 0)


@policy.command()
@click.argument("sql")
@click.option("--policies", "folder", type=click.Path(path_type=Path), help="A folder; default: the shipped ones.")
@click.option("--as", "name", default="ann", show_default=True, help="Who sends it.")
@click.option("--kind", type=click.Choice(["person", "service", "agent"]), default="person", show_default=True)
@click.option("--group", "groups", multiple=True, help="A group of theirs; may be given again.")
@click.option("--on", "environment", default="prod", show_default=True, help="Environment.")
@click.option("--purpose", default="", help="What they said it is for.")
@click.option("--dialect", type=click.Choice(["postgresql", "mysql", "tsql"]), help="Whose SQL it is.")
@click.option("--table", "tables", multiple=True, metavar="NAME=COLUMNS", help="As `hr.staff=id int, salary int`.")
@JSON
def explain(
    sql: str,
    folder: Path | None,
    name: str,
    kind: str,
    groups: tuple[str, ...],
    environment: str,
    purpose: str,
    dialect: Dialect | None,
    tables: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say what would become of the statement SQL, and why: policy by policy, condition by condition.

    No database is asked. Tables are those of the policies' tests (customers, orders, payments, patients) and those of
    --table; columns are classified by their names.

    \b
    Examples:
      taprail policy explain "DELETE FROM orders"
      taprail policy explain "SELECT * FROM patients" --group data-owners --purpose "OPS-1"
      taprail policy explain "SELECT relname FROM pg_class" --kind agent --on staging --json
      taprail policy explain "DELETE FROM `orders`" --dialect mysql
    """
    from taprail.streams.policy.explain import explain as explained
    from taprail.streams.policy.policy import Example

    given = dict(each.partition("=")[::2] for each in tables)
    person: dict[str, str | tuple[str, ...]] = {"subject": name, "name": name, "kind": kind}
    if groups:
        person["groups"] = groups
    session: dict[str, str | bool] = {"environment": environment, "purpose": purpose}
    for each in explained(load_policies(folder), Example(sql, dialect, person, session, tables=given)):
        _show(each, as_json)


@policy.command()
@click.argument("statement")
@click.option("--policies", "folder", type=click.Path(path_type=Path), help="A folder; default: the shipped ones.")
@click.option("--directory", type=click.Path(path_type=Path, exists=True), help="The log; default: that of --home.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of the fact `now`.")
@JSON
@HOME
def why(statement: str, folder: Path | None, directory: Path | None, zone: str, as_json: bool, home: Path) -> None:
    """Say why the recorded STATEMENT (`tap/epoch/sequence`) went as it did: its record, and each condition then.

    It asks the audit log alone. Name the policies that were in force with --policies, where those that ship weren't.

    \b
    Examples:
      taprail policy why tap-1/1795435043/2
      taprail audit sql "SELECT statement FROM statements WHERE action = 'deny'"
    """
    from taprail.streams.policy.recorded import why as explained

    _show(explained(directory or home / "log", load_policies(folder), statement, zone), as_json)


@policy.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Another folder; default: what is in force.")
@CONFIG
@HOME
def diff(folder: Path, against: Path | None, config: Path | None, home: Path) -> None:
    """Say which policies FOLDER would add, change and remove. Exit code 1 where there is a difference.

    \b
    Examples:
      taprail policy diff policies
      taprail policy diff policies --against old
    """
    from taprail.streams.policy.difference import differences

    before = load_policies(against) if against is not None else _in_force(config, home)
    found = differences(before, load_policies(folder))
    for each in found:
        colour = {"added": "green", "removed": "red", "changed": "yellow"}[each.action]
        sign = {"added": "+", "removed": "-", "changed": "~"}[each.action]
        click.secho(f"{sign} {each.policy}", fg=colour)
        for line in each.lines:
            click.echo(f"    {visible(line)}")
    click.echo(f"{len(found)} policies differ" if found else "nothing differs", err=True)
    sys.exit(1 if found else 0)


@policy.command()
def facts() -> None:
    """Print docs/facts.md: every fact that a condition may name, from the schema.

    \b
    Example:
      taprail policy facts
    """
    from taprail.streams.policy.facts_document import document

    click.echo(document(), nl=False)


def _in_force(config: Path | None, home: Path) -> Iterable[Policy]:
    from taprail.streams import settings
    from taprail.streams.policy.packs import shipped
    from taprail.streams.policy.release import current, opened, policies_in

    loaded = settings.load(config or home / "taprail.toml")
    record = current(loaded)
    return shipped().policies if record is None else policies_in(opened(loaded, record)).policies


for command in (apply, status, backtest):
    policy.add_command(command)


def _show(each: Explained, as_json: bool) -> None:
    if as_json:
        click.echo(json.encode(each))
        return
    colour = {"deny": "red", "hold": "yellow", "mask": "cyan"}.get(each.action, "green")
    by = f" by {each.rule}" if each.rule else ""
    click.secho(f"{each.action}{by}: {visible(each.statement)}", fg=colour, bold=True)
    if each.reason:
        click.echo(f"  {visible(each.reason)}" + (f"; {visible(each.hint)}" if each.hint else ""))
    for said in each.policies:
        mark = {True: "yes", False: "no "}[said.matches]
        click.echo(f"  {mark} {said.policy} ({said.verdict}{', being tried' if said.trial else ''})")
        told = said.conditions if said.matches else said.conditions_against
        for condition in told:
            click.echo(f"      {condition.answer:<5} {condition.part} {visible(condition.text)}")
    for safeguard in each.safeguards:
        click.echo(f"  yes {safeguard.rule} ({safeguard.action}, a safeguard): {visible(safeguard.reason)}")
