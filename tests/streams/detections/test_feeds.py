"""A feed that fails is told once, until it runs again; a Connect that is silent for long has failed itself."""

from __future__ import annotations

from taprail.streams.detections.feeds import CONNECT, SILENCES_MAX, Feeds

SECOND_US = 1_000_000


def rules(feeds: Feeds, failed: dict[str, str] | None, second: int) -> list[str]:
    new, back = feeds.judge(failed, second * SECOND_US)
    return [f"{d.rule} {d.title.partition(' ')[0]}" for d in (*new, *back)]


def test_a_failure_is_told_once_until_the_feed_is_back() -> None:
    feeds = Feeds()
    assert rules(feeds, {}, 1) == []
    assert rules(feeds, {"a": "no registry"}, 2) == ["change-feed-failed a"]
    assert rules(feeds, {"a": "no registry", "b": "x"}, 3) == ["change-feed-failed b"]
    assert rules(feeds, {"b": "x"}, 4) == ["change-feed-back a"]
    assert rules(feeds, {"a": "again", "b": "x"}, 5) == ["change-feed-failed a"]


def test_a_new_failure_is_another_occasion() -> None:
    first, _ = Feeds().judge({"a": "x"}, 1 * SECOND_US)
    again, _ = Feeds().judge({"a": "x"}, 900 * SECOND_US)
    assert first[0].detection_id != again[0].detection_id


def test_a_connect_that_does_not_answer_has_failed_after_a_while() -> None:
    feeds = Feeds()
    feeds.judge({"a": "x"}, 0)
    told = [rules(feeds, None, second) for second in range(1, SILENCES_MAX + 3)]
    assert told == [[]] * (SILENCES_MAX - 1) + [[f"change-feed-failed {CONNECT.split()[0]}"]] + [[]] * 2
    assert rules(feeds, {"a": "x"}, 99) == ["change-feed-back Kafka"], "and a is still failed, and was told"
