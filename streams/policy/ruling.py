"""A set of policies, and what it says of a statement.

Everything that stays the same for equal statements of a session is decided once and kept with the verdict; a policy
that looks at the time or at what was done before is decided, where the rest of it holds, for every statement anew.

Of several policies the strictest decides: deny, then allow, then hold, then mask. So an exception (`allow`) lifts a
hold and no denial. An alert lets the statement run, and says so. What can't be answered counts against the statement:
a condition that fails makes its deny, hold, mask or alert hold, and its allow not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from google.protobuf.message import Message
from msgspec import Struct, json

from taprail.schemas.records import PolicyMatch
from taprail.streams.policy.conditions import Asks, Condition, Facts, Together, Unanswered, condition, holds
from taprail.streams.policy.policy import Policy, listed

CLIENT_FACTS = ("client", "address", "networks")
PLACES_MAX = 2_000  # persons and places whose candidates are known
_STRICT = {"deny": 0, "allow": 1, "hold": 2, "mask": 3, "alert": 4}


class _Questions(Struct, frozen=True):
    """Conditions that must hold, and ones that must not."""

    must: tuple[Condition, ...]
    must_not: tuple[Condition, ...]

    def decided(self, policy: Policy, answer: Callable[[Condition], bool | Unanswered]) -> tuple[bool, str]:
        """(whether it may match, why that couldn't be answered). One clear no is a no, whatever else failed."""
        failed = ""
        for wanted, conditions in ((True, self.must), (False, self.must_not)):
            for each in conditions:
                found = answer(each)
                if isinstance(found, Unanswered):
                    failed = failed or found.reason
                elif found is not wanted:
                    return False, ""
        return (policy.verdict != "allow", failed) if failed else (True, "")


class _Compiled(Struct, frozen=True):
    """A policy with its questions, apart by what they ask for."""

    policy: Policy
    place: _Questions
    statement: _Questions
    live: _Questions

    @property
    def is_live(self) -> bool:
        return bool(self.live.must or self.live.must_not) or self.policy.rows_per_hour is not None


class _Candidates:
    """The policies that may match where a session is, with what they ask of its statements, all at once."""

    def __init__(self, compiled: Sequence[tuple[_Compiled, str]]) -> None:
        self.compiled = compiled
        asked = {c.text: c for each, _ in compiled for c in (*each.statement.must, *each.statement.must_not)}
        self._texts = list(asked)
        self._together = Together(list(asked.values()), live=False)

    def answers(self, facts: Facts) -> Callable[[Condition], bool | Unanswered]:
        found = dict(zip(self._texts, self._together.answers(facts), strict=True))
        return lambda asked: found[asked.text]


class Live(NamedTuple):
    """Policies whose lasting part holds, with the facts that they were asked about."""

    compiled: tuple[_Compiled, ...]
    facts: Mapping[str, Message]

    @property
    def asks_rows(self) -> bool:
        """Whether one of them wants to know what the planner expects."""
        return any("estimate" in c.text for each in self.compiled for c in (*each.live.must, *each.live.must_not))


class Ruling(Struct, frozen=True):
    """What a set says: the policy that decides, None for none, and every policy that matches.

    failed  why the deciding policy couldn't be answered, '' where it could
    holds   where a hold decides: all that hold, by their ids, for whoever approves must be enough for each
    """

    policy: Policy | None = None
    matches: tuple[PolicyMatch, ...] = ()
    failed: str = ""
    holds: tuple[Policy, ...] = ()


class PolicySet:
    """Policies in force together. `version` names exactly these.

    correlations  those that look at matches of others; nobody asks them of a statement
    looks_back    one of them names what was done before
    asks_new      one of them names relations that somebody never used before
    asks_rows     one of them names what the planner expects
    names_client  one of them names the client, so that verdicts of other clients are others
    """

    def __init__(self, policies: Iterable[Policy]) -> None:
        self.policies = tuple(sorted(policies, key=lambda p: (_STRICT[p.verdict], p.id)))
        self.version = version_of(self.policies)
        alone = [p for p in self.policies if p.correlation is None]
        self.correlations = tuple(p for p in self.policies if p.correlation is not None and p.status != "deprecated")
        self._compiled = [_compiled(p) for p in alone if p.status != "deprecated"]
        self._places: dict[bytes, _Candidates] = {}
        self._shared: dict[tuple[tuple[int, str], ...], _Candidates] = {}
        live = [c for each in self._compiled for c in (*each.live.must, *each.live.must_not)]
        limited = any(each.policy.rows_per_hour is not None for each in self._compiled)
        self.looks_back = limited or any("history" in c.text for c in live)
        self.asks_new = any("new_relations" in c.text for c in live)
        self.asks_rows = any("estimate" in c.text for c in live)
        placed = [c for each in self._compiled for c in (*each.place.must, *each.place.must_not)]
        asked = [c for each in self._compiled for c in (*each.statement.must, *each.statement.must_not)]
        self.names_client = any(name in c.text for c in (*placed, *asked, *live) for name in CLIENT_FACTS)

    def rule(self, messages: Mapping[str, Message]) -> tuple[Ruling, Live | None]:
        """What is decided once, and what remains to be asked for every statement; None where nothing does."""
        facts = Facts(messages)
        candidates = self._candidates(facts)
        answer = candidates.answers(facts)
        matched: list[tuple[Policy, str]] = []
        later: list[_Compiled] = []
        for each, doubt in candidates.compiled:
            found, failed = each.statement.decided(each.policy, answer)
            if not found:
                continue
            if each.is_live:
                later.append(each)
            else:
                matched.append((each.policy, doubt or failed))
        return _ruling(matched), Live(tuple(later), messages) if later else None

    def _candidates(self, facts: Facts) -> _Candidates:
        """Decided once for each person and place; equal ones share theirs."""
        messages = facts.messages
        key = messages["person"].SerializeToString() + b"\0" + messages["session"].SerializeToString()
        found = self._places.get(key)
        if found is None:
            possible: list[tuple[int, str]] = []
            for index, each in enumerate(self._compiled):
                may, doubt = each.place.decided(each.policy, lambda asked: holds(asked, facts))
                if may:
                    possible.append((index, doubt))
            if len(self._places) >= PLACES_MAX:
                self._places, self._shared = {}, {}
            shared = tuple(possible)
            if shared not in self._shared:
                self._shared[shared] = _Candidates([(self._compiled[index], doubt) for index, doubt in possible])
            found = self._places[key] = self._shared[shared]
        return found

    def rule_live(
        self, ruling: Ruling, live: Live, changing: Mapping[str, Message]
    ) -> tuple[Ruling, tuple[Policy, ...]]:
        """The whole ruling, and the policies by which the statement may give so many rows and no more.

        `changing` are the facts `now`, `history` and `estimate`.
        """
        facts, history = Facts({**live.facts, **changing}), cast(Any, changing["history"])
        matched: list[tuple[Policy, str]] = []
        limits: list[Policy] = []
        for each in live.compiled:
            found, failed = each.live.decided(each.policy, lambda asked: holds(asked, facts))
            rows = each.policy.rows_per_hour
            if found and (rows is None or history.rows_last_hour >= rows):
                matched.append((each.policy, failed))
            elif found and each.policy.acts:
                limits.append(each.policy)
        return (_merged(ruling, _ruling(matched)) if matched else ruling), tuple(limits)


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

    def of(asks: Asks) -> _Questions:
        return _Questions(tuple(c for c in must if c.asks == asks), tuple(c for c in must_not if c.asks == asks))

    return _Compiled(policy, of("place"), of("statement"), of("live"))


def _ruling(matched: Sequence[tuple[Policy, str]]) -> Ruling:
    if not matched:
        return Ruling()
    matches = tuple(PolicyMatch(p.id, p.verdict, p.level, p.title, not p.acts) for p, _ in matched)
    deciding = [(p, failed) for p, failed in matched if p.acts and p.verdict != "alert"]
    policy, failed = min(deciding, key=lambda each: _STRICT[each[0].verdict], default=(None, ""))
    return Ruling(policy, matches, failed, tuple(p for p, _ in deciding if p.verdict == "hold"))


def _merged(one: Ruling, other: Ruling) -> Ruling:
    found = [each for each in (one, other) if each.policy is not None]
    strictest = min(found, key=lambda each: _STRICT[each.policy.verdict] if each.policy else 9, default=Ruling())
    holds = sorted((*one.holds, *other.holds), key=lambda policy: policy.id)
    return Ruling(strictest.policy, (*one.matches, *other.matches), strictest.failed, tuple(holds))
