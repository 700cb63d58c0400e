"""Records as OCSF 1.8.0 events: Datastore Activity (6005) and Detection Finding (2004). Pure functions.

An event is for `msgspec.json.encode`: parts that recur stand in it as JSON (`msgspec.Raw`) that was made before. A
query is its normalised text: no literal and no row's value is in any event. Source: schema.ocsf.io, version 1.8.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any

from msgspec import Raw, json

from taprail.schemas.records import Detection, statement_id

OCSF_VERSION = "1.8.0"
_PRODUCT = Raw(json.encode({"name": "taprail", "vendor_name": "taprail", "version": version("taprail")}))
_PROFILES = Raw(b'["security_control"]')
# JSON may take six bytes for a character, and Kafka takes 1 MiB; the audit log has the whole text.
TEXT_CHARACTERS_MAX = 50_000
SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
# Datastore Activity's activity_id; OTHER comes with the tag as its name.
UPDATE, QUERY, WRITE, CREATE, DELETE, OTHER = 2, 4, 5, 6, 7, 99
ALLOWED, DENIED = 1, 2  # action_id of the security_control profile
SUCCESS, FAILURE = 1, 2  # status_id


def activity_of(tag: str) -> int:
    if tag.startswith(("SELECT", "FETCH", "COPY")):
        return QUERY
    if tag.startswith(("DELETE", "DROP", "TRUNCATE")):
        return DELETE
    if tag.startswith(("UPDATE", "ALTER")):
        return UPDATE
    if tag.startswith("CREATE"):
        return CREATE
    return WRITE if tag.startswith(("INSERT", "MERGE")) else OTHER


def datastore_activity(record: Mapping[str, Any]) -> dict[str, Any]:
    """A judged statement (its Avro fields by name) as Datastore Activity."""
    return _verdict(record["tag"], record["action"]) | {
        "time": record["time_us"] // 1000,
        "metadata": {
            "version": OCSF_VERSION,
            "product": _PRODUCT,
            "uid": statement_id(record["tap"], record["epoch"], record["sequence"]),
            "profiles": _PROFILES,
        },
        "actor": {
            "user": _rendered_user(record["person"]),
            "session": {"uid": record["session"]},
            "app_name": record["client"] or "unknown",
        },
        "src_endpoint": _endpoint(record["client_address"]),
        "database": _database(record["server"], record["database"]),
        "query_info": _query(record["normalized"], record["fingerprint"], record["tag"]),
        "unmapped": {
            "environment": record["environment"],
            "purpose": record["purpose"],
            "rule": record["rule"],
            "action": record["action"],
        },
    }


@lru_cache(maxsize=1024)
def _verdict(tag: str, action: str) -> dict[str, Any]:
    """What follows from the command and the verdict alone."""
    activity = activity_of(tag)
    denied = action == "deny"
    event: dict[str, Any] = {
        "class_uid": 6005,
        "category_uid": 6,
        "activity_id": activity,
        "type_uid": 600_500 + activity,
        "severity_id": SEVERITIES["low" if denied else "informational"],
        "status_id": FAILURE if denied else SUCCESS,
        "action_id": DENIED if denied else ALLOWED,
        "disposition_id": 2 if denied else 1,
    }
    if activity == OTHER:
        event["activity_name"] = tag or "Other"
    return event


@lru_cache(maxsize=4096)
def _query(normalized: str, fingerprint: str, tag: str) -> Raw:
    return _render({"query_string": _short(normalized), "uid": fingerprint, "name": tag})


@lru_cache(maxsize=1024)
def _database(server: str, database: str) -> Raw:
    return _render({"name": database, "type_id": 1, "uid": f"{server}/{database}"})


@lru_cache(maxsize=4096)
def _endpoint(address: str) -> Raw:
    return _render({"ip": _address(address)})


def _rendered_user(person: Mapping[str, Any]) -> Raw:
    return _known_user(person["subject"], person["name"], person["kind"], tuple(person["groups"]))


@lru_cache(maxsize=4096)
def _known_user(subject: str, name: str, kind: str, groups: tuple[str, ...]) -> Raw:
    return _render(_user({"subject": subject, "name": name, "kind": kind, "groups": groups}))


def _short(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[:TEXT_CHARACTERS_MAX] + " …"


def _render(value: Any) -> Raw:
    return Raw(json.encode(value))


def detection_finding(detection: Detection) -> dict[str, Any]:
    """A detection as Detection Finding."""
    event: dict[str, Any] = {
        "class_uid": 2004,
        "category_uid": 2,
        "activity_id": 1,
        "type_uid": 200_401,
        "severity_id": SEVERITIES[detection.severity],
        "time": detection.time_us // 1000,
        "status_id": 1,
        "metadata": {"version": OCSF_VERSION, "product": _PRODUCT, "uid": detection.detection_id},
        "finding_info": {
            "uid": detection.detection_id,
            "title": _short(detection.title),
            "desc": _short(detection.summary),
            "analytic": {"uid": detection.rule, "name": detection.rule, "type_id": 1},
        },
        "unmapped": {
            "environment": detection.environment,
            "database": detection.database,
            "statement": statement_id(detection.tap, detection.epoch, detection.sequence) if detection.tap else "",
        },
    }
    if detection.person is not None:
        person = detection.person
        user = _user({"subject": person.subject, "name": person.name, "kind": person.kind, "groups": person.groups})
        event["evidences"] = [{"actor": {"user": user}}]
    return event


def _user(person: Mapping[str, Any]) -> dict[str, Any]:
    user: dict[str, Any] = {"uid": person["subject"], "name": person["name"] or person["subject"]}
    user["type_id"] = {"person": 1, "service": 4, "agent": 3}.get(person["kind"], 99)
    if user["type_id"] == 99:
        user["type"] = person["kind"]
    if person["groups"]:
        user["groups"] = [{"name": name} for name in person["groups"]]
    return user


def _address(text: str) -> str:
    """The IP address of `address` or `address:port`; the unspecified one where there is none (a Unix socket)."""
    for candidate in (text, text.rpartition(":")[0].strip("[]")):
        try:
            return str(ip_address(candidate))
        except ValueError:
            continue
    return "0.0.0.0"
