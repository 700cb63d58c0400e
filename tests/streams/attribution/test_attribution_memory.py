from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taprail.schemas.mark import Mark
from taprail.schemas.records import AcceptedMark
from taprail.streams.attribution import memory as module
from taprail.streams.attribution.memory import CHUNK_SEQUENCES, MarkMemory

sequences = st.integers(1, 4) | st.integers(CHUNK_SEQUENCES - 2, CHUNK_SEQUENCES + 2) | st.integers(1, 2**40)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 3), sequences)), st.tuples(sequences, sequences))
def test_what_was_accepted_is_used_and_nothing_else_is(
    accepted: list[tuple[str, int, int]], others: tuple[int, int]
) -> None:
    memory = MarkMemory()
    for tap, epoch, sequence in accepted:
        memory.remember(AcceptedMark(tap, epoch, sequence, "s", "d", f"{sequence}:1"))
    asked = [*accepted, *(("a", 1, s) for s in others)]
    for tap, epoch, sequence in asked:
        mark = Mark(tap, epoch, sequence, "s", "d")
        known = (tap, epoch, sequence) in accepted
        assert memory.check(mark, "elsewhere") == ("used" if known else "fresh")
        assert memory.check(mark, f"{sequence}:1") == ("same" if known else "fresh")


def test_a_place_that_was_forgotten_is_no_repetition() -> None:
    memory = MarkMemory()
    for sequence in range(module.PLACES_MAX + 1):
        memory.remember(AcceptedMark("a", 1, sequence, "s", "d", f"1:{sequence}"))
    assert memory.check(Mark("a", 1, 0, "s", "d"), "1:0") == "used"
    assert memory.check(Mark("a", 1, 1, "s", "d"), "1:1") == "same"


def test_only_a_memory_that_has_lost_something_doubts() -> None:
    memory = MarkMemory()
    memory.remember(AcceptedMark("a", 2, 70_000, "s", "d", "1:1"))
    assert not memory.is_doubtful(Mark("a", 1, 1, "s", "d"))
    memory.set_forgetful()
    doubtful = [(1, 99), (2, 69_999), (2, 70_001), (3, 1)]
    assert [memory.is_doubtful(Mark("a", e, s, "s", "d")) for e, s in doubtful] == [True, True, False, False]
    assert memory.is_doubtful(Mark("unknown", 9, 9, "s", "d"))
