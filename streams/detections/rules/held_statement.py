"""A statement waits for an approver.

Why: whoever may decide should know at once, and the requester waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taprail.streams.detections.found import Found, named


def detect(record: Mapping[str, Any]) -> Found | None:
    if record["action"] != "hold":
        return None
    return Found(
        "statement-held",
        "medium",
        f"{record['person']['name']} waits for an approval in {record['database']}",
        f"{record['tag']} on {named(record)} is held by {record['rule']}.",
        alert=False,  # the agents tell the approvers, with the link
    )
