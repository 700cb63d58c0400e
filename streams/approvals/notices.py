"""What people are told of an approval: that it is asked for, decided, or ran out. No value of the statement is told."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from msgspec import Struct

from taprail.schemas.control import Decision
from taprail.schemas.records import Alert, Approval, Detection, Severity, statement_id
from taprail.streams.approvals.pending import TRANSITIONS, State
from taprail.streams.detections.incident import incident

KEPT_US = 24 * 3600 * 1_000_000  # how long an approval that ended is remembered, so that nothing is told twice


class Watched(Struct):
    """An approval's state, and the approval once it is known: a decision may be read before what it decides on."""

    state: State
    until_us: int
    approval: Approval | None = None
    early: Decision | None = None


def asked(watched: Watched | None, approval: Approval) -> tuple[Watched, Decision | None, bool]:
    """The state with this approval, the decision that was there already, and whether approvers are to be told."""
    if watched is not None and watched.approval is not None:
        return watched, None, False
    after = Watched("requested", approval.expires_us, approval)
    if watched is not None and watched.early is not None:
        after, counts = decided(after, watched.early)
        if counts:
            return after, watched.early, False
    return after, None, True


def decided(watched: Watched | None, decision: Decision) -> tuple[Watched, bool]:
    """The state with this decision, and whether it counts: the first one on exactly this, made in time."""
    if watched is None:
        return Watched("requested", decision.expires_us + KEPT_US, None, decision), False
    approval = watched.approval
    if approval is None or watched.state not in ("requested", "expired"):
        return watched, False
    if decision.binding != approval.binding or decision.decided_us >= approval.expires_us:
        return watched, False
    return Watched(TRANSITIONS["requested", decision.decision], decision.decided_us + KEPT_US, approval), True


def ran_out(watched: Watched, now_us: int) -> Watched | None:
    """Its state as expired, where nobody has decided in time; None where nothing happens now."""
    if watched.state != "requested" or watched.approval is None or now_us < watched.until_us:
        return None
    return Watched(TRANSITIONS["requested", "expire"], now_us + KEPT_US, watched.approval)


def is_over(watched: Watched, now_us: int) -> bool:
    return now_us >= watched.until_us and (watched.state != "requested" or watched.approval is None)


def requested_alert(approval: Approval, url: str) -> Alert:
    minutes = max(1, round((approval.expires_us - approval.time_us) / 60_000_000))
    return _alert(
        approval,
        "requested",
        "medium",
        approval.time_us,
        f"{approval.person.name} asks for an approval in {approval.database}",
        f"{_what(approval)} is held by {approval.rule}: {approval.reason} "
        f"{' or '.join(approval.approvers) or 'nobody'} may decide within {minutes} min.",
        f"{url.rstrip('/')}/approvals/{quote(approval.approval_id, safe='')}",
    )


def decided_alert(approval: Approval, decision: Decision) -> Alert:
    done = {"approve": "approved", "deny": "denied"}[decision.decision]
    return _alert(
        approval,
        "decided",
        "informational",
        decision.decided_us,
        f"{decision.approver.name} {done} what {approval.person.name} asked for in {approval.database}",
        f"{_what(approval)} was {done}.",
    )


def expired_detection(approval: Approval) -> Detection:
    return incident(
        "approval-expired",
        approval.approval_id,
        time_us=approval.expires_us,
        severity="low",
        title=f"nobody decided on what {approval.person.name} asked for in {approval.database}",
        summary=f"{_what(approval)} was held by {approval.rule}, and didn't run.",
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


def _what(approval: Approval) -> str:
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
        statement=statement_id(approval.tap, approval.epoch, approval.sequence),
        link=link,
    )
