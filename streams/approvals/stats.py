"""How approvals go: how many are asked for, how fast they are decided, and how many were waved through."""

from __future__ import annotations

from pathlib import Path

from taprail.streams.audit.questions import Answer, ask

RUBBER_STAMP_SECONDS = 5  # nobody has read a statement by then
_STATS = f"""
WITH ran AS (
    SELECT approval AS approval_id, min(time_us) AS ran_us FROM statements WHERE approval <> '' GROUP BY approval
), ended AS (
    SELECT statement, any_value(status) AS status, min(time_us) AS ended_us FROM outcomes
    WHERE status IN ('denied', 'expired', 'cancelled', 'unknown') GROUP BY statement
), asked AS (
    SELECT rule, environment, person_kind, ran_us, status,
           (coalesce(ran_us, ended_us) - time_us) / 1e6 AS waited
    FROM approvals LEFT JOIN ran USING (approval_id) LEFT JOIN ended USING (statement)
    WHERE time_us >= ? AND time_us < ?
)
SELECT rule, environment, count(*) AS asked, count(ran_us) AS approved,
       count(*) FILTER (ran_us IS NULL AND status = 'denied') AS refused,
       count(*) FILTER (ran_us IS NULL AND status = 'expired') AS expired,
       count(*) FILTER (ran_us IS NULL AND status IN ('cancelled', 'unknown')) AS cancelled,
       count(*) FILTER (waited IS NULL) AS waiting,
       round(median(waited), 1) AS median_s, round(quantile_cont(waited, 0.95), 1) AS p95_s,
       count(*) FILTER (ran_us IS NOT NULL AND waited < {RUBBER_STAMP_SECONDS}) AS rubber_stamped
FROM asked GROUP BY rule, environment ORDER BY asked DESC, rule, environment"""


def stats(directory: Path, since_us: int, until_us: int) -> Answer:
    """By rule and environment, of approvals asked for with since <= time < until (microseconds since 1970 UTC)."""
    return ask(directory, _STATS, [since_us, until_us])
