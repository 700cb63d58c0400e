"""What votes come to: the one place that says who may decide, and when enough have.

The page, the agents and every tap ask here, each with the votes in the order of their topic, so that all come to the
same answer. One refusal by anybody who may decide settles it, and so does the approval that was missing last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from taprail.schemas.control import Decision
from taprail.schemas.errors import RefusedError
from taprail.schemas.records import Approval, Demand, Person, Terms

Answer = Literal["", "approve", "deny"]


class Question(Struct, frozen=True):
    """What is voted on: exactly this, asked by this person."""

    binding: str
    requester: Person
    approvers: tuple[str, ...]
    terms: Terms


class Count(Struct, frozen=True):
    """`answer` is '' while more are needed. `deciding` is the vote that settled it, `approved` who have said yes."""

    answer: Answer = ""
    deciding: Decision | None = None
    approved: tuple[Decision, ...] = ()


def question_of(approval: Approval) -> Question:
    return Question(approval.binding, approval.person, approval.approvers, approval.terms)


def count(question: Question, votes: Iterable[Decision]) -> Count:
    """Votes in their topic's order. What is on something else, too late, or by whom it isn't up to, is no vote."""
    approved: dict[tuple[str, str], Decision] = {}
    for vote in votes:
        if vote.binding != question.binding or vote.decided_us >= vote.expires_us or bars(question, vote.approver):
            continue
        if vote.decision != "approve":
            return Count("deny", vote, tuple(approved.values()))
        approved.setdefault((vote.approver.issuer, vote.approver.subject), vote)
        if suffices(question, [each.approver for each in approved.values()]):
            return Count("approve", vote, tuple(approved.values()))
    return Count("", None, tuple(approved.values()))


def suffices(question: Question, persons: Sequence[Person]) -> bool:
    """Whether these, who all may decide and have all said yes, are enough for every policy that asks."""
    return all(_meets(demand, persons) for demand in question.terms.demands(question.approvers))


def _meets(demand: Demand, persons: Sequence[Person]) -> bool:
    if any(set(person.groups) & set(demand.emergency) for person in persons):
        return True
    asked = [person for person in persons if set(person.groups) & set(demand.approvers)]
    if len(asked) < demand.quorum:
        return False
    return not demand.every_group or _each_has_its_own(demand.approvers, asked)


def _each_has_its_own(groups: Sequence[str], persons: Sequence[Person]) -> bool:
    """Whether a person can be chosen for every group, none for two (Kuhn's matching)."""
    chosen: dict[int, str] = {}  # index of a person -> the group that it stands for

    def find(group: str, tried: set[int]) -> bool:
        for index, person in enumerate(persons):
            if group not in person.groups or index in tried:
                continue
            tried.add(index)
            if index not in chosen or find(chosen[index], tried):
                chosen[index] = group
                return True
        return False

    return all(find(group, set()) for group in dict.fromkeys(groups))


def bars(question: Question, person: Person) -> RefusedError | None:
    """Why a person may not decide. Nobody does on what he asked for himself, nor on what an agent asks in his name."""
    if asked_by(question.requester, person):
        return RefusedError("nobody decides on what he asked for himself", hint="ask another approver")
    if person.kind != "person":
        return RefusedError(f"a {person.kind} can't decide, only a person can", hint="ask an approver")
    if not set(person.groups) & _groups(question):
        return RefusedError(f"{person.name} may not decide on this", hint=f"these groups may: {who(question)}")
    return None


def asked_by(requester: Person, person: Person) -> bool:
    """Whether this person, or one in whose name he acts, is the requester, or one in whose name that one acts."""
    return bool({requester.subject, requester.on_behalf_of} & {person.subject, person.on_behalf_of} - {""})


def _groups(question: Question) -> set[str]:
    """Whose members may decide, or help to."""
    demands = question.terms.demands(question.approvers)
    return {group for demand in demands for group in (*demand.approvers, *demand.emergency)}


def who(question: Question) -> str:
    """Who decides, in words."""
    return "; and ".join(map(_words, question.terms.demands(question.approvers)))


def _words(terms: Demand) -> str:
    groups = terms.approvers
    if terms.every_group and len(groups) > 1:
        said = f"one of each of {', '.join(groups)}"
    else:
        said = " or ".join(groups) or "nobody"
    if terms.quorum > 1:
        said = f"{terms.quorum} of {said}" if not terms.every_group else f"{terms.quorum} in all, {said}"
    return said + (f", or one of {' or '.join(terms.emergency)}" if terms.emergency else "")
