"""A policy's own tests: what must match does, and what must pass does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.message import Message
from msgspec import Struct

from taprail.schemas.errors import PolicyError, RefusedError
from taprail.streams.policy.conditions import DECIDED_ONCE
from taprail.streams.policy.example import facts_of_example
from taprail.streams.policy.policy import Example, Policy
from taprail.streams.policy.ruling import PolicySet, Ruling


class Tried(Struct, frozen=True):
    """One example of one policy. `wrong` says what isn't as it should be, '' for nothing."""

    policy: str
    sql: str
    must: str
    wrong: str = ""


def try_all(policies: Iterable[Policy]) -> Iterator[Tried]:
    for policy in policies:
        alone = PolicySet([policy])
        for must, examples in (("match", policy.tests.match), ("pass", policy.tests.passes)):
            for each in examples:
                example = Example(each) if isinstance(each, str) else each
                yield Tried(policy.id, example.sql, must, _wrong(alone, policy, example, must))


def _wrong(alone: PolicySet, policy: Policy, example: Example, must: str) -> str:
    try:
        rulings = list(rulings_of(alone, example, policy))
    except (RefusedError, PolicyError) as error:
        return f"can't be tried: {error}"
    if failed := next((ruling.failed for ruling in rulings if ruling.failed), ""):
        return f"couldn't be answered: {failed}"
    matches = any(ruling.matches for ruling in rulings)
    if must == "match" and not matches:
        return "must match, and doesn't"
    return "must pass, and matches" if must == "pass" and matches else ""


def rulings_of(policies: PolicySet, example: Example, policy: Policy | None = None) -> Iterator[Ruling]:
    """What the set says of each statement of the example."""
    for facts in facts_of_example(example, policy.tests.given if policy else None):
        yield rule_now(policies, facts)


def rule_now(policies: PolicySet, facts: Mapping[str, Message]) -> Ruling:
    """The whole ruling on all facts."""
    ruling, live = policies.rule({name: facts[name] for name in DECIDED_ONCE})
    if live is None:
        return ruling
    whole, _ = policies.rule_live(ruling, live, {name: facts[name] for name in facts if name not in DECIDED_ONCE})
    return whole
