"""Revoked means ended: sessions within seconds, sign-ins at once, and nothing but a newer signature undoes it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import json

from taprail.schemas.control import Identity, SignedRecord, sign
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import RefusedError
from taprail.schemas.guard import SessionContext
from taprail.schemas.records import Person
from taprail.streams import settings
from taprail.streams.identity import publish
from taprail.streams.identity.enrich import Directory
from taprail.streams.identity.revocation import Revocations
from tests.fakes.last_words import LastWords
from tests.fakes.running_tap import SERVICE, RunningTap

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
SECONDS_MAX = 5.0


def record(active: bool, at: int, subject: str = "ann", key: Ed25519PrivateKey = KEY) -> SignedRecord:
    identity = Identity(subject, subject.title(), "person", (), active)
    return sign("identity", subject, identity, private_key=key, key_id="control-1", now_us=at)


def person(subject: str, via: str = "") -> Person:
    return Person(subject, subject, "person", via=via)


class Ended:
    """Whose sessions were ended, of those that are open."""

    def __init__(self, *people: Person) -> None:
        self.people, self.ended = people, list[str]()

    def __call__(self, match: Any, sqlstate: str, text: str) -> int:
        assert sqlstate == "57P01" and "revoked" in text
        contexts = [SessionContext(p.subject, "tap-1", "e", "s", "d", "r", p, "oidc") for p in self.people]
        self.ended += [context.session for context in contexts if match(context)]
        return len(self.ended)


def revocations(folder: Path) -> Revocations:
    return Revocations(Directory({"control-1": KEY.public_key()}), folder / "revoked.json")


def refused(by: Revocations, who: Person) -> bool:
    try:
        by.check(who)
    except RefusedError:
        return True
    return False


def test_the_revoked_and_whom_they_speak_for_end_and_nobody_else(tmp_path: Path) -> None:
    people = (person("ann"), person("bob"), person("carol", via="ann"))
    by, ended = revocations(tmp_path), Ended(*people)
    by.end = ended
    by.take(record(False, 10))
    assert ended.ended == ["ann", "carol"]
    assert [refused(by, each) for each in people] == [True, False, True]
    by.take(record(True, 11))
    assert not any(refused(by, each) for each in people)


def test_an_older_record_that_is_sent_again_undoes_nothing(tmp_path: Path) -> None:
    by, before = revocations(tmp_path), record(True, 5)
    by.take(before)
    by.take(record(False, 10))
    by.take(before)
    assert refused(by, person("ann"))


@pytest.mark.parametrize("forged", ["key", "payload", "kind"])
def test_what_is_not_signed_neither_revokes_nor_restores(tmp_path: Path, forged: str) -> None:
    def forge(active: bool, at: int) -> SignedRecord:
        if forged == "key":
            return record(active, at, key=OTHER)
        made = record(active if forged == "kind" else not active, at)
        payload = json.encode(Identity("ann", "Ann", "person", (), active))
        kind = "grant" if forged == "kind" else "identity"
        return SignedRecord(kind, made.key, payload, made.signed_us, made.key_id, made.signature)  # type: ignore[arg-type]

    by = revocations(tmp_path)
    by.take(forge(False, 10))
    assert not refused(by, person("ann"))
    by.take(record(False, 11))
    by.take(forge(True, 12))
    assert refused(by, person("ann"))


def test_a_tap_that_starts_again_forgets_nobody_and_believes_no_file(tmp_path: Path) -> None:
    revocations(tmp_path).take(record(False, 10))
    file = tmp_path / "revoked.json"
    assert file.stat().st_mode & 0o077 == 0
    assert refused(revocations(tmp_path), person("ann"))
    file.write_bytes(json.encode(record(False, 10, "bob", OTHER)) + b"\n")
    assert not refused(revocations(tmp_path), person("bob"))
    file.write_bytes(b"{")
    assert not refused(revocations(tmp_path), person("ann"))


def test_a_line_that_was_cut_costs_no_other(tmp_path: Path) -> None:
    by = revocations(tmp_path)
    by.take(record(False, 10, "ann"))
    by.take(record(False, 10, "bob"))
    file = tmp_path / "revoked.json"
    file.write_bytes(file.read_bytes()[:-20])
    again = revocations(tmp_path)
    assert (refused(again, person("ann")), refused(again, person("bob"))) == (True, False)
    again.take(record(False, 10, "bob"))
    assert refused(revocations(tmp_path), person("bob"))


def test_the_file_has_the_revoked_alone_and_does_not_grow(tmp_path: Path) -> None:
    by = revocations(tmp_path)
    for at in range(1, 9):
        by.take(record(at % 2 == 1, at))
    by.take(record(True, 9))
    by.take(record(False, 1, "bob"))
    again = revocations(tmp_path)
    assert (refused(again, person("ann")), refused(again, person("bob"))) == (False, True)
    size = (tmp_path / "revoked.json").stat().st_size
    again.take(record(False, 1, "bob"))  # read from Kafka once more
    assert (tmp_path / "revoked.json").stat().st_size == size == len(json.encode(record(False, 1, "bob"))) + 1


def test_many_who_leave_at_once_are_no_work_for_each_other(tmp_path: Path) -> None:
    by, began = revocations(tmp_path), time.process_time()
    for number in range(3_000):
        by.take(record(False, 1, f"person-{number}"))
    assert time.process_time() - began < 3.0
    assert refused(revocations(tmp_path), person("person-2999"))


@pytest.fixture
def tap(tmp_path: Path, stack: Endpoints, fresh_database: str) -> RunningTap:
    """Its service has the tap's own name: the topic of identities is shared by all tests."""
    made = RunningTap(tmp_path, stack, fresh_database)
    (tmp_path / "agents").write_text(stack.kafka.users["agents"])
    config = made.config.read_text().replace('tap = "file:kafka"', 'tap = "file:kafka", agents = "file:agents"')
    config = config.replace("[keys]", '[keys]\ncontrol_private = "file:control.pem"')
    made.config.write_text(config.replace(f'"{SERVICE}"', f'"{made.id}"'))
    return made


def test_sessions_end_within_five_seconds_and_the_service_stays_out(tap: RunningTap) -> None:
    loaded = settings.load(tap.config)
    with tap:
        session = tap.connect(user=tap.id)
        last_words = LastWords(session)
        session.execute("SELECT 1")
        publish.publish(loaded, Identity(tap.id, tap.id, "service", (), False, "left"))
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError) as ended:
            while time.monotonic() - started < SECONDS_MAX:
                session.execute("SELECT 1")
                time.sleep(0.02)
        assert "revoked" in last_words.with_error(ended.value)
        with pytest.raises(psycopg.OperationalError, match="may not sign in"):
            tap.connect(user=tap.id)
    found = publish.known(loaded).get(tap.id)
    assert found is not None and (found.active, found.reason) == (False, "left")
    with tap:
        with pytest.raises(psycopg.OperationalError, match="may not sign in"):
            tap.connect(user=tap.id)
        publish.publish(loaded, Identity(tap.id, tap.id, "service", ()))
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            try:
                tap.connect(user=tap.id).close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
