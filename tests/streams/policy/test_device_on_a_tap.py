"""A policy that names the device, on a running tap: one certificate passes, another of the same user doesn't."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives import hashes

from taprail.connectors.kafka.follow import Follower
from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.records import Session
from tests.fakes.certificates import certificate
from tests.fakes.client_certificates import Authority
from tests.fakes.running_tap import RunningTap

TAP = """
certificate = "localhost.pem"
private_key = "localhost.key"
client_ca_file = "authority.pem"
"""
MORE = """
[policy]
directory = "policies"
[[certificates]]
name = "cn:ward"
user = "ward"
"""
POLICY = """
id: known-devices
title: Only from devices that are known
level: low
verdict: deny
match: "statement.text.contains('forty_two')"
unless: session.device in ["{device}"]
"""


def test_a_policy_lets_one_device_pass(tmp_path: Path, stack: Endpoints, fresh_database: str) -> None:
    authority = Authority(tmp_path)
    known, mine = authority.client("ward")
    _, another = authority.client("ward")
    device = f"sha256:{known.fingerprint(hashes.SHA256()).hex()}"
    certificate(tmp_path, "localhost")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "known-devices.yaml").write_text(POLICY.format(device=device))
    with RunningTap(tmp_path, stack, fresh_database, tap=TAP, more=MORE) as tap:
        with tap.connect(user="ward", password="", sslmode="require", **mine) as connection:
            assert connection.execute("SELECT 1 AS forty_two").fetchone() == (1,)
        with tap.connect(user="ward", password="", sslmode="require", **another) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="known-devices"):
                connection.execute("SELECT 1 AS forty_two")
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with Follower(
            stack.kafka.client_config("viewer"), {"taprail.sessions": avro.decoder(Session)}, since_us=0
        ) as follower:
            found = follower.until(lambda f: f.record.tap == tap.id and f.record.device == device, 20)
    assert found is not None and (found.record.method, found.record.person.subject) == ("certificate", "ward")
