"""What changed policies would have done to what was run: the log's statements, judged again.

Equal statements are judged once; where a policy looks at the time or at what was done before, each moment is. A verdict
of a safeguard stays what it was, since policies don't change those.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from google.protobuf.message import Message
from msgspec import Struct, json, structs

from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import UNKNOWN_ROWS
from taprail.schemas.records import Action
from taprail.streams.audit.questions import ask
from taprail.streams.policy.changing import estimate_facts, now_facts
from taprail.streams.policy.decision import RuleSettings
from taprail.streams.policy.descriptor import message_class
from taprail.streams.policy.replay import FIELDS, STATEMENTS, Recorded, facts_of_record
from taprail.streams.policy.ruling import Live, PolicySet, Ruling
from taprail.streams.policy.safeguards import RULES_OF_SAFEGUARDS

_KEY = f"hash({', '.join(FIELDS)}, action, rule)"
_FROM = f"FROM {STATEMENTS} WHERE time_us >= ? AND time_us < ? AND coalesce(held_sequence, 0) = 0"
_GROUPS = f"""
SELECT {_KEY} AS key, {", ".join(f"any_value({name})" for name in FIELDS)}, any_value(action), any_value(rule),
       any_value(coalesce(matched, '[]')), count(*), min(time_us), max(time_us), arg_min(statement, leaf_index)
{_FROM} GROUP BY key ORDER BY min(leaf_index)"""
# What `HistoryFacts` counts, before each statement; what the planner expected, and which relations were new.
_COUNTED = f"""
WITH counted AS (
    SELECT s.*, {_KEY} AS key, o.rows AS its_rows, coalesce(o.ran, false) AS ran FROM {STATEMENTS} s
    LEFT JOIN (SELECT tap, statement_epoch AS epoch, statement_sequence AS sequence, max(rows) AS rows,
                      bool_or(status = 'ok') AS ran
               FROM outcomes GROUP BY ALL) o USING (tap, epoch, sequence)
)"""
# As `Familiar` has it: what has run once, in the same place, isn't new any more.
_NEW = """,
touched AS (
    SELECT leaf_index, time_us, ran, person_issuer, person_subject, environment, server, database,
           unnest(from_json(relations, '[{{"schema": "VARCHAR", "name": "VARCHAR"}}]')) AS used
    FROM counted
),
dated AS (
    SELECT leaf_index, time_us, if(used.schema = '', used.name, used.schema || '.' || used.name) AS name,
           min(time_us) FILTER (ran) OVER (PARTITION BY person_issuer, person_subject, environment, server, database,
                                                        used.schema, used.name) AS first_us
    FROM touched
),
novel AS (
    SELECT leaf_index, list(DISTINCT name ORDER BY name) AS new FROM dated
    WHERE coalesce(first_us, time_us) >= time_us AND time_us >= (SELECT min(time_us) FROM counted) + {learning_us}
    GROUP BY leaf_index
)"""
_MOMENTS = """
SELECT key, time_us // 60000000 AS minute,
    coalesce(sum(its_rows) OVER hour, 0), coalesce(sum((action <> 'deny')::int) OVER minute, 0),
    coalesce(sum((action = 'deny')::int) OVER hour, 0), {expected}, {new}
FROM {source} WHERE time_us >= ? AND time_us < ? AND coalesce(held_sequence, 0) = 0
WINDOW hour AS (PARTITION BY person_issuer, person_subject ORDER BY time_us
                RANGE BETWEEN 3600000000 PRECEDING AND 1 PRECEDING),
       minute AS (PARTITION BY person_issuer, person_subject ORDER BY time_us
                  RANGE BETWEEN 60000000 PRECEDING AND 1 PRECEDING)"""
_DAY_US = 86_400_000_000
_RANK: dict[str, int] = {"allow": 0, "mask": 1, "hold": 2, "deny": 3}
_HistoryFacts = message_class("HistoryFacts")
Kind = Literal["denied", "held", "masked", "alerted", "lifted"]


class Difference(Struct, frozen=True):
    """Equal statements of one person that would have gone otherwise. Times are microseconds since 1970 UTC.

    kind    newly denied, held, masked or alerted; `lifted`: what stopped it before wouldn't
    policy  that would do it; of `lifted`, the one that did
    first   id of the first such statement
    """

    kind: Kind
    policy: str
    person: str
    groups: str
    environment: str
    database: str
    statement: str
    before: Action
    after: Action
    count: int
    since_us: int
    until_us: int
    first: str


class Report(Struct, frozen=True):
    """`unreplayed` statements couldn't be judged again by their records, by the reason."""

    version: str
    statements: int
    groups: int
    differences: tuple[Difference, ...]
    unreplayed: dict[str, int]


class _Group(Struct, frozen=True):
    recorded: Recorded
    action: Action
    rule: str
    alerts: frozenset[str]
    count: int
    since_us: int
    until_us: int
    first: str


