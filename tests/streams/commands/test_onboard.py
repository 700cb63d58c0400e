"""`taprail onboard`: it shows what it will do, does it when it is told to, and takes it back."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from taprail.connectors.postgres.onboard import Step
from taprail.schemas.endpoints import Endpoints
from taprail.schemas.errors import SettingsError, StackError
from taprail.streams import keys
from taprail.streams.commands.onboard import HIDDEN, onboard, script


@pytest.fixture
def config(tmp_path: Path, stack: Endpoints, fresh_database: str) -> Iterator[Path]:
    postgres, mine = stack.postgres, secrets.token_hex(4)
    (tmp_path / "admin").write_text(postgres.password)
    (tmp_path / "word").write_text("only-a-test's")
    keys.new_symmetric(tmp_path / "person")
    path = tmp_path / "taprail.toml"
    path.write_text(f"""
[kafka]
bootstrap = "kafka:9092"
passwords = {{ tap = "file:word" }}
[registry]
url = "http://registry:8080"
[identity]
issuer = "https://login.example.com"
[tap]
plaintext_tokens = true
[keys]
mark = "file:word"
data = "file:word"
person = "file:person"
control_public = {{ control-1 = "control.pub.pem" }}
[[databases]]
name = "shop"
environment = "prod"
server = "main"
host = "{postgres.host}"
port = {postgres.port}
database = "{fresh_database}"
tls = "disable"
catalog_role = "catalog_{mine}"
catalog_password = "file:word"
feed_role = "feed_{mine}"
feed_password = "file:word"
admin_role = "{postgres.superuser}"
admin_password = "file:admin"
roles = [{{group = "*", role = "app_{mine}", password = "file:word"}}]
""")
    yield path
    run(path, "--undo", "--apply", "--yes")


def run(config: Path, *options: str) -> Result:
    return CliRunner().invoke(onboard, ["shop", "--config", str(config), *options], catch_exceptions=False)


def report(config: Path, *options: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run(config, "--json", *options).stdout)
    return told


def test_it_shows_does_and_takes_back(config: Path) -> None:
    shown = run(config, "--tap", "10.0.7.0/24")
    assert shown.exit_code == 0 and "Nothing was changed yet" in shown.output
    assert 'hostssl "test_' in shown.output and "10.0.7.0/24 scram-sha-256" in shown.output
    assert "CREATE PUBLICATION taprail" in shown.output and "the server can be onboarded" in shown.output
    first = report(config)
    assert len(first["steps"]) > 20 and first["applied"] is False
    assert [step["reason"] for step in report(config)["steps"]] == [step["reason"] for step in first["steps"]]
    done = run(config, "--apply", "--yes")
    assert done.exit_code == 0 and f"done: {len(first['steps'])} steps" in done.output
    assert report(config)["steps"] == [] and "nothing to do" in run(config).output
    assert run(config, "--undo", "--apply", "--yes").exit_code == 0
    assert len(report(config)["steps"]) == len(first["steps"]) and report(config, "--undo")["steps"] == []


def test_neither_passwords_nor_keys_are_shown(config: Path) -> None:
    key = (config.parent / "person").read_text().strip()
    text = "".join(run(config, *options).output for options in ([], ["--json"], ["--sql"], ["--undo"]))
    assert "only-a-test's" not in text and key not in text
    assert HIDDEN in text


def test_the_script_is_one_that_psql_runs(config: Path, stack: Endpoints) -> None:
    written = run(config, "--sql").stdout
    database = report(config)["pg_hba"][0].split('"')[1]
    ran = subprocess.run(
        [stack.psql, "-X", "-q", "-d", stack.postgres.dsn(database)], input=written, text=True, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    left = report(config)["steps"]
    assert left and all(step["sql"] == "" for step in left), "only what holds a key is still to be done"


def test_what_it_cannot_do_it_says_at_once(config: Path) -> None:
    good = config.read_text()
    for wrong, error, says in (
        (good.replace('name = "shop"', 'name = "store"'), SettingsError, "no database 'shop'"),
        (good.replace("admin_role", "#"), SettingsError, "admin_role is not set"),
        (good.replace('admin_password = "file:admin"', 'admin_password = "file:word"'), StackError, "administrator"),
    ):
        config.write_text(wrong)
        with pytest.raises(error, match=says):
            run(config)
    config.write_text(good)


def test_a_server_that_is_not_ready_is_left_alone(config: Path, stack: Endpoints) -> None:
    """As somebody who is no superuser."""
    role = f"modest_{secrets.token_hex(4)}"
    with psycopg.connect(stack.postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'modest'".encode())
        good = config.read_text()
        (config.parent / "modest").write_text("modest")
        config.write_text(good.replace(stack.postgres.superuser, role).replace("file:admin", "file:modest"))
        with pytest.raises(StackError, match="can't be onboarded"):
            run(config, "--apply", "--yes")
        config.write_text(good)
        assert len(report(config)["steps"]) > 20
        connection.execute(f"DROP ROLE {role}".encode())


def test_a_script_is_all_or_nothing() -> None:
    text = script([Step("CREATE SCHEMA x", "a place"), Step("SECRET", "a key", secret=True)])
    assert text.splitlines()[:2] == ["\\set ON_ERROR_STOP on", "BEGIN;"] and text.endswith("COMMIT;")
    assert "-- a place\nCREATE SCHEMA x;" in text and "SECRET" not in text
