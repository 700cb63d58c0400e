"""Every event is valid OCSF 1.8.0, checked against the published schema, whatever the record."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec import json, structs
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from taprail.connectors.siem.ocsf import OCSF_VERSION, datastore_activity, detection_finding
from taprail.schemas import avro, records
from taprail.streams.detections.incident import incident

SCHEMAS = OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF_VERSION))
TAGS = ["SELECT", "INSERT", "UPDATE", "DELETE", "DROP TABLE", "CREATE TABLE", "SET", "DO", ""]


@cache
def _validator(name: str, profiles: tuple[str, ...]) -> Any:
    return jsonschema_rs.validator_for(SCHEMAS.get_class_schema(name, list(profiles)))


def _told(event: dict[str, Any]) -> dict[str, Any]:
    """What a receiver reads."""
    told: dict[str, Any] = json.decode(json.encode(event))
    return told


STATEMENTS = st.builds(
    lambda s, tag, person: structs.replace(s, tag=tag, person=person, time_us=1_700_000_000_000_000),
    st.from_type(records.Statement),
    st.sampled_from(TAGS),
    st.from_type(records.Person),
)


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(STATEMENTS)
def test_a_statement_is_a_valid_datastore_activity(statement: records.Statement) -> None:
    event = _told(datastore_activity(avro.plain(statement)))
    errors = [str(e) for e in _validator("datastore_activity", ("security_control",)).iter_errors(event)]
    assert errors == []


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.from_type(records.Detection))
def test_a_detection_is_a_valid_finding(detection: records.Detection) -> None:
    event = _told(detection_finding(structs.replace(detection, time_us=1_700_000_000_000_000)))
    assert [str(e) for e in _validator("detection_finding", ()).iter_errors(event)] == []


@pytest.mark.parametrize(("address", "ip"), [("10.0.0.1:5432", "10.0.0.1"), ("[::1]:99", "::1"), ("", "0.0.0.0")])
def test_the_address_is_an_ip(address: str, ip: str) -> None:
    statement = structs.replace(EXAMPLE, client_address=address)
    assert _told(datastore_activity(avro.plain(statement)))["src_endpoint"]["ip"] == ip


EXAMPLE = records.Statement(
    tap="tap-1",
    epoch=1,
    sequence=2,
    time_us=1_700_000_000_000_000,
    session="s",
    environment="prod",
    server="local",
    database="prod",
    person=records.Person("ann", "Ann", "person", ("engineers",)),
    purpose="",
    action="deny",
    rule="no-drop-in-prod",
    tag="DROP TABLE",
    writes=True,
    relations=(),
    fingerprint="f",
    normalized="DROP TABLE t",
    reason="",
    policy_version="v",
    catalog_epoch=1,
    role="app",
    client="psql",
    client_address="127.0.0.1:9",
    protocol="simple",
    transaction=1,
    mark="none",
)


def test_a_denial_says_denied() -> None:
    event = _told(datastore_activity(avro.plain(EXAMPLE)))
    assert (event["action_id"], event["status_id"], event["query_info"]["query_string"]) == (2, 2, "DROP TABLE t")


def test_an_event_fits_into_kafka_whatever_the_statement() -> None:
    """JSON takes six bytes for a control character; the tap takes 256 KiB of text, and Kafka 1 MiB."""
    hostile = structs.replace(EXAMPLE, normalized='SELECT "' + "\1" * 250_000 + '"')
    assert len(json.encode(datastore_activity(avro.plain(hostile)))) < 900_000


def test_a_finding_about_no_statement_names_none() -> None:
    about_nothing = incident("rule", "key", time_us=1, severity="low", title="t", summary="s", record="alert")
    assert detection_finding(about_nothing)["unmapped"]["statement"] == ""
