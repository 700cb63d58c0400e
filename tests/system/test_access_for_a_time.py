"""Approvals that nobody waits for, access that ends by itself, emergencies: by command line, over a real stack."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.system.installation import Installation, eventually, installed, new_home

TABLES = """
CREATE TABLE carts (id int PRIMARY KEY);
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO carts SELECT generate_series(1, 4);
INSERT INTO orders SELECT i, '' FROM generate_series(1, 4) i;
"""
DELETE = "DELETE FROM carts"
SECONDS_MAX = 20.0

pytestmark = pytest.mark.timeout(240)


class Scene:
    """Ann asks, Bob decides."""

    def __init__(self, up: Installation) -> None:
        self.up, self.ann, self.bob = up, up.token("ann"), up.token("bob")

    def say(self, person: str, *arguments: str) -> str:
        token = self.ann if person == "ann" else self.bob
        answer = self.up.run(*arguments, TAPRAIL_TOKEN=token)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def asked(self, *arguments: str) -> str:
        """Ann asks for access; the request's name."""
        return self.say("ann", "access", "request", "-e", "prod", "-r", "clean up", *arguments).partition(":")[0]

    def approve(self, name: str, *arguments: str) -> None:
        eventually(lambda: name in self.say("bob", "approvals", "list"), SECONDS_MAX, f"{name} asks")
        self.say("bob", "approvals", "approve", name, "-r", "fine", *arguments)

    def runs(self, statement: str = DELETE) -> bool:
        """Whether it runs for Ann without waiting; it is undone."""
        with self.up.connect("ann") as connection, connection.transaction(force_rollback=True):
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                return False
            return True

    def states(self, name: str) -> list[str]:
        rows = self.up.ask(f"SELECT DISTINCT status FROM approval_states WHERE approval_id = '{name}'")
        return sorted(row[0] for row in rows)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with new_home() as home, installed(home) as up:
        with up.directly() as connection:
            connection.execute(TABLES.encode())
        yield Scene(up)


