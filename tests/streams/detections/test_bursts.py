"""Refusals of one person within a minute: the fifth one is an alarm, whatever is told twice."""

from __future__ import annotations

from taprail.schemas.records import Detection, Person
from taprail.streams.detections.bursts import REFUSALS_MIN, burst, counted, who
from taprail.streams.detections.incident import incident


def refusal(number: int, subject: str = "ann", rule: str = "denied-destructive") -> Detection:
    return incident(
        rule,
        str(number),
        time_us=number,
        severity="high",
        title=f"refusal {number}",
        summary="",
        record="statement",
        environment="prod",
        database="shop",
        person=Person(subject, subject.title(), "person"),
    )


def fired(detections: list[Detection]) -> list[Detection]:
    ids: list[str] = []
    alarms = []
    for detection in detections:
        ids = counted(ids, detection)
        if (alarm := burst(ids, detection, 60.0)) is not None:
            alarms.append(alarm)
    return alarms


def test_the_fifth_refusal_is_an_alarm_and_the_sixth_no_second_one() -> None:
    assert fired([refusal(n) for n in range(REFUSALS_MIN - 1)]) == []
    (alarm,) = fired([refusal(n) for n in range(REFUSALS_MIN + 3)])
    assert alarm.title == "Ann was refused 5 times within a minute in shop"


def test_what_comes_twice_counts_once_and_the_alarm_again_has_its_id() -> None:
    assert fired([refusal(1)] * 9) == []
    last = refusal(REFUSALS_MIN)
    once, again = fired([*(refusal(n) for n in range(1, REFUSALS_MIN)), last, last])
    assert once.detection_id == again.detection_id


def test_persons_databases_and_rules_are_kept_apart() -> None:
    assert who(refusal(1)) == "ann@prod/shop" != who(refusal(1, "bob"))
    assert who(refusal(1, "")) == "nobody@prod/shop"
    assert who(refusal(1, rule="large-read")) == ""
