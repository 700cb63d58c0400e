"""How approvals go: how many are asked for, how fast they are decided, and how many were waved through."""

from __future__ import annotations

from pathlib import Path

from taprail.streams.audit.questions import Answer, ask

RUBBER_STAMP_SECONDS = 5  # nobody has read a statement by then
_STATS = f"""
WITH told AS (
    SELECT approval_id,
           min(time_us) FILTER (status = 'approved') AS approved_us,
           min(time_us) FILTER (status IN ('approved', 'refused')) AS decided_us,
           bool_or(status = 'refused') AS refused, bool_or(status = 'expired') AS expired,
           bool_or(status = 'cancelled') AS cancelled, bool_or(status = 'failed') AS failed
    FROM approval_states GROUP BY approval_id
), asked AS (
    SELECT rule, environment, told.*, (decided_us - time_us) / 1e6 AS waited,
           approved_us IS NULL AND NOT coalesce(refused OR expired OR cancelled, false) AS waiting
    FROM (SELECT DISTINCT approval_id, rule, environment, time_us FROM approvals) LEFT JOIN told USING (approval_id)
    WHERE time_us >= ? AND time_us < ?
), spared AS (
    SELECT rule, environment, count(*) AS spared FROM statements
    WHERE approval <> '' AND held_sequence = 0 AND time_us >= ? AND time_us < ? GROUP BY rule, environment
)
SELECT rule, environment, count(approval_id) AS asked, count(approved_us) AS approved,
       count(*) FILTER (refused) AS refused, count(*) FILTER (expired) AS expired,
       count(*) FILTER (cancelled) AS cancelled, count(*) FILTER (failed) AS failed,
       count(*) FILTER (waiting AND approval_id IS NOT NULL) AS waiting,
       round(median(waited), 1) AS median_s, round(quantile_cont(waited, 0.95), 1) AS p95_s,
       count(*) FILTER (approved_us IS NOT NULL AND waited < {RUBBER_STAMP_SECONDS}) AS rubber_stamped,
       coalesce(any_value(spared), 0) AS spared
FROM asked FULL JOIN spared USING (rule, environment)
GROUP BY rule, environment ORDER BY asked DESC, rule, environment"""


def stats(directory: Path, since_us: int, until_us: int) -> Answer:
    """By rule and environment, of approvals asked for with since <= time < until (microseconds since 1970 UTC).

    `spared` are statements that ran without asking again: on a remembered approval, or on access for a time.
    """
    return ask(directory, _STATS, [since_us, until_us] * 2)
