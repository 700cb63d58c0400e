"""Somebody tried to drop or empty something where that is denied.

Why: the attempt matters even though nothing was lost: a mistaken terminal, a stolen token, an agent out of hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taprail.streams.detections.found import Found, named


def detect(record: Mapping[str, Any]) -> Found | None:
    if record["action"] != "deny" or not record["tag"].startswith(("DROP", "TRUNCATE")):
        return None
    who, where = record["person"]["name"], record["database"]
    return Found(
        "denied-destructive",
        "high",
        f"{who} tried {record['tag']} in {where}",
        f"{record['tag']} of {named(record)} was denied by {record['rule']}. Nothing was changed.",
    )
