"""Many refusals of one person in a short time: a script that probes, a stolen token, an agent out of hand."""

from __future__ import annotations

from typing import Any

from taprail.schemas.records import Detection
from taprail.streams.detections.incident import incident

WINDOW_SECONDS = 60.0
REFUSALS_MIN = 5
REFUSALS = frozenset({"denied-destructive", "agent-without-purpose", "refused-sign-in"})


def who(detection: Detection) -> str:
    """Whose refusals are counted together; '' for what is no refusal."""
    if detection.rule not in REFUSALS:
        return ""
    subject = detection.person.subject if detection.person else ""
    return f"{subject or 'nobody'}@{detection.environment}/{detection.database}"


def counted(ids: list[Any], detection: Detection) -> list[Any]:
    """The window's detections with this one. Ids rather than a number: what comes twice counts once."""
    known = detection.detection_id in ids or len(ids) >= REFUSALS_MIN
    return ids if known else [*ids, detection.detection_id]


def burst(ids: list[Any], detection: Detection, window_start_s: float) -> Detection | None:
    """The alarm, at the refusal that makes it many."""
    if len(ids) != REFUSALS_MIN or ids[-1] != detection.detection_id:
        return None
    name = detection.person.name if detection.person and detection.person.name else "nobody that is known"
    return incident(
        "many-refusals",
        f"{who(detection)}\0{window_start_s:.0f}",
        time_us=detection.time_us,
        severity="high",
        title=f"{name} was refused {REFUSALS_MIN} times within a minute in {detection.database}",
        summary=f"The last one: {detection.title}. Ask them; where it wasn't them, end their sessions.",
        record="detection",
        environment=detection.environment,
        server=detection.server,
        database=detection.database,
        person=detection.person,
        purpose=detection.purpose,
        statement=(detection.tap, detection.epoch, detection.sequence),
        tag=detection.tag,
        relations=detection.relations,
    )
