"""An agent acted without saying what for.

Why: an agent that doesn't state a purpose can't be held to one. The tap refuses it; many refusals show an agent that
is set up wrongly, or that probes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taprail.streams.detections.found import Found


def detect(record: Mapping[str, Any]) -> Found | None:
    if record["rule"] != "agent-purpose" or record["action"] != "deny":
        return None
    return Found(
        "agent-without-purpose",
        "low",
        f"agent {record['person']['name']} stated no purpose in {record['database']}",
        f"{record['tag']} was refused.",
        alert=False,
    )
