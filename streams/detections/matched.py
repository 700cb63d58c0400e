"""What policies that only alert, and policies that are being tried, have said of a statement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import convert

from taprail.schemas.records import Match, Person
from taprail.streams.detections.found import Found, named, relation_names

COUNTED = frozenset({"deny", "hold", "alert"})
_SHARED = (
    "time_us", "tap", "epoch", "sequence", "session", "environment", "server", "database", "purpose", "tag",
)  # fmt: skip
TOLD = frozenset({"medium", "high", "critical"})  # levels at which people are told at once


def matched(record: Mapping[str, Any]) -> list[Found]:
    """One for each such policy. What a policy in force has denied or held has detections of its own."""
    found = []
    for match in record["matched"]:
        if not match["trial"] and match["verdict"] != "alert":
            continue
        who, where = record["person"]["name"], record["database"]
        title = f"{match['title']}: {who} in {where}"
        summary = f"{record['tag']} on {named(record)}."
        if match["trial"]:
            title = f"would be {_PAST[match['verdict']]} by {match['policy']}: {who} in {where}"
        told = not match["trial"] and match["level"] in TOLD
        found.append(Found(match["policy"], match["level"], title, summary, alert=told))
    return found


def matches(record: Mapping[str, Any]) -> Iterator[Match]:
    """What correlations count: policies that denied, held or reported it, and would have."""
    for match in record["matched"]:
        if match["verdict"] in COUNTED:
            yield Match(
                policy=match["policy"],
                verdict=match["verdict"],
                trial=match["trial"],
                **{name: record[name] for name in _SHARED},
                person=convert(record["person"], Person),
                relations=relation_names(record),
            )


_PAST = {"deny": "denied", "allow": "allowed", "hold": "held", "mask": "masked", "alert": "reported"}
