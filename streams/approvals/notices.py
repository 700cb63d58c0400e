"""What people are told of an approval: that it is asked for, decided, or ran out. No value of the statement is told.

The agents keep what they know of each approval and say each of its states once, however often a record is read.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from msgspec import Struct, field

from taprail.schemas.control import Decision
from taprail.schemas.records import (
    Alert,
    Approval,
    ApprovalState,
    ApprovalStatus,
    Detection,
    Severity,
    statement_id,
)
from taprail.streams.approvals.states import Course
from taprail.streams.approvals.votes import Count, question_of, who
from taprail.streams.detections.incident import incident

KEPT_US = 24 * 3600 * 1_000_000  # how long an approval that ended is remembered, so that nothing is told twice
TAP_SAYS_US = 3_000_000  # whoever waits at a tap is told there that the time is over, and the tap tells the stream


class Watched(Struct):
    """What is known of an approval, and which of its states have been told."""

    course: Course = field(default_factory=Course)
    told: list[ApprovalStatus] = field(default_factory=list)
    ended_us: int = 0


def steps(watched: Watched, now_us: int) -> list[ApprovalState]:
    """The states that nobody has been told yet, oldest first. `watched` remembers them as told."""
    course = watched.course
    approval = course.approval
    if approval is None:
        return []
    course.expire(now_us - TAP_SAYS_US if course.waits else now_us)
    counted, status = course.counted(), course.status()
    reached: list[ApprovalStatus] = ["requested"]
    if counted.answer:
        reached.append("approved" if counted.answer == "approve" else "refused")
    if status == "expired":
        reached.append(status)
    found = [_state(approval, each, counted, now_us) for each in reached if each not in watched.told]
    watched.told = reached
    if status not in ("requested", "approved"):
        watched.ended_us = watched.ended_us or now_us
    return found


def is_over(watched: Watched, now_us: int) -> bool:
    """Whether it may be forgotten."""
    approval = watched.course.approval
    if approval is None:
        last_us = max((vote.expires_us for vote in watched.course.votes), default=0)
    else:
        last_us = watched.ended_us or max(approval.expires_us, watched.course.runs_out_us())
    return now_us >= last_us + KEPT_US


def _state(approval: Approval, status: ApprovalStatus, counted: Count, now_us: int) -> ApprovalState:
    vote = counted.deciding if status in ("approved", "refused") else None
    person = approval.person if status == "requested" else vote.approver if vote is not None else None
    reasons = {"requested": approval.reason, "expired": "its time is over"}
    return ApprovalState(
        approval_id=approval.approval_id,
        time_us=approval.time_us if status == "requested" else vote.decided_us if vote is not None else now_us,
        status=status,
        environment=approval.environment,
        database=approval.database,
        person=person,
        reason=vote.reason if vote is not None else reasons.get(status, ""),
        ticket=vote.ticket if vote is not None else approval.ticket,
    )


def requested_alert(approval: Approval, url: str) -> Alert:
    minutes = max(1, round((approval.expires_us - approval.time_us) / 60_000_000))
    return _alert(
        approval,
        "requested",
        "medium",
        approval.time_us,
        f"{approval.person.name} asks for an approval in {_where(approval)}",
        f"{_what(approval)}: {approval.reason}. Within {minutes} min may decide: {who(question_of(approval))}.",
        f"{url.rstrip('/')}/approvals/{quote(approval.approval_id, safe='')}",
    )


def decided_alert(approval: Approval, decision: Decision) -> Alert:
    done = {"approve": "approved", "deny": "denied"}[decision.decision]
    return _alert(
        approval,
        "decided",
        "informational",
        decision.decided_us,
        f"{decision.approver.name} {done} what {approval.person.name} asked for in {_where(approval)}",
        f"{_what(approval)} was {done}.",
    )


def expired_detection(approval: Approval) -> Detection:
    return incident(
        "approval-expired",
        approval.approval_id,
        time_us=approval.expires_us,
        severity="low",
        title=f"nobody decided on what {approval.person.name} asked for in {_where(approval)}",
        summary=f"{_what(approval)} was asked for under {approval.rule}, and nothing came of it.",
        record="approval",
        environment=approval.environment,
        server=approval.server,
        database=approval.database,
        person=approval.person,
        purpose=approval.purpose,
        statement=(approval.tap, approval.epoch, approval.sequence),
        tag=approval.tag,
        relations=approval.relations,
    )


def _where(approval: Approval) -> str:
    return approval.database or approval.environment


def _what(approval: Approval) -> str:
    if approval.access is not None:
        access = approval.access
        to = f"role {access.role}" if access.role else "what policies hold"
        on = f" on {', '.join(access.relations)}" if access.relations else ""
        return f"Access to {to}{on} for {max(1, access.seconds // 60)} min"
    if approval.kind == "script":
        return f"A script of {approval.statements} statements on {', '.join(approval.relations) or 'nothing by name'}"
    return f"{approval.tag} on {', '.join(approval.relations) or 'nothing by name'}"


def _alert(
    approval: Approval,
    event: Literal["requested", "decided"],
    severity: Severity,
    time_us: int,
    title: str,
    summary: str,
    link: str = "",
) -> Alert:
    return Alert(
        alert_id=f"approval-{event}-{approval.approval_id}",
        time_us=time_us,
        detection_id="",
        rule=f"approval-{event}",
        severity=severity,
        title=title,
        summary=summary,
        environment=approval.environment,
        server=approval.server,
        database=approval.database,
        person=approval.person.name,
        statement=statement_id(approval.tap, approval.epoch, approval.sequence) if approval.tap else "",
        link=link,
        approval_id=approval.approval_id if event == "requested" else "",
    )
