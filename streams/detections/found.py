"""From what a rule found to the detection and the alert that people see. No row's value is in either."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, convert

from taprail.schemas.records import Alert, Detection, Person, Severity, statement_id

NAMES_MAX = 10  # in a text for people


class Found(Struct, frozen=True):
    """A rule's answer. `alert` says whether people are told at once."""

    rule: str
    severity: Severity
    title: str
    summary: str
    alert: bool = True


def relation_names(record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{r['schema']}.{r['name']}" if r["schema"] else r["name"] for r in record.get("relations", ()))


def named(record: Mapping[str, Any]) -> str:
    """The relations in a text for people: a statement may name thousands."""
    names = relation_names(record)
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return (", ".join(names[:NAMES_MAX]) or "nothing by name") + more


def detection_of(found: Found, record: Mapping[str, Any], kind: str) -> Detection:
    """The same rule on the same record gives the same id, however often it is computed."""
    tap, epoch, sequence = record["tap"], record["epoch"], record["sequence"]
    seed = f"{found.rule}\0{tap}\0{epoch}\0{sequence}".encode()
    return Detection(
        detection_id=hashlib.sha256(seed).hexdigest()[:32],
        time_us=record["time_us"],
        rule=found.rule,
        severity=found.severity,
        title=found.title,
        summary=found.summary,
        environment=record["environment"],
        server=record["server"],
        database=record["database"],
        person=convert(record["person"], Person),
        purpose=record.get("purpose", ""),
        tap=tap,
        epoch=epoch,
        sequence=sequence,
        record=kind,
        tag=record.get("tag", ""),
        relations=relation_names(record),
        policy_version=record.get("policy_version", ""),
    )


def alert_of(detection: Detection) -> Alert:
    return Alert(
        alert_id=f"alert-{detection.detection_id}",
        time_us=detection.time_us,
        detection_id=detection.detection_id,
        rule=detection.rule,
        severity=detection.severity,
        title=detection.title,
        summary=detection.summary,
        environment=detection.environment,
        server=detection.server,
        database=detection.database,
        person=detection.person.name if detection.person else "",
        statement=statement_id(detection.tap, detection.epoch, detection.sequence) if detection.tap else "",
    )
