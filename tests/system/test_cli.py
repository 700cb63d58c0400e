"""The command line over a stack that runs: what people and their scripts see, through every verb."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taprail.schemas.errors import StackError
from taprail.streams import local
from taprail.streams.audit.copy import copy_log
from taprail.streams.supervise import ROLES
from tests.system.installation import TAPRAIL, Installation, eventually, new_home, processes_of, taprail

PARTS = {"kafka", "connect", "registry", "postgresql", "identity"}
ESCAPE = "\x1b"
TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, email text);
CREATE TABLE carts (id int PRIMARY KEY);
INSERT INTO customers SELECT i, 'person' || i || '@mail.example' FROM generate_series(1, 20) i;
INSERT INTO carts SELECT generate_series(1, 4);
"""

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def up() -> Iterator[Installation]:
    """Started with `up -d`, and stopped with `down`, after which nothing is left of it."""
    with new_home() as home:
        answer = taprail("up", "-d", "--home", home)
        assert answer.returncode == 0, answer.stderr + (home / "run" / "up.log").read_text()
        assert f"taprail token ann --home {home}" in answer.stdout and ESCAPE not in answer.stdout + answer.stderr
        installation = Installation(home)
        for database in ("dev", "prod"):
            with installation.directly(database) as connection:
                connection.execute(TABLES.encode())
        yield installation
        stopped = installation.run("down")
        assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
        assert processes_of(home) == []
        again = installation.run("down")
        assert again.returncode == 1 and "no stack runs" in again.stderr


def test_a_second_up_says_that_it_is_up_and_harms_nothing(up: Installation) -> None:
    before = up.status()
    for arguments in (["up"], ["up", "-d"], ["demo"]):
        answer = up.run(*arguments)
        assert answer.returncode == 1
        assert answer.stderr.startswith(f"taprail: a stack runs already in {up.home} (pid {before['pid']})")
        assert "taprail down" in answer.stderr
    after = up.status()
    assert [p["pid"] for p in after["processes"]] == [p["pid"] for p in before["processes"]]


