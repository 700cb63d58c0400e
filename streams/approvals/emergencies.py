"""Break-glass: what is told of access that somebody has taken, until its review is closed."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from taprail.schemas.control import Grant
from taprail.schemas.records import Detection, Severity
from taprail.streams.approvals.access import EMERGENCY_RULE, words
from taprail.streams.approvals.shown import minutes
from taprail.streams.detections.incident import incident

REMIND_US = 24 * 3600 * 1_000_000
LATE_REVIEW = "break-glass-unreviewed"


class Emergency(Struct, frozen=True):
    """One whose review is open, and when somebody was last told of it."""

    grant: Grant
    told_us: int


def changed(before: Emergency | None, grant: Grant) -> tuple[Emergency | None, Detection | None]:
    """What is kept after this record of the grant, and what is told: once that it was taken, once that it is reviewed.

    Where the records are read again from the start, the same is told under the same id.
    """
    if grant.review == "open":
        if before is not None:
            return Emergency(grant, before.told_us), None
        summary = f"{words(grant)}, for {minutes((grant.until_us - grant.from_us) // 1_000_000)}: {grant.reason}"
        title = f"{grant.person.name} has taken emergency access to {grant.environment}"
        return Emergency(grant, grant.from_us), _told(grant, EMERGENCY_RULE, "", "critical", title, summary, "taken")
    reviewer = grant.reviewed_by.name if grant.reviewed_by is not None else "nobody"
    title = f"{reviewer} has reviewed the emergency access of {grant.person.name}"
    return None, _told(grant, "break-glass-reviewed", "", "informational", title, grant.findings, "reviewed")


def reminder(emergency: Emergency, now_us: int, url: str) -> tuple[Emergency, Detection | None]:
    """Every day that the review stays open, whoever answers for it hears of it."""
    grant = emergency.grant
    if now_us < emergency.told_us + REMIND_US:
        return emergency, None
    days = (now_us - grant.from_us) // REMIND_US
    title = f"the emergency access of {grant.person.name} isn't reviewed after {days} days"
    summary = f"{words(grant)}: {grant.reason}. {' or '.join(grant.approvers)} may close the review at {url}/access."
    told = _told(grant, LATE_REVIEW, str(days), "high", title, summary, "taken")
    return Emergency(grant, now_us), told


def _told(
    grant: Grant,
    rule: str,
    occasion: str,
    severity: Severity,
    title: str,
    summary: str,
    when: Literal["taken", "reviewed"],
) -> Detection:
    days_us = int(occasion or 0) * REMIND_US
    return incident(
        rule,
        f"{grant.grant_id}/{occasion}",
        time_us=grant.reviewed_us if when == "reviewed" else grant.from_us + days_us,
        severity=severity,
        title=title,
        summary=summary,
        record="grant",
        environment=grant.environment,
        database=grant.database,
        person=grant.person,
        relations=grant.relations,
    )
