"""A set of policies, and what it says of a statement.

Everything that stays the same for equal statements of a session is decided once and kept with the verdict; a policy
that looks at the time or at what was done before is decided, where the rest of it holds, for every statement anew.

Of several policies the strictest decides: deny, then allow, then hold, then mask. So an exception (`allow`) lifts a
hold and no denial. An alert lets the statement run, and says so. What can't be answered counts against the statement:
a condition that fails makes its deny, hold, mask or alert hold, and its allow not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from google.protobuf.message import Message
from msgspec import Struct, json

from taprail.schemas.records import PolicyMatch
from taprail.streams.policy.conditions import Condition, Facts, Together, Unanswered, condition, holds
from taprail.streams.policy.policy import Policy, listed

_STRICT = {"deny": 0, "allow": 1, "hold": 2, "mask": 3, "alert": 4}


class _Compiled(Struct, frozen=True):
    """A policy with what must hold and what must not, apart by when it can be known."""

    policy: Policy
    once: tuple[Condition, ...]
    once_not: tuple[Condition, ...]
    live: tuple[Condition, ...]
    live_not: tuple[Condition, ...]


class Live(NamedTuple):
    """Policies whose lasting part holds, with the facts that they were asked about."""

    compiled: tuple[_Compiled, ...]
    facts: Mapping[str, Message]


class Ruling(Struct, frozen=True):
    """What a set says: the policy that decides, None for none, and every policy that matches.

    failed  why the deciding policy couldn't be answered, '' where it could
    """

    policy: Policy | None = None
    matches: tuple[PolicyMatch, ...] = ()
    failed: str = ""


class PolicySet:
    """Policies in force together. `version` names exactly these; `looks_back` where one names what was done before."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self.policies = tuple(sorted(policies, key=lambda p: (_STRICT[p.verdict], p.id)))
        self.version = version_of(self.policies)
        used = [_compiled(p) for p in self.policies if p.status != "deprecated"]
        self._compiled = used
        self._slices: list[tuple[int, int, int]] = []
        asked: list[Condition] = []
        for each in used:
            begin = len(asked)
            asked += each.once
            middle = len(asked)
            asked += each.once_not
            self._slices.append((begin, middle, len(asked)))
        self._together = Together(asked, live=False)
        self.looks_back = any("history" in c.text for each in used for c in (*each.live, *each.live_not))

    def rule(self, messages: Mapping[str, Message]) -> tuple[Ruling, Live | None]:
        """What is decided once, and what remains to be asked for every statement; None where nothing does."""
        facts = Facts(messages)
        answers = self._together.answers(facts)
        matched: list[tuple[Policy, str]] = []
        later: list[_Compiled] = []
        for each, (begin, middle, end) in zip(self._compiled, self._slices, strict=True):
            found, failed = _decided(each.policy, answers[begin:middle], answers[middle:end])
            if not found:
                continue
            if each.live or each.live_not:
                later.append(each)
            else:
                matched.append((each.policy, failed))
        return _ruling(matched), Live(tuple(later), messages) if later else None

    def rule_live(self, ruling: Ruling, live: Live, changing: Mapping[str, Message]) -> Ruling:
        """The whole ruling. `changing` are the facts `now` and `history`."""
        facts = Facts({**live.facts, **changing})
        matched: list[tuple[Policy, str]] = []
        for each in live.compiled:
            answers = [holds(asked, facts) for asked in each.live]
            nots = [holds(asked, facts) for asked in each.live_not]
            found, failed = _decided(each.policy, answers, nots)
            if found:
                matched.append((each.policy, failed))
        return _merged(ruling, _ruling(matched)) if matched else ruling


class InForce:
    """The policies in force in a process. Whoever judges takes new ones over with its next statement.

    Those of a folder of the installation's own (`local`) come before the ones that were `released` to all.
    """

    def __init__(self, released: PolicySet, local: PolicySet | None = None) -> None:
        self._released, self._local, self._next = released, local, local
        self.policies = local or released

    def put(self, released: PolicySet) -> None:
        self._released = released
        self.policies = self._local or released

    def prepare(self, local: PolicySet | None) -> None:
        """What a reload has read, until it is known to work."""
        self._next = local

    def commit(self) -> None:
        """What was prepared counts from now on."""
        self._local = self._next
        self.policies = self._local or self._released


def version_of(policies: Iterable[Policy]) -> str:
    """A hash of all that policies say, their tests aside."""
    said = [json.encode({**json.decode(json.encode(p)), "tests": {}}, order="sorted") for p in policies]
    return hashlib.sha256(b"\n".join(sorted(said))).hexdigest()[:16]


def _compiled(policy: Policy) -> _Compiled:
    must = [condition(text) for text in (*policy.where.conditions(), *listed(policy.match))]
    must_not = [condition(text) for text in listed(policy.unless)]
    return _Compiled(
        policy,
        tuple(c for c in must if not c.live),
        tuple(c for c in must_not if not c.live),
        tuple(c for c in must if c.live),
        tuple(c for c in must_not if c.live),
    )


def _decided(
    policy: Policy, answers: Sequence[bool | Unanswered], nots: Sequence[bool | Unanswered]
) -> tuple[bool, str]:
    """(whether it matches, why it couldn't be answered). One clear no is enough for a no, whatever else failed."""
    if any(answer is False for answer in answers) or any(answer is True for answer in nots):
        return False, ""
    failed = next((answer.reason for answer in (*answers, *nots) if isinstance(answer, Unanswered)), "")
    return (policy.verdict != "allow", failed) if failed else (True, "")


def _ruling(matched: Sequence[tuple[Policy, str]]) -> Ruling:
    if not matched:
        return Ruling()
    matches = tuple(PolicyMatch(p.id, p.verdict, p.level, p.title, not p.acts) for p, _ in matched)
    deciding = [(p, failed) for p, failed in matched if p.acts and p.verdict != "alert"]
    policy, failed = min(deciding, key=lambda each: _STRICT[each[0].verdict], default=(None, ""))
    return Ruling(policy, matches, failed)


def _merged(one: Ruling, other: Ruling) -> Ruling:
    found = [each for each in (one, other) if each.policy is not None]
    strictest = min(found, key=lambda each: _STRICT[each.policy.verdict] if each.policy else 9, default=Ruling())
    return Ruling(strictest.policy, (*one.matches, *other.matches), strictest.failed)
