"""Records as OCSF 1.8.0 events: Datastore Activity (6005) and Detection Finding (2004). Pure functions.

A query is its normalised text: no literal and no row's value is in any event. Source: schema.ocsf.io, version 1.8.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any

from taprail.schemas.records import Detection, statement_id

OCSF_VERSION = "1.8.0"
PRODUCT = {"name": "taprail", "vendor_name": "taprail", "version": version("taprail")}
SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
# Datastore Activity's activity_id; a tag that isn't here is 99, Other, with its own name.
ACTIVITIES = {"SELECT": 1, "UPDATE": 2, "CONNECT": 3, "SELECT FOR UPDATE": 1, "INSERT": 6, "DELETE": 7}
READ, UPDATE, CONNECT, QUERY, WRITE, CREATE, DELETE, OTHER = 1, 2, 3, 4, 5, 6, 7, 99
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
    activity = activity_of(record["tag"])
    denied = record["action"] == "deny"
    uid = statement_id(record["tap"], record["epoch"], record["sequence"])
    event: dict[str, Any] = {
        "class_uid": 6005,
        "category_uid": 6,
        "activity_id": activity,
        "type_uid": 600_500 + activity,
        "severity_id": SEVERITIES["low" if denied else "informational"],
        "time": record["time_us"] // 1000,
        "status_id": FAILURE if denied else SUCCESS,
        "metadata": {"version": OCSF_VERSION, "product": PRODUCT, "uid": uid, "profiles": ["security_control"]},
        "action_id": DENIED if denied else ALLOWED,
        "disposition_id": 2 if denied else 1,
        "actor": {
            "user": _user(record["person"]),
            "session": {"uid": record["session"]},
            "app_name": record.get("client") or "unknown",
        },
        "src_endpoint": {"ip": _address(record.get("client_address", ""))},
        "database": {"name": record["database"], "type_id": 1, "uid": f"{record['server']}/{record['database']}"},
        "query_info": {"query_string": record["normalized"], "uid": record["fingerprint"], "name": record["tag"]},
        "unmapped": {
            "environment": record["environment"],
            "purpose": record["purpose"],
            "rule": record["rule"],
            "action": record["action"],
        },
    }
    if activity == OTHER:
        event["activity_name"] = record["tag"] or "Other"
    return event


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
        "metadata": {"version": OCSF_VERSION, "product": PRODUCT, "uid": detection.detection_id},
        "finding_info": {
            "uid": detection.detection_id,
            "title": detection.title,
            "desc": detection.summary,
            "analytic": {"uid": detection.rule, "name": detection.rule, "type_id": 1},
        },
        "unmapped": {
            "environment": detection.environment,
            "database": detection.database,
            "statement": statement_id(detection.tap, detection.epoch, detection.sequence),
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


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    """The IP address of `address` or `address:port`; the unspecified one where there is none (a Unix socket)."""
    for candidate in (text, text.rpartition(":")[0].strip("[]")):
        try:
            return str(ip_address(candidate))
        except ValueError:
            continue
    return "0.0.0.0"
