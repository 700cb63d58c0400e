"""`taprail policy` as people and scripts use it: what it says, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec import json

from taprail.streams.cli import main

POLICY = """id: {id}
title: Nothing is deleted
level: low
verdict: deny
match: "'DELETE' in statement.kinds"
tests: {{match: [DELETE FROM orders], pass: [SELECT 1]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "one.yaml").write_text(POLICY.format(id="one"))
    return tmp_path / "policies"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["policy", *map(str, arguments)])


def test_list_shows_the_strictest_first(folder: Path) -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].startswith("deny ") and lines[-1].startswith("alert ")
    [line] = run("list", folder, "--json").stdout.splitlines()
    assert json.decode(line)["id"] == "one"


def test_lint_reads_all_files_and_tells_all_errors(folder: Path) -> None:
    assert run("lint", folder).exit_code == 0
    (folder / "two.yaml").write_text(POLICY.format(id="one"))
    (folder / "three.yaml").write_text(POLICY.format(id="three").replace("kinds", "kins"))
    found = run("lint", folder)
    assert found.exit_code == 1
    assert "id 'one' is the id of" in found.stderr and "did you mean 'kinds'?" in found.stderr
    assert "1 policy is fine, 2 files aren't" in found.stderr
    assert run("lint", folder / "none").exit_code == 1


def test_lint_asks_for_tests_of_both_kinds(folder: Path) -> None:
    (folder / "one.yaml").write_text(POLICY.format(id="one").replace(", pass: [SELECT 1]", ""))
    found = run("lint", folder)
    assert found.exit_code == 0 and "has no tests of both kinds" in found.stderr


def test_test_tells_what_fails(folder: Path) -> None:
    assert run("test", folder).exit_code == 0
    (folder / "one.yaml").write_text(POLICY.format(id="one").replace("SELECT 1", "DELETE FROM a, SELEC"))
    found = run("test", folder)
    assert found.exit_code == 1 and "1 of 3 tests passed" in found.stderr
    assert "must pass, and matches" in found.stderr and "can't be tried: syntax error" in found.stderr
    (folder / "one.yaml").write_text(POLICY.format(id="one").partition("tests:")[0])
    assert run("test", folder).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "actions", "rules"),
    [
        (["DELETE FROM orders"], ["hold"], ["unbounded-write"]),
        (["DELETE FROM orders", "--on", "dev"], ["allow"], [""]),
        (["SELECT email FROM customers; DROP TABLE orders"], ["mask", "deny"], ["", "no-drop-in-prod"]),
        (["SELECT email FROM customers", "--group", "data-owners"], ["allow"], [""]),
        (["SELECT 1", "--kind", "agent"], ["deny"], ["agent-purpose"]),
        (["SELECT 1", "--kind", "agent", "--purpose", "OPS-1"], ["allow"], [""]),
        (["SET ROLE postgres"], ["deny"], ["session-identity"]),
        (["SELECT secret FROM x.t", "--table", "x.t=id int, secret text"], ["mask"], [""]),
    ],
)
def test_explain_says_what_would_become_of_a_statement(
    arguments: list[str], actions: list[str], rules: list[str]
) -> None:
    told = [json.decode(line) for line in run("explain", *arguments, "--json").stdout.splitlines()]
    assert [each["action"] for each in told] == actions and [each["rule"] for each in told] == rules


def test_explain_shows_the_first_condition_that_speaks_against() -> None:
    shown = run("explain", "SELECT 1").stdout
    assert 'no  agent-purpose (deny)\n      false where person.kind in ["agent"]\n' in shown
    agent = run("explain", "SELECT id FROM orders", "--kind", "agent", "--purpose", "OPS-1").stdout
    assert "no  agent-rows (deny)\n      false rows_per_hour history.rows_last_hour >= 10000\n" in agent
    refused = run("explain", "SELEC 1")
    assert refused.exit_code == 1 and "syntax error" in refused.stderr


def test_diff_names_what_differs(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.yaml").write_text(POLICY.format(id="one").replace("level: low", "level: high"))
    (other / "two.yaml").write_text(POLICY.format(id="two"))
    found = run("diff", folder, "--against", other)
    assert found.exit_code == 1
    assert found.stdout.splitlines() == ["~ one", "    -level: high", "    +level: low", "- two"]
    (other / "two.yaml").unlink()
    (other / "one.yaml").write_text(POLICY.format(id="one").replace("SELECT 1", "SELECT 2"))
    same = run("diff", folder, "--against", other)
    assert same.exit_code == 0 and "nothing differs" in same.stderr


def test_a_control_character_in_a_title_does_nothing_to_the_terminal(folder: Path) -> None:
    (folder / "one.yaml").write_text(
        POLICY.format(id="one")
        .replace("Nothing", '"\\e[31mNothing"')
        .replace('"\\e[31mNothing" is deleted', '"\\e[31mNothing"')
    )
    assert "\x1b" not in run("list", folder).stdout
