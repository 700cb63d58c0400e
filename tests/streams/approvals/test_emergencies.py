"""What is told of an emergency: once that it was taken, every day that nobody looks at it, once that it is reviewed."""

from __future__ import annotations

from msgspec import convert, to_builtins
from msgspec.structs import replace

from taprail.schemas.control import Grant
from taprail.streams.approvals.emergencies import REMIND_US, Emergency, changed, reminder
from tests.fakes.approvals import ANN, BOB

TAKEN = Grant(
    "emergency-1", "break_glass", ANN, "prod", "shop", "orders fail", 1_000, 601_000_000, role="owner", review="open",
    approvers=("data-owners",),
)  # fmt: skip


def test_it_is_told_when_it_is_taken_and_not_again_when_its_record_changes() -> None:
    kept, told = changed(None, TAKEN)
    assert told is not None and kept is not None
    assert (told.severity, told.title) == ("critical", "Ann has taken emergency access to prod")
    assert told.summary == "role owner for shop in prod, for 10 min: orders fail"
    assert changed(kept, replace(TAKEN, revoked="over", revoked_by=BOB))[1] is None


def test_the_same_record_read_again_is_the_same_detection() -> None:
    (_, first), (_, again) = changed(None, TAKEN), changed(None, TAKEN)
    assert first == again


def test_every_day_that_it_stays_open_is_told_under_an_id_of_its_own() -> None:
    kept: Emergency | None = changed(None, TAKEN)[0]
    assert kept is not None
    assert reminder(kept, TAKEN.from_us + REMIND_US - 1, "https://a") == (kept, None)
    ids = []
    for day in (1, 2, 9):
        kept, told = reminder(kept, TAKEN.from_us + day * REMIND_US, "https://a")
        assert told is not None and f"isn't reviewed after {day} days" in told.title
        assert "data-owners may close the review at https://a/access" in told.summary
        assert reminder(kept, TAKEN.from_us + day * REMIND_US + 1, "https://a")[1] is None
        ids.append(told.detection_id)
    assert len(set(ids)) == 3
    assert convert(to_builtins(kept), Emergency) == kept


def test_its_review_is_told_with_what_was_found() -> None:
    closed = replace(TAKEN, review="closed", reviewed_by=BOB, reviewed_us=5_000, findings="restarted the queue")
    kept, told = changed(changed(None, TAKEN)[0], closed)
    assert kept is None and told is not None
    assert (told.title, told.summary) == ("Bob has reviewed the emergency access of Ann", "restarted the queue")
    assert told.time_us == 5_000
