"""Detections that are about more than one record: a gap, a burst, an approval that ran out."""

from __future__ import annotations

import hashlib

from taprail.schemas.records import Detection, Person, Severity


def incident(
    rule: str,
    key: str,
    *,
    time_us: int,
    severity: Severity,
    title: str,
    summary: str,
    record: str,
    environment: str = "",
    server: str = "",
    database: str = "",
    person: Person | None = None,
    purpose: str = "",
    statement: tuple[str, int, int] = ("", 0, 0),
    tag: str = "",
    relations: tuple[str, ...] = (),
) -> Detection:
    """`key` names the occasion: the same rule on the same occasion gives the same id, however often it is computed."""
    tap, epoch, sequence = statement
    return Detection(
        detection_id=hashlib.sha256(f"{rule}\0{key}".encode()).hexdigest()[:32],
        time_us=time_us,
        rule=rule,
        severity=severity,
        title=title,
        summary=summary,
        environment=environment,
        server=server,
        database=database,
        person=person,
        purpose=purpose,
        tap=tap,
        epoch=epoch,
        sequence=sequence,
        record=record,
        tag=tag,
        relations=relations,
        policy_version="",
    )
