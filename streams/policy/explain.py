"""Why: what each policy says of a statement, condition by condition, and what comes of it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct, structs

from taprail.schemas.records import Action
from taprail.streams.policy.changing import estimate_facts, now_facts
from taprail.streams.policy.conditions import Facts, Unanswered, condition, holds
from taprail.streams.policy.decision import Decision, RuleSettings
from taprail.streams.policy.descriptor import message_class
from taprail.streams.policy.example import facts_of_example, safeguards_of_example
from taprail.streams.policy.policy import Example, Policy, Verb, listed
from taprail.streams.policy.replay import Recorded, facts_of_record
from taprail.streams.policy.ruling import PolicySet
from taprail.streams.policy.trial import rule_now


class Asked(Struct, frozen=True):
    """A condition and its answer: `true`, `false`, or why there is none."""

    part: Literal["where", "match", "unless", "rows_per_hour"]
    text: str
    answer: str


class Said(Struct, frozen=True):
    policy: str
    verdict: Verb
    matches: bool
    trial: bool
    conditions: tuple[Asked, ...]

    @property
    def conditions_against(self) -> tuple[Asked, ...]:
        """Of a policy that doesn't match: the first condition that keeps it from doing so."""
        against = (c for c in self.conditions if c.answer == ("true" if c.part == "unless" else "false"))
        return tuple(list(against)[:1])


class Explained(Struct, frozen=True):
    """Of one statement. `rule` decides, '' where nothing had to."""

    statement: str
    action: Action
    rule: str
    reason: str
    hint: str
    policies: tuple[Said, ...]
    safeguards: tuple[Decision, ...]


def explain(policies: Iterable[Policy], example: Example) -> Iterator[Explained]:
    """One for each statement of the example's text. Raises RefusedError for what isn't SQL."""
    used = PolicySet(policies)
    for messages, (text, masked, decisions) in zip(
        facts_of_example(example), safeguards_of_example(example), strict=True
    ):
        facts = Facts(messages)
        matching = {match.policy for match in rule_now(used, messages).matches}
        said = tuple(
            Said(p.id, p.verdict, p.id in matching, not p.acts, tuple(_asked(p, facts)))
            for p in used.policies
            if p.correlation is None
        )
        ruling = rule_now(used, messages)
        denial = next((d for d in decisions if d.action == "deny"), None)
        held = next((d for d in decisions if d.action == "hold"), None)
        policy = ruling.policy
        if denial is None and policy is not None and policy.verdict == "deny":
            yield Explained(text, "deny", policy.id, policy.message or policy.title, policy.hint, said, decisions)
        elif (decision := denial or held) is not None:
            yield Explained(text, decision.action, decision.rule, decision.reason, decision.hint, said, decisions)
        elif policy is not None and policy.verdict == "hold":
            yield Explained(text, "hold", policy.id, policy.message or policy.title, policy.hint, said, decisions)
        else:
            hidden = masked or any(m.verdict == "mask" and not m.trial for m in ruling.matches)
            yield Explained(text, "mask" if hidden else "allow", "", "", "", said, decisions)


def why(
    policies: Iterable[Policy], recorded: Recorded, settings: RuleSettings, zone: str, decided: Explained
) -> Explained:
    """A recorded statement: `decided` is what its record says of it; conditions are asked about the facts of then.

    What was done before it isn't known here, so `history` is empty. Raises RefusedError where the record doesn't tell
    what the statement was.
    """
    at = datetime.fromtimestamp(recorded.time_us / 1_000_000, ZoneInfo(zone))
    messages = facts_of_record(recorded, settings) | {
        "now": now_facts(at),
        "history": message_class("HistoryFacts")(),
        "estimate": estimate_facts(recorded.expected),
    }
    used, facts = PolicySet(policies), Facts(messages)
    matching = {match.policy for match in rule_now(used, messages).matches}
    said = tuple(
        Said(p.id, p.verdict, p.id in matching, not p.acts, tuple(_asked(p, facts)))
        for p in used.policies
        if p.correlation is None
    )
    return structs.replace(decided, policies=said)


def _asked(policy: Policy, facts: Facts) -> Iterator[Asked]:
    parts: tuple[tuple[Literal["where", "match", "unless"], tuple[str, ...]], ...] = (
        ("where", policy.where.conditions()),
        ("match", listed(policy.match)),
        ("unless", listed(policy.unless)),
    )
    for part, texts in parts:
        for text in texts:
            answer = holds(condition(text), facts)
            yield Asked(
                part, " ".join(text.split()), answer.reason if isinstance(answer, Unanswered) else str(answer).lower()
            )
    if policy.rows_per_hour is not None:
        used_up = f"history.rows_last_hour >= {policy.rows_per_hour}"
        yield Asked("rows_per_hour", used_up, str(holds(condition(used_up), facts)).lower())
