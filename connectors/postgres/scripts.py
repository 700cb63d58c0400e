"""The held statements of one message as one request: whoever approves is asked once, and sees all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from msgspec import Struct, structs

from taprail.schemas.guard import RETRY_SECONDS, Request, Verdict, context_of

SCRIPT_BYTES_MAX = 64 << 10  # of statements that are asked for together: less than a record keeps of a text
_END = "; \n\t"


class Judged(Protocol):
    @property
    def request(self) -> Request: ...
    @property
    def verdict(self) -> Verdict: ...


class Script(Struct, frozen=True):
    """What is asked for at once. `request` and `verdict` are of all of it, `requests` of each statement, and `places`
    where they stand among all that were sent."""

    request: Request
    verdict: Verdict
    requests: tuple[Request, ...]
    places: tuple[int, ...]


def scripts(judged: Sequence[Judged]) -> list[Script]:
    """The held ones, together where the same persons decide on the same terms."""
    found: list[list[int]] = []
    for place, each in enumerate(judged):
        if each.verdict.action != "hold":
            continue
        for places in found:
            members = [judged[p] for p in places]
            if _alike(members[0].verdict, each.verdict) and _size([*members, each]) <= SCRIPT_BYTES_MAX:
                places.append(place)
                break
        else:
            found.append([place])
    return [_script([judged[place] for place in places], places) for places in found]


def told_at_once(verdict: Verdict) -> Verdict:
    """The same hold, for somebody who doesn't wait: a transaction that does keeps its locks."""
    if verdict.terms.mode == "retry":
        return verdict
    terms = structs.replace(verdict.terms, mode="retry")
    return replace(verdict, terms=terms, hold_seconds=max(verdict.hold_seconds, RETRY_SECONDS))


def _alike(one: Verdict, other: Verdict) -> bool:
    if one.alone or other.alone:
        return False
    mine = (one.approvers, one.terms, one.hold_seconds, one.hold_in_transaction, one.by_policy)
    return mine == (
        other.approvers, other.terms, other.hold_seconds, other.hold_in_transaction, other.by_policy,
    )  # fmt: skip


def _touches(verdicts: Sequence[Verdict]) -> frozenset[str]:
    """Nothing where it isn't known of each."""
    known = all(verdict.touches for verdict in verdicts)
    return frozenset(name for verdict in verdicts for name in verdict.touches) if known else frozenset()


def _size(members: Sequence[Judged]) -> int:
    return sum(len(each.request.text.encode()) + 2 for each in members)


def _script(members: Sequence[Judged], places: Sequence[int]) -> Script:
    first, requests = members[0], tuple(each.request for each in members)
    if len(members) == 1:
        return Script(first.request, first.verdict, requests, tuple(places))
    request = Request(
        ";\n".join(each.text.rstrip(_END) for each in requests),
        first.request.session,
        first.request.protocol,
        tuple(value for each in requests for value in each.parameters),
        first.request.transaction,
    )
    reasons = dict.fromkeys(each.verdict.reason for each in members)
    verdict = replace(
        first.verdict,
        normalized=";\n".join(each.verdict.normalized.rstrip(_END) for each in members),
        reason="; ".join(reasons),
        relations=tuple(dict.fromkeys(use for each in members for use in each.verdict.relations)),
        matched=tuple(dict.fromkeys(match for each in members for match in each.verdict.matched)),
        statements=len(members),
        contexts=tuple(context_of(each.request, each.verdict) for each in members),
        touches=_touches([each.verdict for each in members]),
        explainable=all(each.verdict.explainable for each in members),
        pending=None,
    )
    return Script(request, verdict, requests, tuple(places))
