"""Who may decide, and when enough have: the same answer for the page, the agents and every tap."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from taprail.schemas.control import Decision
from taprail.schemas.records import Demand, Person, Terms
from taprail.streams.approvals.votes import count, suffices, who
from tests.fakes.approvals import AGENT, ANN, BINDING, BOB, CAT, EVE, question

DAN = Person("dan", "Dan", "person", ("security",), "https://idp.example")
FAY = Person("fay", "Fay", "person", ("data-owners", "security"), "https://idp.example")
GUS = Person("gus", "Gus", "person", ("leads",), "https://idp.example")
BOTH = ("data-owners", "security")


def vote(person: Person, answer: Any = "approve", **changes: Any) -> Decision:
    return replace(Decision("tap-1-7-12", BINDING, answer, person, "fine", 10, 20), **changes)


def answer(*votes: Decision, approvers: tuple[str, ...] = ("data-owners",), **terms: Any) -> str:
    return count(question(approvers=approvers, terms=Terms(**terms)), votes).answer


def test_one_of_any_group_is_enough_unless_more_are_asked_for() -> None:
    assert answer(vote(BOB)) == "approve"
    assert answer(vote(DAN), approvers=BOTH) == "approve"
    assert answer(vote(BOB), quorum=2) == ""
    assert answer(vote(BOB), vote(CAT), quorum=2) == "approve"


def test_nobody_counts_twice() -> None:
    again = vote(replace(BOB, name="Bobby", groups=("data-owners", "other")), decided_us=11)
    assert answer(vote(BOB), again, quorum=2) == ""


def test_one_of_each_group_and_nobody_for_two() -> None:
    assert answer(vote(BOB), vote(CAT), approvers=BOTH, every_group=True) == ""
    assert answer(vote(BOB), vote(DAN), approvers=BOTH, every_group=True) == "approve"
    assert answer(vote(FAY), approvers=BOTH, every_group=True) == "", "one person is one pair of eyes"
    assert answer(vote(FAY), vote(BOB), approvers=BOTH, every_group=True) == "approve", "Fay stands for security"
    assert answer(vote(FAY), vote(DAN), approvers=BOTH, every_group=True) == "approve", "Fay stands for the owners"


def test_one_of_an_emergency_group_is_enough_and_may_decide_without_another_group() -> None:
    assert answer(vote(GUS), quorum=3, emergency=("leads",)) == "approve"
    assert answer(vote(GUS, "deny"), quorum=3, emergency=("leads",)) == "deny"
    assert answer(vote(GUS), quorum=3) == ""


def test_every_policy_that_holds_it_is_asked() -> None:
    """One person may be enough for both, in as far as each asks for one of his groups."""
    also = (Demand(("security",), 1),)
    assert answer(vote(BOB), also=also) == "" and answer(vote(DAN), also=also) == "", "one of two policies each"
    assert answer(vote(BOB), vote(DAN), also=also) == "approve"
    assert answer(vote(FAY), also=also) == "approve"
    assert answer(vote(DAN, "deny"), vote(BOB), also=also) == "deny"
    assert answer(vote(BOB), vote(DAN), quorum=2) == "", "Dan isn't asked by this policy, so he is no second"
    assert answer(vote(BOB), vote(DAN), vote(CAT), quorum=2, also=also) == "approve"
    assert answer(vote(GUS), emergency=("leads",), also=also) == "", "an emergency of one is none of the other"


def test_one_refusal_settles_it() -> None:
    assert answer(vote(BOB), vote(CAT, "deny"), quorum=2) == "deny"
    assert answer(vote(EVE, "deny"), vote(BOB)) == "approve", "who may not decide can't refuse either"


def test_what_comes_after_the_answer_changes_nothing() -> None:
    assert answer(vote(BOB), vote(CAT, "deny")) == "approve"
    assert answer(vote(BOB, "deny"), vote(CAT)) == "deny"


@pytest.mark.parametrize(
    "no_vote",
    [
        vote(ANN),
        vote(replace(ANN, groups=("data-owners",))),
        vote(AGENT),
        vote(EVE),
        vote(replace(BOB, kind="service")),
        vote(BOB, binding="something else"),
        vote(BOB, decided_us=20),
    ],
)
def test_what_is_no_vote(no_vote: Decision) -> None:
    assert answer(no_vote) == ""
    assert answer(no_vote, vote(CAT), quorum=2) == ""


def test_who_decides_in_words() -> None:
    assert who(question(approvers=BOTH)) == "data-owners or security"
    both = Terms(quorum=2, also=(Demand(("security",), 1, False, ("leads",)),))
    assert who(question(terms=both)) == "2 of data-owners; and security, or one of leads"
    every = Terms(every_group=True, emergency=("leads",))
    assert who(question(approvers=BOTH, terms=every)) == "one of each of data-owners, security, or one of leads"
    assert who(question(terms=Terms(quorum=2))) == "2 of data-owners"


_people = st.lists(
    st.builds(
        lambda name, groups: Person(name, name, "person", tuple(sorted(groups)), "i"),
        st.sampled_from("abcdef"),
        st.frozensets(st.sampled_from("xyz"), max_size=3),
    ),
    max_size=5,
    unique_by=lambda person: person.subject,
)


@given(_people, st.frozensets(st.sampled_from("xyz"), min_size=1))
def test_every_group_is_what_trying_all_ways_to_choose_says(people: list[Person], groups: frozenset[str]) -> None:
    asked = question(approvers=tuple(groups), terms=Terms(every_group=True))
    tried = any(
        all(group in person.groups for group, person in zip(groups, chosen, strict=True))
        for chosen in itertools.permutations(people, len(groups))
    )
    assert (len(people) >= 1 and suffices(asked, people)) == tried


@given(
    st.lists(st.tuples(st.sampled_from([ANN, BOB, CAT, EVE, DAN]), st.sampled_from(["approve", "deny"]))),
    st.integers(1, 3),
)
def test_more_votes_never_undo_an_answer(cast: list[tuple[Person, Any]], quorum: int) -> None:
    votes = [vote(person, said, decided_us=10) for person, said in cast]
    answers = [answer(*votes[:n], approvers=BOTH, quorum=quorum) for n in range(len(votes) + 1)]
    settled = [each for each in answers if each]
    assert len(set(settled)) <= 1
    assert answers == sorted(answers, key=bool), "once settled it stays"
