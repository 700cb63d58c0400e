"""`taprail demo`: start an installation, make its world, play the story, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from msgspec import json

from taprail.connectors.kafka.follow import Follower
from taprail.connectors.local.identity import access_token
from taprail.schemas import avro, records
from taprail.schemas.endpoints import Endpoints
from taprail.streams.approvals.client import ApprovalsClient
from taprail.streams.demo import world
from taprail.streams.demo.clients import Tap
from taprail.streams.demo.play import Played, play
from taprail.streams.demo.receiver import Receiver
from taprail.streams.demo.story import Scene
from taprail.streams.local import LocalInstallation
from taprail.streams.settings import Loaded

EVIDENCE_CHARACTERS_MAX = 160
FOLLOWED = {
    "taprail.statements": avro.decoder(records.Statement),
    "taprail.changes": avro.decoder(records.Change),
    "taprail.alerts": avro.decoder(records.Alert),
}


def run_demo(
    installation: LocalInstallation, receiver: Receiver, report: Path | None, say: Callable[[str], None]
) -> tuple[Loaded, bool]:
    """Play the story; returns the settings and whether every step held. `report` gets the steps as JSON.

    `receiver` is where the installation's alerts go.
    """
    started = time.perf_counter()
    loaded = installation.start(_make_world)
    say(f"everything is up after {time.perf_counter() - started:.1f} s\n")
    if (webhook := loaded.settings.alerts.webhook) is not None:
        receiver.secret = loaded.secret(webhook.secret)
    scene = _scene(installation, loaded, receiver)
    played = []
    for result in play(scene.steps()):
        played.append(result)
        say(told(result))
    held = all(p.held for p in played)
    seconds = time.perf_counter() - started
    say(f"{sum(p.held for p in played)} of {len(played)} steps held; {seconds:.1f} s in all")
    if report is not None:
        whole = {"held": held, "seconds": round(seconds, 1), "steps": played}
        report.write_bytes(json.format(json.encode(whole)) + b"\n")
    return loaded, held


def told(played: Played) -> str:
    """A step for people: its sentence, how it went, and the evidence."""
    mark = click.style("held", fg="green") if played.held else click.style("FAILED", fg="red")
    lines = [f"{played.step}. {played.title}", f"   {mark} in {played.milliseconds} ms"]
    for name, value in played.evidence.items():
        text = " | ".join(map(str, value)) if isinstance(value, list) else str(value)
        text = " ".join(text.split())
        lines.append(f"   {name}: {text[:EVIDENCE_CHARACTERS_MAX]}{'…' if len(text) > EVIDENCE_CHARACTERS_MAX else ''}")
    if played.error:
        lines.append(f"   {played.error}")
    return "\n".join(lines) + "\n"


def _make_world(endpoints: Endpoints) -> None:
    for database in world.DATABASES:
        world.seed(endpoints.postgres.dsn(database))


def _scene(installation: LocalInstallation, loaded: Loaded, receiver: Receiver) -> Scene:
    endpoints, tap = installation.endpoints, loaded.settings.tap
    approvals = ApprovalsClient(loaded.settings.approvals.url)

    def token(person: str) -> str:
        return access_token(endpoints.issuer_url, person)

    def pending(person: str) -> list[dict[str, Any]]:
        return approvals.pending(token(person))

    def approve(person: str, approval_id: str) -> str:
        return approvals.decide(token(person), approval_id, "approve", "the carts are abandoned")

    return Scene(
        tap=Tap(tap.host, tap.port, endpoints.psql, token),
        round_the_tap=endpoints.postgres.dsn("prod"),
        follow=lambda: Follower(loaded.kafka("viewer").client_config("viewer"), FOLLOWED),
        pending=pending,
        approve=approve,
        delivered=receiver.wait_for,
        log=loaded.path(loaded.settings.ledger.directory),
        public_key=loaded.path(loaded.settings.ledger.public_key),
    )