def told(connection: psycopg.Connection[Any], statement: str = DELETE) -> str:
    """The approval that is asked for."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="asks for it") as caught:
        connection.execute(statement.encode())
    assert "run it again then, within" in (caught.value.diag.message_hint or "")
    found = re.search(r"and (tap-\S+) asks for it", str(caught.value))
    assert found is not None, caught.value
    return found[1]


def test_inside_a_transaction_it_is_told_at_once_and_runs_once_when_it_is_approved(scene: Scene) -> None:
    with scene.up.connect("ann") as connection:
        with pytest.raises(psycopg.errors.InFailedSqlTransaction), connection.transaction():
            name = told(connection)
            connection.execute("SELECT 1")
        scene.approve(name)
        shown = json.loads(scene.say("bob", "approvals", "show", name))
        assert shown["planner"].startswith("about ") and shown["text"] == DELETE
        assert (
            shown["allows"] == "the statement runs once, exactly as shown, when ann@example.com sends it within 15 min"
        )
        eventually(lambda: scene.states(name) == ["approved", "requested"], SECONDS_MAX, "it is approved")
        with connection.transaction(force_rollback=True):
            told(connection, DELETE + " WHERE true")
        with connection.transaction():
            assert eventually(lambda: connection.execute(DELETE), 5.0).rowcount == 4
            connection.execute("INSERT INTO carts SELECT generate_series(1, 4)")
        with connection.transaction(force_rollback=True):
            assert told(connection) != name
    eventually(lambda: scene.states(name) == ["approved", "requested", "run"], SECONDS_MAX, "it ran")
    rows = scene.up.ask(f"SELECT person_subject, action, held_sequence FROM statements WHERE approval = '{name}'")
    assert rows == [("ann", "allow", 0)]


def test_of_two_who_use_an_approval_at_the_same_time_one_does(scene: Scene) -> None:
    with scene.up.connect("ann") as connection, connection.transaction(force_rollback=True):
        name = told(connection)
    scene.approve(name)
    eventually(lambda: "approved" in scene.states(name), SECONDS_MAX)
    time.sleep(1.0)
    with ThreadPoolExecutor(8) as pool:
        ran = list(pool.map(lambda _: scene.runs(), range(8)))
    assert sum(ran) == 1


def test_what_is_approved_just_before_the_service_dies_is_given_when_it_is_back(scene: Scene) -> None:
    name = scene.asked("--relation", "public.orders", "--for", "10m")
    scene.approve(name)
    scene.up.kill("agents")
    update = "UPDATE orders SET note = 'x'"
    eventually(lambda: scene.runs(update), SECONDS_MAX, "it runs without asking")
    scene.say("ann", "access", "revoke", name, "-r", "done")
    scene.up.kill("agents")
    eventually(lambda: f"{name}  taken back" in scene.say("ann", "access", "list"), SECONDS_MAX, "it stays taken back")
    assert not scene.runs(update)


def test_access_to_a_relation_is_for_it_alone_and_ends_when_it_is_taken_back(scene: Scene) -> None:
    assert not scene.runs()
    name = scene.asked("--relation", "public.carts", "--for", "10m")
    assert not scene.runs(), "asking gives nothing"
    scene.approve(name)
    eventually(scene.runs, 5.0, "it runs without asking")
    assert not scene.runs("UPDATE orders SET note = 'x'")
    assert f"{name}  in force" in scene.say("ann", "access", "list")
    scene.say("bob", "access", "revoke", name, "-r", "that will do")
    eventually(lambda: not scene.runs(), 5.0, "it is held again")
    rows = eventually(
        lambda: scene.up.ask(f"SELECT count(*) FROM statements WHERE approval = '{name}' AND held_sequence = 0"),
        SECONDS_MAX,
    )
    assert rows[0][0] >= 1


def test_access_to_a_role_ends_by_itself_with_its_sessions(scene: Scene) -> None:
    name = scene.asked("--role", "app_owner", "--for", "8s")
    with scene.up.connect("ann") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("app_engineer",)
        scene.approve(name)
        approved = time.monotonic()

        def role() -> Any:
            with scene.up.connect("ann") as again:
                return again.execute("SELECT current_user").fetchone() == ("app_owner",)

        eventually(role, 5.0, "a new session has the role")
        lasting = scene.up.connect("ann")
        with pytest.raises(psycopg.OperationalError, match="given for a time is over"):
            lasting.execute("SELECT pg_sleep(60)")
        assert 6.0 < time.monotonic() - approved < 8.0 + 5.0
        assert not role()
        assert connection.execute("SELECT current_user").fetchone() == ("app_engineer",), "others live on"


def test_an_emergency_lifts_what_is_denied_and_waits_for_a_review(scene: Scene) -> None:
    with scene.up.directly() as connection:
        connection.execute("CREATE TABLE scratch (id int)")
    drop = "DROP TABLE scratch"
    assert not scene.runs(drop)
    said = scene.say(
        "ann", "access", "emergency", "-e", "prod", "-r", "orders fail", "--for", "5m", "--role", "app_owner"
    )
    name = said.partition(":")[0]
    eventually(
        lambda: scene.up.ask("SELECT rule FROM detections WHERE rule = 'break-glass'"), SECONDS_MAX, "it is told"
    )

    def allowed() -> bool:
        """The tap lets it through: that the server's role doesn't own the table is another matter."""
        with scene.up.connect("ann") as connection, connection.transaction(force_rollback=True):
            try:
                connection.execute(drop.encode())
            except psycopg.errors.InsufficientPrivilege as error:
                return "must be owner" in str(error)
            return True

    eventually(allowed, 5.0, "the drop is let through")
    assert f"{name}  in force, review open" in scene.say("bob", "access", "list")
    own = scene.up.run("access", "review", name, "-f", "fine", TAPRAIL_TOKEN=scene.ann)
    assert own.returncode == 1 and "nobody reviews his own emergency" in own.stderr
    scene.say("ann", "access", "revoke", name, "-r", "orders work again")
    eventually(lambda: not allowed(), 5.0, "it is over")
    assert f"{name}  taken back, review open" in scene.say("bob", "access", "list")
    scene.say("bob", "access", "review", name, "-f", "she dropped a scratch table")
    eventually(
        lambda: scene.up.ask("SELECT rule FROM detections WHERE rule = 'break-glass-reviewed'"),
        SECONDS_MAX,
        "it is told",
    )


def test_without_kafka_a_hold_is_refused_and_says_why(scene: Scene) -> None:
    broker = scene.up.pid("kafka")
    with scene.up.connect("ann") as connection:
        os.kill(broker, signal.SIGSTOP)
        try:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="can't be asked for: Kafka") as caught:
                connection.execute(DELETE.encode())
        finally:
            os.kill(broker, signal.SIGCONT)
        assert caught.value.diag.message_hint == "try again when Kafka answers"
        assert connection.execute("SELECT count(*) FROM carts").fetchone() == (4,)
