from __future__ import annotations

from msgspec import json

from taprail.schemas import avro
from taprail.schemas.records import AcceptedMark, Alert, Change, DeadLetter, Detection
from taprail.streams.attribution.join import Feed
from taprail.streams.attribution.output import outs
from taprail.streams.attribution.report import feed_gap

FRAMES = dict.fromkeys((Change, AcceptedMark, Detection, Alert, DeadLetter), b"\x00\x00\x00\x00\x01")


def test_a_detection_reaches_stream_log_and_siem_and_its_alert_people() -> None:
    feed = Feed("local", "prod", "prod", "cdc.local.prod")
    records = feed_gap(feed, "the record at 7 can't be read", "7", 1_700_000_000_000_000)
    found = [out for record in records for out in outs(record, FRAMES)]
    assert [(out.topic, dict(out.headers)) for out in found] == [
        ("taprail.detections", {}),
        ("taprail.audit", {"kind": b"detection"}),
        ("taprail.siem", {}),
        ("taprail.alerts", {}),
        ("taprail.audit", {"kind": b"alert"}),
    ]
    detection = avro.decoder(Detection)(found[0].value[5:])
    assert found[0].value == found[1].value and found[0].key == detection.detection_id.encode()
    assert json.decode(found[2].value)["finding_info"]["uid"] == detection.detection_id
    assert records == feed_gap(feed, "the record at 7 can't be read", "7", 1_700_000_000_000_000), "ids stay the same"


def test_marks_are_kept_by_their_statements_id() -> None:
    (out,) = outs(AcceptedMark("tap-1", 2, 3, "local", "prod", "7:8"), FRAMES)
    assert (out.topic, out.key) == ("taprail.marks", b"tap-1/2/3")
