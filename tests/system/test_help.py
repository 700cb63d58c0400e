"""What the command line says without a stack: help that teaches, errors that say what to do, exit codes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from taprail.streams.cli import main
from tests.system.installation import taprail

EXAMPLE = re.compile(r"^ +taprail (.+)$|\$\(taprail ([^)]*)\)", re.MULTILINE)
MINIMAL = """
[kafka]
bootstrap = "127.0.0.1:9092"
[registry]
url = "http://127.0.0.1:8081"
[identity]
issuer = "https://idp.example.com"
[tap]
plaintext_tokens = true
[keys]
mark = "file:mark"
data = "file:data"
control_public = {}
[[databases]]
name = "prod"
environment = "prod"
server = "local"
host = "127.0.0.1"
catalog_role = "catalog"
catalog_password = "env:CATALOG"
[[databases.roles]]
group = "*"
role = "app"
password = "env:APP"
"""
SECRETS = {"CATALOG": "c", "APP": "a"}


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


EVERY = [(path, command) for path, command in commands(main) if path]


@pytest.mark.parametrize("path", [path for path, _ in EVERY], ids=" ".join)
def test_help_of_each_verb_teaches_by_examples(path: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(main, [*path, "--help"])
    assert answer.exit_code == 0
    text = answer.output
    assert re.search(r"^ +Examples?:$", text, re.MULTILINE), text
    examples = [alone or inside for alone, inside in EXAMPLE.findall(text)]
    assert examples and any(line.startswith(" ".join(path)) for line in examples)
    assert "\x1b" not in text and "\x08" not in text
    for line in examples:
        words = shlex.split(line)
        parsed_to: click.Command = main
        context = click.Context(main, info_name="taprail")
        while isinstance(parsed_to, click.Group):
            found = parsed_to.get_command(context, words.pop(0))
            assert found is not None, line
            parsed_to = found
            if not words:
                break
        if not isinstance(parsed_to, click.Group):
            with parsed_to.make_context("taprail", words, resilient_parsing=True) as parsed:
                assert not parsed.args, line


def test_the_first_page_says_where_to_start() -> None:
    answer = taprail("--help")
    assert answer.returncode == 0 and "taprail demo" in answer.stdout
    assert taprail("--version").stdout.startswith("taprail, version ")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["status"], "no stack runs in .taprail"),
        (["down"], "no stack runs in .taprail"),
        (["token", "ann"], "can't read .taprail/taprail.toml"),
        (["tail"], "can't read .taprail/taprail.toml"),
        (["approvals", "list", "--token", "x"], "can't read .taprail/taprail.toml"),
        (["audit", "verify"], "log.pub.pem"),
        (["audit", "sql", "SELECT 1"], ".taprail/log"),
        (["audit", "report"], ".taprail/log"),
        (["config", "check"], "can't read taprail.toml"),
        (["run", "tap"], "can't read taprail.toml"),
        (["init"], "can't read taprail.toml"),
        (["demo", "--json", "nowhere/story.json"], "nowhere isn't a directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_without_a_stack_each_verb_says_what_is_missing(
    command: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(main, command)
    assert answer.exit_code == 1
    first, *rest = answer.output.splitlines()
    assert first.startswith("taprail: ") and said in first
    assert rest and rest[0].startswith("  "), "what to do next"
    assert list(tmp_path.iterdir()) == [], "nothing was made"


@pytest.mark.parametrize(
    "command", [["bogus"], ["up", "--bogus"], ["run", "nobody"], ["keys", "new", "x", "y"], ["connect"]]
)
def test_wrong_usage_ends_with_2(command: list[str]) -> None:
    assert CliRunner().invoke(main, command).exit_code == 2


def checked(path: Path, text: str, **environment: str) -> tuple[int, str]:
    path.write_text(text)
    answer = CliRunner().invoke(main, ["config", "check", str(path)], env=environment)
    return answer.exit_code, answer.output


def test_config_check_takes_what_is_right(tmp_path: Path) -> None:
    for name in ("mark", "data"):
        (tmp_path / name).write_text("00" * 32)
    code, said = checked(tmp_path / "taprail.toml", MINIMAL, **SECRETS)
    assert (code, said) == (0, f"{tmp_path / 'taprail.toml'}: fine; databases: prod (prod)\n")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("plaintext_tokens = true", "plaintext_tokens = tru", "line 9"),
        ("plaintext_tokens = true", 'plaintext_tokens = "yes"', "$.tap.plaintext_tokens"),
        ("plaintext_tokens = true", "plain_text_tokens = true", "plain_text_tokens"),
        ("plaintext_tokens = true", "plaintext_tokens = true\nport = 65536", "$.tap.port"),
        ("plaintext_tokens = true", 'plaintext_tokens = true\ndurability = "ever"', "$.tap.durability"),
        ("plaintext_tokens = true", "plaintext_tokens = false", "nobody can sign in with a token"),
        ('issuer = "https://idp.example.com"', "", "issuer"),
        ('"env:APP"', '"hunter2"', "$.databases[0].roles[0].password"),
        ('"env:APP"', '"env:NOT_THERE"', "NOT_THERE is not set"),
        ('"file:data"', '"file:elsewhere"', "keys.data"),
        ("control_public = {}", 'control_public = {a = "a.pem"}', "keys.control_public.a"),
    ],
)
def test_config_check_says_what_is_wrong_and_where(before: str, after: str, said: str, tmp_path: Path) -> None:
    for name in ("mark", "data"):
        (tmp_path / name).write_text("00" * 32)
    assert MINIMAL.count(before) == 1
    code, answer = checked(tmp_path / "taprail.toml", MINIMAL.replace(before, after), **SECRETS)
    assert code == 1 and said in answer
    assert "hunter2" not in answer, "a secret that stands in the wrong place isn't shown"
    assert "Traceback" not in answer


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    for kind in ("mark", "data", "control", "log"):
        path = tmp_path / "keys" / kind
        command = ["keys", "new", kind, str(path)]
        assert CliRunner().invoke(main, command).exit_code == 0
        assert path.stat().st_mode & 0o777 == 0o600
        made = path.read_bytes()
        again = CliRunner().invoke(main, command)
        assert again.exit_code == 1 and "is there already" in again.output
        assert path.read_bytes() == made
        assert path.with_name(kind + ".pub").exists() == (kind in ("control", "log"))