def backtest(
    directory: Path,
    policies: PolicySet,
    settings: RuleSettings,
    zone: str,
    since_us: int,
    until_us: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
    learning_days: int = 0,
) -> Report:
    """Raises RefusedError where the log can't be asked. `progress` hears of groups that are done, and of how many.

    No relation is new to anybody in the log's first `learning_days`.
    """
    times = [since_us, until_us]
    groups = {row[0]: _group(row) for row in ask(directory, _GROUPS, times).rows}
    unreplayed: dict[str, int] = defaultdict(int)
    found: list[Difference] = []
    later: dict[int, tuple[Ruling, Live]] = {}
    for done, (key, group) in enumerate(groups.items(), 1):
        if done % 100 == 0:
            progress(done, len(groups))
        try:
            ruling, live = policies.rule(facts_of_record(group.recorded, settings))
        except RefusedError as error:
            unreplayed[error.message] += group.count
            continue
        if live is None:
            found += _differences(group, ruling, group.count)
        else:
            later[key] = ruling, live
    if later:
        moments = ask(directory, _moments(policies, learning_days), times).rows
        found += _at_moments(policies, groups, later, moments, ZoneInfo(zone))
    total = sum(group.count for group in groups.values())
    return Report(policies.version, total, len(groups), tuple(found), dict(unreplayed))


def _moments(policies: PolicySet, learning_days: int) -> str:
    """The query; it asks only for what one of the policies does, for equal moments are judged once."""
    expected = "estimated_rows" if policies.asks_rows else str(UNKNOWN_ROWS)
    if not policies.asks_new:
        return _COUNTED + _MOMENTS.format(expected=expected, new="NULL", source="counted")
    source = "counted LEFT JOIN novel USING (leaf_index)"
    learns = _NEW.format(learning_us=learning_days * _DAY_US)
    return _COUNTED + learns + _MOMENTS.format(expected=expected, new="new", source=source)


def _at_moments(
    policies: PolicySet,
    groups: Mapping[int, _Group],
    later: Mapping[int, tuple[Ruling, Live]],
    moments: Iterable[tuple[Any, ...]],
    zone: ZoneInfo,
) -> list[Difference]:
    """Differences of groups whose policies look at the moment, each moment with its own facts."""
    found: dict[tuple[int, Kind, str], Difference] = {}
    known: dict[tuple[Any, ...], tuple[Difference, ...]] = {}
    for key, *moment, new in moments:
        if key not in later:
            continue
        moment.append(tuple(new or ()))
        asked = (key, *moment)
        if asked not in known:
            ruling, _ = policies.rule_live(*later[key], _changing(moment, zone))
            known[asked] = tuple(_differences(groups[key], ruling, 1))
        for difference in known[asked]:
            place = (key, difference.kind, difference.policy)
            before = found[place].count if place in found else 0
            found[place] = structs.replace(difference, count=before + 1)
    return list(found.values())


def _changing(moment: list[Any], zone: ZoneInfo) -> dict[str, Message]:
    minute, rows, statements, denied, expected, new = moment
    at = datetime.fromtimestamp(minute * 60, zone)
    return {
        "now": now_facts(at),
        "history": _HistoryFacts(
            rows_last_hour=int(rows),
            statements_last_minute=int(statements),
            denied_last_hour=int(denied),
            new_relations=new,
        ),
        "estimate": estimate_facts(expected),
    }


def _differences(group: _Group, ruling: Ruling, count: int) -> Iterable[Difference]:
    after, policy = _after(group, ruling)
    if _RANK[after] > _RANK[group.action]:
        kinds: dict[str, Kind] = {"deny": "denied", "hold": "held", "mask": "masked"}
        yield _difference(group, kinds[after], policy, after, count)
    elif _RANK[after] < _RANK[group.action]:
        yield _difference(group, "lifted", group.rule, after, count)
    for match in ruling.matches:
        if match.verdict == "alert" and not match.trial and match.policy not in group.alerts:
            yield _difference(group, "alerted", match.policy, after, count)


def _after(group: _Group, ruling: Ruling) -> tuple[Action, str]:
    """The verdict, and the policy that gives it."""
    if group.rule in RULES_OF_SAFEGUARDS:
        return group.action, group.rule
    policy = ruling.policy
    if policy is not None and policy.verdict in ("deny", "hold"):
        return ("deny" if policy.verdict == "deny" else "hold"), policy.id
    masks = next((m.policy for m in ruling.matches if m.verdict == "mask" and not m.trial), "")
    if masks:
        return "mask", masks
    return ("mask" if group.action == "mask" else "allow"), ""


def _difference(group: _Group, kind: Kind, policy: str, after: Action, count: int) -> Difference:
    recorded = group.recorded
    return Difference(
        kind,
        policy,
        recorded["person_name"] or recorded["person_subject"],
        recorded["person_groups"],
        recorded["environment"],
        recorded["database"],
        recorded["normalized"],
        group.action,
        after,
        count,
        group.since_us,
        group.until_us,
        group.first,
    )


def _group(row: tuple[Any, ...]) -> _Group:
    values, rest = row[1 : 1 + len(FIELDS)], row[1 + len(FIELDS) :]
    action, rule, matched, count, since_us, until_us, first = rest
    alerts = frozenset(m["policy"] for m in json.decode(matched) if m["verdict"] == "alert" and not m["trial"])
    return _Group(Recorded(values), action, rule, alerts, count, since_us, until_us, first)
