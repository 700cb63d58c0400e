"""`taprail policy apply`, `status` and `backtest`: policies and what was, or will be, run."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import json

from taprail.schemas.errors import PolicyError
from taprail.streams.commands.home import HOME
from taprail.streams.commands.policy_files import CONFIG, JSON, load_policies
from taprail.streams.commands.text import visible
from taprail.streams.commands.times import FAR_FUTURE_US, since_us

KINDS = ("denied", "held", "masked", "alerted", "lifted")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--reason", "-r", required=True, help="Why, in a sentence; the signed release keeps it.")
@click.option("--by", "released_by", default=getpass.getuser, help="Who releases it; default: who you are here.")
@click.option("--dry-run", is_flag=True, help="What is in force stays; the rest only says what it would do.")
@CONFIG
@HOME
def apply(folder: Path, reason: str, released_by: str, dry_run: bool, config: Path | None, home: Path) -> None:
    """Put the policies of FOLDER in force, all of them or none, on every tap within seconds.

    Every file is checked and every test run first. The set is signed with the control key, so this runs where the
    agents run. Records name the version that judged them.

    \b
    Examples:
      taprail policy apply policies --reason "agents may read the reports"
      taprail policy apply policies --reason "what would it stop?" --dry-run
    """
    from taprail.streams import settings
    from taprail.streams.policy.release import in_force, publish, release_of, trial_of

    loaded = settings.load(config or home / "taprail.toml")
    try:
        if dry_run:
            release = trial_of(folder, in_force(loaded), released_by, reason)
        else:
            release = release_of(folder, released_by, reason)
    except PolicyError as error:
        click.secho(str(error), fg="red", err=True)
        sys.exit(1)
    publish(loaded, release)
    click.echo(f"version {release.version} is released: {len(release.files)} files", err=True)


@click.command()
@CONFIG
@HOME
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(config: Path | None, home: Path, as_json: bool) -> None:
    """Say which policies are in force: version, since when, by whom and why.

    \b
    Examples:
      taprail policy status
      taprail policy status --json
    """
    from datetime import UTC, datetime

    from taprail.streams import settings
    from taprail.streams.policy.packs import shipped
    from taprail.streams.policy.release import current, opened

    loaded = settings.load(config or home / "taprail.toml")
    record = current(loaded)
    if record is None:
        told = {"version": shipped().version, "policies": len(shipped().policies), "source": "shipped"}
    else:
        release = opened(loaded, record)
        since = datetime.fromtimestamp(record.signed_us / 1_000_000, UTC).isoformat(timespec="seconds")
        told = {"version": release.version, "policies": len(release.files), "source": "release", "since": since,
                "by": release.released_by, "reason": release.reason}  # fmt: skip
    if as_json:
        click.echo(json.encode(told))
        return
    for name, value in told.items():
        click.echo(f"{name:<10}{visible(str(value))}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--since", default="90d", show_default=True, help="How far back: 90d, 12h, or a date as 2026-01-31.")
@click.option("--directory", type=click.Path(path_type=Path, exists=True), help="The log; a copy will do.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of the fact `now`.")
@click.option("--clear-group", "clear", multiple=True, default=["data-owners"], help="As `policy.clear_groups`.")
@click.option("--protected", multiple=True, default=["prod"], help="As `policy.protected`.")
@click.option(
    "--learning-days", type=click.IntRange(0, 365), default=0, show_default=True, help="As `policy.learning_days`."
)
@click.option(
    "--fail-on",
    type=click.Choice(["denied", "held", "masked", "alerted", "lifted"]),
    multiple=True,
    default=["denied", "held"],
    show_default=True,
    help="Exit with 1 where anything would newly be so.",
)
@JSON
@HOME
def backtest(
    folder: Path,
    since: str,
    directory: Path | None,
    zone: str,
    clear: tuple[str, ...],
    protected: tuple[str, ...],
    learning_days: int,
    fail_on: tuple[str, ...],
    as_json: bool,
    home: Path,
) -> None:
    """Judge what was run again, by the policies of FOLDER: who and what would newly be denied, held, masked, alerted.

    It asks the audit log alone, with the groups and the classes of data as they were then. Exit code 1 where --fail-on
    says so: a gate for CI.

    \b
    Examples:
      taprail policy backtest policies --since 30d
      taprail policy backtest policies --directory /mnt/copy/log --json
      taprail policy backtest policies --fail-on denied
    """
    from taprail.streams.policy.backtest import backtest as run
    from taprail.streams.policy.decision import RuleSettings
    from taprail.streams.policy.ruling import PolicySet

    used, rules = PolicySet(load_policies(folder)), RuleSettings(protected, clear)
    with _progress("statements") as progress:
        log, begin = directory or home / "log", since_us(since)
        report = run(log, used, rules, zone, begin, FAR_FUTURE_US, progress, learning_days)
    for each in report.differences:
        if as_json:
            click.echo(json.encode(each))
            continue
        click.secho(f"{each.kind:<8}{each.count:>8}  {each.policy}", bold=True, nl=False)
        click.echo(f"  {visible(each.person)} in {visible(each.database)}, first {each.first}")
        click.echo(f"    {visible(each.statement)}")
    counts = {kind: sum(d.count for d in report.differences if d.kind == kind) for kind in KINDS}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    click.echo(f"{report.statements} statements by version {report.version}: {told}", err=True)
    for reason, count in report.unreplayed.items():
        click.echo(f"{count} couldn't be judged again: {reason}", err=True)
    sys.exit(1 if any(counts[kind] for kind in fail_on) else 0)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
