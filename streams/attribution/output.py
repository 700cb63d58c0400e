"""Where each record of attribution goes. Detections and alerts also go into the audit log; changes are copied there by
the statement path, which reads `taprail.changes`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, json

from taprail.connectors.kafka.loop import Out
from taprail.connectors.kafka.registry import frame
from taprail.connectors.siem.ocsf import detection_finding
from taprail.schemas import avro
from taprail.schemas.records import AcceptedMark, Alert, Change, DeadLetter, Detection

AUDIT, SIEM = "taprail.audit", "taprail.siem"
# Topic, what must stay in order there, and the kind of an audit entry ('' for none).
_ROUTES: dict[type[Struct], tuple[str, Callable[[Any], str], str]] = {
    Change: ("taprail.changes", lambda r: f"{r.server}/{r.database}", ""),
    AcceptedMark: ("taprail.marks", lambda r: f"{r.tap}/{r.epoch}/{r.sequence}", ""),
    Detection: ("taprail.detections", lambda r: r.detection_id, "detection"),
    Alert: ("taprail.alerts", lambda r: r.alert_id, "alert"),
    DeadLetter: ("taprail.dead-letters", lambda r: f"{r.topic}/{r.partition}/{r.offset}", ""),
}


def register(register_schema: Callable[[str, dict[str, Any]], int]) -> Mapping[type[Struct], bytes]:
    """The frame of each record. Raises StackError where the registry doesn't answer."""
    return {kind: frame(register_schema(f"taprail.{kind.__name__}", avro.schema_of(kind))) for kind in _ROUTES}


def outs(record: Struct, frames: Mapping[type[Struct], bytes]) -> list[Out]:
    topic, key_of, kind = _ROUTES[type(record)]
    key, value = key_of(record).encode(), frames[type(record)] + avro.encode(record)
    found = [Out(topic, key, value)]
    if kind:
        found.append(Out(AUDIT, key, value, (("kind", kind.encode()),)))
    if isinstance(record, Detection):
        found.append(Out(SIEM, key, json.encode(detection_finding(record))))
    return found