def test_status_says_what_runs_and_where(up: Installation) -> None:
    found = up.status()
    assert {p["name"] for p in found["processes"]} == PARTS | set(ROLES) and found["missing"] == []
    assert all(p["mib"] > 0 and Path(f"/proc/{p['pid']}").exists() for p in found["processes"])
    host, port = found["tap"].split(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    text = up.run("status")
    assert text.returncode == 0 and ESCAPE not in text.stdout
    for process in found["processes"]:
        assert f"{process['name']:<12} pid {process['pid']}" in text.stdout
    assert found["tap"] in text.stdout and found["approvals"] in text.stdout


def test_status_says_what_does_not_run(up: Installation) -> None:
    before = up.status()
    os.kill(before["pid"], signal.SIGSTOP)  # the supervisor, so that there is time to look
    try:
        os.kill(next(p["pid"] for p in before["processes"] if p["name"] == "identity"), signal.SIGKILL)
        assert eventually(lambda: up.status()["missing"], 10, "the kill is seen") == ["identity"]
        assert "identity     doesn't run now" in up.run("status").stdout
    finally:
        os.kill(before["pid"], signal.SIGCONT)
    eventually(lambda: not up.status()["missing"], 30, "a part of the stack is started again")
    eventually(lambda: up.run("token", "ann").returncode == 0, 30, "and serves")
    log = (up.home / "run" / "up.log").read_text()
    assert "identity provider ended" in log and "identity provider started again" in log


def test_tail_shows_every_environment_and_filters(up: Installation) -> None:
    hostile = f"{ESCAPE}]0;owned\a{ESCAPE}[2J"
    for person, database in (("ann", "dev"), ("bob", "prod"), ("ann", "prod")):
        with up.connect(person, database) as connection:
            connection.execute(f'SELECT count(*) AS "{hostile}{person}" FROM customers'.encode())

    def tail(*arguments: str) -> str:
        answer = up.run("tail", "--since", "10m", *arguments)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    lines = [json.loads(line) for line in tail("--json", "-k", "statements", "--count", "3").splitlines()]
    assert {(r["person"]["subject"], r["environment"]) for r in lines} == {
        ("ann", "dev"),
        ("bob", "prod"),
        ("ann", "prod"),
    }
    assert {r["topic"] for r in lines} == {"taprail.statements"}
    (line,) = tail("--json", "-k", "statements", "-e", "prod", "-p", "ann", "--count", "1").splitlines()
    record = json.loads(line)
    assert (record["person"]["subject"], record["database"]) == ("ann", "prod")
    name = record["person"]["name"]
    (line,) = tail("--json", "-k", "outcomes", "-d", "dev", "--count", "1").splitlines()
    assert json.loads(line)["status"] == "ok"
    text = tail("-e", "dev", "-k", "statements", "--count", "1")
    assert "dev" in text and name in text and "SELECT count(*)" in text
    assert ESCAPE not in text and "\\x1b]0;owned\\x07\\x1b[2J" in text, "a statement may not write to the terminal"
    assert up.run("tail", "--since", "yesterday").returncode == 2
    assert up.run("tail", "-k", "secrets").returncode == 2


def test_tail_goes_on_until_it_is_interrupted(up: Installation) -> None:
    command = [*TAPRAIL, "tail", "--json", "-k", "sessions", "-p", "eve", "--home", str(up.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.append(process.stdout.readline()))  # type: ignore[union-attr]
        reader.start()

        def comes() -> bool:
            up.connect("eve", "dev").close()
            return bool(seen)

        eventually(comes, 20, "a session on the live view")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert "Traceback" not in process.stderr.read()
    assert json.loads(seen[0])["event"] in ("opened", "closed")


def test_a_token_is_one_line_and_signs_in(up: Installation) -> None:
    answer = up.run("token", "ann")
    assert answer.returncode == 0 and answer.stderr == "" and answer.stdout.count("\n") == 1
    tap = up.loaded.settings.tap
    dsn = f"host={tap.host} port={tap.port} user=ann dbname=dev sslmode=require"
    with psycopg.connect(dsn, password=answer.stdout.strip()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn, password=answer.stdout.strip()[:-4])


class Held(threading.Thread):
    """ann's DELETE without WHERE in prod, which waits for a decision."""

    def __init__(self, up: Installation) -> None:
        super().__init__(daemon=True)
        self._up = up
        self.deleted: int | None = None
        self.error: psycopg.Error | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._up.connect("ann", "prod") as connection:
                self.deleted = connection.execute("DELETE FROM carts").rowcount
        except psycopg.Error as error:
            self.error = error


def _waiting(up: Installation, token: str) -> dict[str, Any]:
    def pending() -> list[dict[str, Any]]:
        answer = up.run("approvals", "list", "--json", TAPRAIL_TOKEN=token)
        assert answer.returncode == 0, answer.stderr
        return [json.loads(line) for line in answer.stdout.splitlines()]

    (approval,) = eventually(pending, 20, "the held statement asks")
    return dict(approval)


def test_approvals_are_listed_denied_and_approved(up: Installation) -> None:
    ann, bob = (up.run("token", person).stdout.strip() for person in ("ann", "bob"))
    held = Held(up)
    asked = _waiting(up, bob)
    name = asked["approval_id"]
    listed = up.run("approvals", "list", "--token", bob)
    assert listed.stdout == f"{name}  prod  {asked['person']['name']}  DELETE FROM carts\n"
    shown = up.run("approvals", "show", name, "--token", bob)
    assert shown.returncode == 0 and "DELETE FROM carts" in shown.stdout and json.loads(shown.stdout)
    own = up.run("approvals", "approve", name, "-r", "I want it", "--token", ann)
    assert own.returncode == 1 and own.stderr.startswith("taprail: "), "who asked may not decide"
    denied = up.run("approvals", "deny", name, "-r", "add a WHERE, please", "--token", bob)
    assert denied.returncode == 0 and denied.stdout.strip()
    held.join(20)
    assert held.error is not None and "add a WHERE, please" in str(held.error)
    late = up.run("approvals", "approve", name, "-r", "after all", "--token", bob)
    assert late.returncode == 1, "a decision stands"

    held = Held(up)
    name = _waiting(up, bob)["approval_id"]
    approved = up.run("approvals", "approve", name, "-r", "they are abandoned", "--ticket", "OPS-17", "--token", bob)
    assert approved.returncode == 0, approved.stderr
    held.join(20)
    assert (held.error, held.deleted) == (None, 4)
    with up.directly() as connection:
        assert connection.execute("SELECT count(*) FROM carts").fetchone() == (0,)
    assert up.run("approvals", "list", "--token", "nonsense").returncode == 1
    assert up.run("approvals", "list", TAPRAIL_TOKEN="").returncode == 2


def test_the_log_is_asked_and_verified(up: Installation) -> None:
    with up.connect("ann") as connection, pytest.raises(psycopg.Error, match="no-drop-in-prod"):
        connection.execute("DROP TABLE customers")
    query = "SELECT person_subject, action, rule FROM statements WHERE tag = 'DROP TABLE'"

    def rows(style: str) -> Callable[[], str]:
        return lambda: up.run("audit", "sql", query, "--format", style).stdout

    eventually(lambda: "no-drop-in-prod" in rows("json")(), 20, "the denial is in the log")
    wanted = {"person_subject": "ann", "action": "deny", "rule": "no-drop-in-prod"}
    assert [json.loads(line) for line in rows("json")().splitlines()] == [wanted]
    assert list(csv.DictReader(io.StringIO(rows("csv")()))) == [wanted]
    assert "ann" in rows("table")() and ESCAPE not in rows("table")()
    wide = up.run("audit", "sql", "SELECT * FROM statements").stdout
    assert "person_subject" in wide and "no-drop-in-prod" in wide and "…" not in wide, "nothing is cut off"
    report = up.run("audit", "report", "--relation", "customers")
    assert report.returncode == 0 and "# who tried to drop a table" in report.stdout and "ann" in report.stdout
    answers = [json.loads(line) for line in up.run("audit", "report", "--format", "json").stdout.splitlines()]
    assert [answer["rows"][0]["person_subject"] for answer in answers if answer["rows"]] == ["ann"]
    refused = up.run("audit", "sql", "DELETE FROM statements")
    assert refused.returncode == 1 and "one SELECT" in refused.stderr


def test_the_log_verifies_and_a_changed_copy_does_not(up: Installation, tmp_path: Path) -> None:
    sound = up.run("audit", "verify")
    assert sound.returncode == 0 and sound.stdout.startswith("OK: ")
    copy_log(up.log, tmp_path / "log")
    key = tmp_path / "key.pem"
    shutil.copy(up.home / "log.pub.pem", key)
    assert taprail("audit", "verify", tmp_path / "log", "--key", key).returncode == 0
    segment = min((tmp_path / "log").glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 3] ^= 1
    segment.write_bytes(data)
    spoilt = taprail("audit", "verify", tmp_path / "log", "--key", key, "--json")
    report = json.loads(spoilt.stdout)
    assert spoilt.returncode == 1 and report["ok"] is False and report["problems"][0]["first"] >= 0


def test_the_configuration_that_up_makes_is_fine_and_private(up: Installation) -> None:
    answer = taprail("config", "check", up.home / "taprail.toml")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.endswith("databases: dev (dev), staging (staging), prod (prod)\n")
    private = [up.home / "taprail.toml", up.home / "run" / "up.json", *(up.home / "secrets").iterdir()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


def test_a_second_stack_lives_beside_the_first(up: Installation) -> None:
    """Its ports are its own, it says which were taken, and its end leaves the first alone."""
    first = up.status()
    with new_home() as home:
        answer = taprail("up", "-d", "--home", home)
        try:
            assert answer.returncode == 0, answer.stderr
            other = Installation(home)
            second = other.status()
            assert {second["tap"], second["approvals"]}.isdisjoint({first["tap"], first["approvals"]})
            assert f"tap listens on {second['tap'].split(':')[1]}" in (home / "run" / "up.log").read_text()
            with other.connect("ann", "dev") as connection:
                assert connection.execute("SELECT to_regclass('public.customers')").fetchone() == (None,)
            with pytest.raises(psycopg.OperationalError):  # a token of the one is nothing to the other
                tap = up.loaded.settings.tap
                psycopg.connect(
                    host=tap.host,
                    port=tap.port,
                    user="ann",
                    dbname="dev",
                    password=other.token("ann"),
                    sslmode="require",
                )
        finally:
            assert taprail("down", "--home", home).returncode == 0
        assert processes_of(home) == []
    assert up.status()["processes"] and {p["pid"] for p in up.status()["processes"]} == {
        p["pid"] for p in first["processes"]
    }


def test_a_stack_that_died_is_no_stack_that_runs(tmp_path: Path) -> None:
    """up.json of a stack that was killed, its process id taken by somebody else: `down` may not end that one."""
    (tmp_path / "run").mkdir()
    with subprocess.Popen(["sleep", "60"]) as somebody:
        (tmp_path / "run" / "up.json").write_text(
            json.dumps({"pid": somebody.pid, "started": 1.0, "tap": "127.0.0.1:1", "approvals": "http://127.0.0.1:2"})
        )
        with pytest.raises(StackError, match="no stack runs"):
            local.running_in(tmp_path)
        answer = taprail("down", "--home", tmp_path)
        assert answer.returncode == 1 and "no stack runs" in answer.stderr
        assert somebody.poll() is None
        somebody.kill()


def test_a_start_in_the_background_that_is_interrupted_leaves_nothing() -> None:
    with new_home() as home:
        command = [*TAPRAIL, "up", "-d", "--home", str(home)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            eventually(lambda: len(processes_of(home)) > 4, 30, "parts start")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in said + (home / "run" / "up.log").read_text()
        assert processes_of(home) == []


def test_what_keeps_it_from_starting_is_said(tmp_path: Path) -> None:
    (tmp_path / "stack").write_text("a file where the stack wants a folder")
    answer = taprail("up", "-d", "--home", tmp_path)
    assert answer.returncode == 1
    assert "the stack didn't start" in answer.stderr and str(tmp_path / "run" / "up.log") in answer.stderr
    assert processes_of(tmp_path) == []
