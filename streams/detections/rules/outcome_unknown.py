"""Nobody saw how a statement ended.

Why: the tap or the server died in the middle; whether the statement took effect is for a person to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taprail.streams.detections.found import Found


def detect(record: Mapping[str, Any]) -> Found | None:
    if record["status"] != "unknown":
        return None
    return Found(
        "outcome-unknown",
        "medium",
        f"it is unknown how a statement of {record['person']['name']} in {record['database']} ended",
        f"{record['tag']}, statement {record['tap']}/{record['statement_epoch']}/{record['statement_sequence']}.",
    )
