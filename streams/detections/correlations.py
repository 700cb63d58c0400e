"""Matches of policies that belong together: many in a short time, of many values, or one after the other.

Each correlation keeps, for each group, the matches of its timespan; when they are enough there is one detection, and
the counting begins anew. The same matches give the same detection, so that a crash repeats it under its id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from taprail.schemas.records import Detection, Match, statement_id
from taprail.streams.detections.incident import incident
from taprail.streams.policy.policy import Correlation, Policy

KEPT_MAX = 1_000  # matches of a group; the oldest go first


class Counted(Struct, frozen=True):
    """A match, as far as it is counted."""

    time_us: int
    statement: str
    policy: str
    values: tuple[str, ...]


def key_of(policy: Policy, match: Match) -> str:
    """Names the group of a match; '' where the correlation doesn't count it."""
    correlation = policy.correlation
    if correlation is None or match.policy not in correlation.rules:
        return ""
    said = {
        "person": f"{match.person.issuer} {match.person.subject}",
        "environment": match.environment,
        "server": match.server,
        "database": match.database,
        "session": match.session,
    }
    return "\0".join((policy.id, *(said[name] for name in correlation.group_by)))


def counted(before: Sequence[Counted], match: Match, correlation: Correlation) -> list[Counted]:
    """The group's matches with this one, without what is too old by now. What comes twice counts once."""
    one = Counted(match.time_us, _id(match), match.policy, _values(match, correlation))
    newest_us = max((each.time_us for each in (*before, one)), default=0)
    kept = [each for each in before if each != one and each.time_us > newest_us - correlation.timespan_us]
    if one.time_us > newest_us - correlation.timespan_us:
        kept.append(one)
    return kept[-KEPT_MAX:]


def is_met(matches: Sequence[Counted], correlation: Correlation) -> bool:
    if correlation.type == "temporal":
        return {each.policy for each in matches} >= set(correlation.rules)
    assert correlation.condition is not None
    if correlation.type == "event_count":
        return len({each.statement for each in matches}) >= correlation.condition.gte
    return len({value for each in matches for value in each.values}) >= correlation.condition.gte


def detection_of(policy: Policy, matches: Sequence[Counted], last: Match) -> Detection:
    """What is told when they are enough."""
    rules = ", ".join(dict.fromkeys(each.policy for each in matches))
    statements = len({each.statement for each in matches})
    assert policy.correlation is not None
    return incident(
        policy.id,
        f"{key_of(policy, last)}\0{_id(last)}",
        time_us=last.time_us,
        severity=policy.level,
        title=f"{policy.title}: {last.person.name} in {last.database}",
        summary=f"{statements} statements within {policy.correlation.timespan}: {rules}.",
        record="match",
        environment=last.environment,
        server=last.server,
        database=last.database,
        person=last.person,
        purpose=last.purpose,
        statement=(last.tap, last.epoch, last.sequence),
        tag=last.tag,
        relations=last.relations,
    )


def stale(key: str, matches: Sequence[Counted], policies: Sequence[Policy], now_us: int) -> bool:
    """Whether a group may be forgotten: its correlation isn't in force, or all of it is too old."""
    policy = next((each for each in policies if each.id == key.partition("\0")[0]), None)
    if policy is None or policy.correlation is None:
        return True
    return all(each.time_us <= now_us - policy.correlation.timespan_us for each in matches)


def concerned(policies: Sequence[Policy], match: Match) -> Iterator[tuple[Policy, Correlation, str]]:
    """The correlations that count a match, each with the group's key."""
    for policy in policies:
        key = key_of(policy, match)
        if key and policy.correlation is not None:
            yield policy, policy.correlation, key


def _id(match: Match) -> str:
    return statement_id(match.tap, match.epoch, match.sequence)


def _values(match: Match, correlation: Correlation) -> tuple[str, ...]:
    field = correlation.condition.field if correlation.condition is not None else None
    if field == "relation":
        return match.relations
    found = {
        "database": match.database,
        "environment": match.environment,
        "person": match.person.subject,
        "policy": match.policy,
    }
    return (found[field],) if field is not None else ()
