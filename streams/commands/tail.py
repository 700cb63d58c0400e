"""`taprail tail`: one live view over all environments."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from taprail.schemas import avro, records
from taprail.schemas.records import Alert, Change, Detection, Outcome, Session, Statement, statement_id
from taprail.streams.commands.home import HOME
from taprail.streams.commands.text import visible

TOPICS: dict[str, type[msgspec.Struct]] = {
    "taprail.sessions": records.Session,
    "taprail.statements": records.Statement,
    "taprail.outcomes": records.Outcome,
    "taprail.changes": records.Change,
    "taprail.detections": records.Detection,
    "taprail.approvals": records.Approval,
    "taprail.alerts": records.Alert,
}
COLOURS = {"deny": "red", "hold": "yellow", "mask": "cyan", "refused": "red", "unattributed": "red", "alert": "red"}


@click.command()
@click.option("--environment", "-e", multiple=True, help="Only these environments.")
@click.option("--database", "-d", multiple=True, help="Only these databases.")
@click.option("--person", "-p", multiple=True, help="Only these people, services or agents (subject or name).")
@click.option("--kind", "-k", multiple=True, type=click.Choice([t.removeprefix("taprail.") for t in TOPICS]))
@click.option("--since", default="", metavar="TIME", help="Start there: `10m`, `2h`, or an ISO time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, every field.")
@click.option("--count", type=int, default=0, help="Stop after so many records.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings; default: those of --home.")
@HOME
def tail(
    environment: tuple[str, ...],
    database: tuple[str, ...],
    person: tuple[str, ...],
    kind: tuple[str, ...],
    since: str,
    as_json: bool,
    count: int,
    config: Path | None,
    home: Path,
) -> None:
    """Show what happens as it happens, in every environment, until Ctrl-C.

    \b
    Examples:
      taprail tail
      taprail tail --environment prod --person ann --kind statements --kind alerts
      taprail tail --since 10m --json --count 100
    """
    from taprail.connectors.kafka.follow import Follower
    from taprail.streams import settings

    loaded = settings.load(config or home / "taprail.toml")
    wanted = [topic for topic in TOPICS if not kind or topic.removeprefix("taprail.") in kind]
    decoders = {topic: avro.decoder(TOPICS[topic]) for topic in wanted}
    shown = 0
    with Follower(loaded.kafka("viewer").client_config("viewer"), decoders, since_us=_since(since)) as follower:
        for followed in follower:
            if not _matches(followed.record, environment, database, person):
                continue
            click.echo(_json(followed.topic, followed.record) if as_json else _line(followed.record))
            sys.stdout.flush()
            shown += 1
            if shown == count:
                return


def _matches(record: Any, environments: tuple[str, ...], databases: tuple[str, ...], people: tuple[str, ...]) -> bool:
    actor = record.person
    names = {actor} if isinstance(actor, str) else {actor.subject, actor.name} if actor else set()
    return (
        (not environments or record.environment in environments)
        and (not databases or record.database in databases)
        and (not people or bool(names & set(people)))
    )


def _since(text: str) -> int | None:
    if not text:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if text[-1:] in units and text[:-1].isdecimal():
        moment = datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * units[text[-1]])
    else:
        try:
            moment = datetime.fromisoformat(text).astimezone(UTC)
        except ValueError:
            raise click.BadParameter(f"{text!r} is neither like `10m` nor an ISO time", param_hint="--since") from None
    return int(moment.timestamp() * 1_000_000)


def _json(topic: str, record: msgspec.Struct) -> str:
    return msgspec.json.encode({"topic": topic, **msgspec.structs.asdict(record)}).decode()


def _line(record: Any) -> str:
    """One record in one line: time, place, who, what."""
    clock = datetime.fromtimestamp(record.time_us / 1_000_000).strftime("%H:%M:%S.%f")[:-3]
    who = record.person if isinstance(record.person, str) else record.person.name if record.person else "?"
    what, colour = _told(record)
    place = f"{visible(record.environment):<8} {visible(record.database):<12}"
    return f"{clock}  {place} {visible(who):<16} {click.style(visible(what), fg=colour)}"


def _told(record: Any) -> tuple[str, str | None]:
    colour = partial(COLOURS.get)
    match record:
        case Statement():
            rule = f" [{record.rule}]" if record.rule else ""
            return f"{record.action:<5} {' '.join(record.normalized.split())[:120]}{rule}", colour(record.action)
        case Outcome():
            name = statement_id(record.tap, record.statement_epoch, record.statement_sequence)
            rows = f"{record.rows} rows, {record.duration_us / 1000:.1f} ms"
            return f"      {record.status} {name}: {rows} {record.sqlstate}".rstrip(), None
        case Session():
            return f"session {record.event} from {record.client_address} {record.reason}", colour(record.event)
        case Change():
            place = f"{record.operation} {record.schema}.{record.table} {record.key}"
            return f"change {place} ({record.attribution})", colour(record.attribution)
        case Detection():
            return f"detected {record.rule}: {record.title}", "yellow"
        case Alert():
            return f"ALERT {record.severity}: {record.title}", colour("alert")
        case _:
            return f"approval asked for: {' '.join(record.normalized.split())[:100]} ({record.approval_id})", "yellow"
