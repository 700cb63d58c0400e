"""A sign-in was refused.

Why: one is a typing error; the reason and the address tell when it is not. Somebody who proved who he is, and whom
only the server didn't let in, isn't meant: a server that is down is no attack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taprail.streams.detections.found import Found


def detect(record: Mapping[str, Any]) -> Found | None:
    if record["event"] != "refused" or record["method"] != "none":
        return None
    return Found(
        "refused-sign-in",
        "low",
        f"a sign-in as {record['person']['name'] or 'nobody'} to {record['database']} was refused",
        f"from {record['client_address']}: {record['reason']}",
        alert=False,
    )
