"""A statement returned very many rows.

Why: data leaves in bulk through ordinary reads. Reads of relations with personal data weigh more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from taprail.streams.detections.found import Found, named

READING_TAGS = ("SELECT", "COPY", "FETCH", "EXECUTE", "TABLE", "VALUES")


def rule(rows_min: int) -> Callable[[Mapping[str, Any]], Found | None]:
    """The rule for reads of at least `rows_min` rows."""

    def detect(record: Mapping[str, Any]) -> Found | None:
        if record["rows"] < rows_min or not record["tag"].startswith(READING_TAGS) or record["bytes"] == 0:
            return None
        personal = any(relation["classes"] for relation in record["relations"])
        who = record["person"]["name"]
        return Found(
            "large-read",
            "high" if personal else "medium",
            f"{who} read {record['rows']} rows in {record['database']}",
            f"{record['rows']} rows, {record['bytes']} bytes of {named(record)}"
            + (", which hold personal data." if personal else "."),
        )

    return detect
