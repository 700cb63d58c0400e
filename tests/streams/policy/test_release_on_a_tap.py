"""`taprail policy apply` on a running tap: open sessions are judged by the new set, and records name it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from msgspec import json

from taprail.connectors.kafka.follow import Follower
from taprail.schemas import avro
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.records import Statement
from taprail.streams import keys
from taprail.streams.cli import main
from tests.fakes.running_tap import RunningTap

SWITCH_SECONDS_MAX = 10.0  # it takes a tenth of a second; machines are noisy
POLICY = """id: {id}
title: No answer to everything
level: low
verdict: deny
match: "statement.text.contains('forty_two')"
tests: {{match: [SELECT 1 AS forty_two], pass: [SELECT 1]}}
"""


class Place:
    """A tap, and whoever releases policies for it."""

    def __init__(self, tap: RunningTap, home: Path) -> None:
        self.tap, self.config, self.folder = tap, home / "release.toml", home / "policies"
        (home / "agents").write_text(tap.stack.kafka.users["agents"])
        text = tap.config.read_text()
        text = text.replace('{ tap = "file:kafka" }', '{ tap = "file:kafka", agents = "file:agents" }')
        self.config.write_text(text.replace("[keys]", '[keys]\ncontrol_private = "file:control.pem"', 1))
        self.folder.mkdir()

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["policy", *arguments, "--config", str(self.config)])

    def apply(self, *ids: str) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for each in ids:
            (self.folder / f"{each}.yaml").write_text(POLICY.format(id=each))
        done = self.run("apply", str(self.folder), "--reason", "a test", "--by", "ann")
        assert done.exit_code == 0, done.output


@pytest.fixture
def place(tmp_path: Path, stack: Endpoints) -> Iterator[Place]:
    with RunningTap(tmp_path, stack, "postgres") as tap:
        yield Place(tap, tmp_path)


def denied_by(connection: psycopg.Connection) -> str:
    try:
        connection.execute("SELECT 1 AS forty_two")
    except psycopg.errors.InsufficientPrivilege as error:
        return str(error)
    return ""


def until_denied_by(connection: psycopg.Connection, rule: str) -> None:
    began = time.monotonic()
    while f"(rule {rule})" not in denied_by(connection):
        assert time.monotonic() - began < SWITCH_SECONDS_MAX, f"{rule} isn't in force"
        time.sleep(0.02)


def test_an_open_session_is_judged_by_what_was_released(place: Place) -> None:
    assert json.decode(place.run("status", "--json").output)["source"] == "shipped"
    with place.tap.connect() as connection:
        assert denied_by(connection) == ""
        place.apply("first")
        until_denied_by(connection, "first")
        place.apply("second")
        until_denied_by(connection, "second")
        status = json.decode(place.run("status", "--json").output)
        assert (status["by"], status["reason"], status["policies"]) == ("ann", "a test", 1)
        (place.folder / "second.yaml").write_text("id: [")
        refused = place.run("apply", str(place.folder), "--reason", "broken")
        assert refused.exit_code == 1 and "second.yaml:1:" in refused.output
        assert "(rule second)" in denied_by(connection)
    place.tap.stop()
    place.tap.start()
    with place.tap.connect() as connection:
        assert "(rule second)" in denied_by(connection), "it is in force from the first statement on"


def test_what_another_key_has_signed_changes_nothing(place: Place, tmp_path: Path) -> None:
    place.apply("mine")
    with place.tap.connect() as connection:
        until_denied_by(connection, "mine")
        keys.new_pair(tmp_path / "other.pem", tmp_path / "other.pub.pem")
        text = place.config.read_text()
        place.config.write_text(text.replace("file:control.pem", "file:other.pem").replace("control.pub", "other.pub"))
        place.apply("theirs")
        place.tap.said("the one before stays in force")
        assert "(rule mine)" in denied_by(connection)


def test_records_name_the_version_and_the_policies_that_matched(place: Place, stack: Endpoints) -> None:
    kafka = stack.kafka
    with place.tap.connect() as connection:
        place.apply("recorded")
        until_denied_by(connection, "recorded")
    version = json.decode(place.run("status", "--json").output)["version"]
    config = kafka.client_config("viewer")
    with Follower(config, {"taprail.statements": avro.decoder(Statement)}, since_us=0) as follower:
        found = follower.until(lambda f: f.record.tap == place.tap.id and f.record.rule == "recorded", 20)
    assert found is not None
    record: Statement = found.record
    assert [(m.policy, m.verdict, m.trial) for m in record.matched] == [("recorded", "deny", False)]
    assert record.policy_version.partition("-")[0] == version
