"""The documentation is true: links lead somewhere, commands exist, tables are those of the code, marked blocks run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import click
import msgspec
import pytest
from packaging.requirements import Requirement

from taprail.connectors.kafka.topics import DAY_MS, TOPICS, Topic
from taprail.connectors.local.artifacts import read_lock
from taprail.streams.approvals.states import TRANSITIONS
from taprail.streams.cli import main
from taprail.streams.policy.load import parse
from taprail.streams.policy.packs import shipped
from taprail.streams.settings_access import AccessRule
from taprail.streams.supervise import ROLES

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(<!-- run -->\n)?```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`(taprail [^`]+)`")
COMMAND = re.compile(r"(?:^|\(| )taprail ([a-z][^)\n;]*)", re.MULTILINE)


@cache
def pages() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(re.sub(FENCE, "", page.read_text())):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`((?:schemas|connectors|streams|tests|docs|deploy|bench)/[\w./-]+)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_commands_that_are_named_exist_with_their_options(page: Path) -> None:
    text = page.read_text()
    code = [*CODE.findall(re.sub(FENCE, "", text)), *(body for _, language, body in FENCE.findall(text) if language)]
    assert [line for part in code for line in COMMAND.findall(part) if problem(line)] == []


def problem(line: str) -> str:
    """What is wrong with a command line of `taprail`; '' where its verbs and options exist."""
    command: click.Command = main
    context = click.Context(main)
    words = shlex.split(line, comments=True)
    if words and set(words) & {"ROLE", "FILE", "VERB", "|"}:
        words = words[: min(words.index(w) for w in ("ROLE", "FILE", "VERB", "|") if w in words)]
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        if found is None:
            return "no such verb"
        command = found
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
    options = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    return ", ".join(options - known)


def test_the_check_of_commands_sees_what_is_wrong() -> None:
    assert problem("nonsense") and problem("audit nonsense") and problem("up --nonsense")
    assert not problem("up --detach") and not problem('audit sql "SELECT 1"') and not problem("run ROLE")


@pytest.mark.parametrize("page", pages(), ids=name)
def test_make_verbs_that_are_named_exist(page: Path) -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE))
    assert named - set(phony[1].split()) == set()


def blocks() -> list[tuple[str, str]]:
    """The blocks that stand behind `<!-- run -->`, with their place."""
    found = []
    for page in pages():
        for number, (marked, language, body) in enumerate(FENCE.findall(page.read_text())):
            if marked:
                assert language == "console", f"{name(page)}: what runs is a console block"
                found.append((f"{name(page)}:{number}", body))
    return found


@pytest.mark.parametrize(("place", "block"), blocks(), ids=[place for place, _ in blocks()])
def test_a_marked_block_does_what_it_shows(place: str, block: str, tmp_path: Path) -> None:
    """`$ command` lines, with `> ` before lines that go on, run in an empty directory, one after the other; the lines
    behind each are its output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(tmp_path), "COLUMNS": "200", "TAPRAIL_REPOSITORY": str(ROOT)}
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = next((n for n, line in enumerate(lines) if n and not line.startswith("> ")), len(lines))
        command, shown = "\n".join([lines[0], *(line[2:] for line in lines[1:end])]), lines[end:]
        run = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        assert run.stdout.splitlines() == shown, f"{place}: {command}\n{run.stdout}{run.stderr}"


def test_some_block_runs() -> None:
    assert blocks()


def test_the_table_of_shipped_policies_is_that_of_the_files() -> None:
    rows = [f"| `{p.id}` | {p.verdict} | {p.title} |" for p in shipped().policies]
    text = (ROOT / "docs" / "policies.md").read_text()
    assert text.partition("<!-- pack -->")[2].partition("<!-- /pack -->")[0].strip().splitlines() == rows


def kept(topic: Topic) -> str:
    if topic.config["cleanup.policy"] == "compact":
        return "newest per key"
    number = int(topic.config["retention.ms"]) // DAY_MS
    days = f"{number} day" + "s" * (number > 1)
    return f"{days}, newest per key" if "compact" in topic.config["cleanup.policy"] else days


def test_the_table_of_topics_is_that_of_the_code() -> None:
    cells = [
        (f"`{t.name}`", str(t.partitions), kept(t), ", ".join(t.writers), ", ".join(t.readers) or "administrators")
        for t in TOPICS
    ]
    rows = [f"| {' | '.join(row)} |" for row in cells]
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("<!-- topics -->")[2].partition("<!-- /topics -->")[0]
    assert table.strip().splitlines()[2:] == rows


def test_every_role_is_described_and_has_an_answer_to_its_death() -> None:
    architecture, operations = ((ROOT / "docs" / f"{page}.md").read_text() for page in ("architecture", "operations"))
    assert re.findall(r"^\| `(\w+)` \| (?:any|one)", architecture, re.MULTILINE) == sorted(
        ROLES, key=("tap", "stream", "agents", "ledger", "signer").index
    )
    assert set(ROLES) <= set(re.findall(r"^### (\w+)$", operations, re.MULTILINE))


def test_what_was_not_executed_is_said() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert re.search(r"\| `docker-compose\.yml` and `Dockerfile` as a whole.*\| \*\*no\*\*", text)
    assert re.search(r"\| Test services through testcontainers.*\| \*\*no\*\*", text)


def decisions() -> list[Path]:
    return [page for page in pages() if page.parent.name == "decisions" and page.name != "README.md"]


@pytest.mark.parametrize("page", decisions(), ids=lambda page: page.stem)
def test_a_decision_has_options_and_consequences_on_one_page(page: Path) -> None:
    text = page.read_text()
    assert len(text.splitlines()) <= 60
    if page.stem != "dependencies":
        places = [text.index(f"**{part}.**") for part in ("Decision", "Options", "Consequences")]
        assert places == sorted(places)


def test_the_index_lists_every_decision_with_its_title() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for page in decisions():
        assert f"- [{page.read_text().splitlines()[0][2:]}]({page.name})" in index


def test_every_dependency_has_a_reason() -> None:
    text = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    named = {row.lower() for row in re.findall(r"^\| `([\w.-]+)` \| [^|]+ \| \S", text, re.MULTILINE)}
    wanted = {r.name.lower() for r in map(Requirement, requires("taprail") or []) if "dev" not in str(r.marker)}
    assert named == wanted


def test_the_first_download_is_as_large_as_the_readme_says() -> None:
    said = re.search(r"downloads about (\d+) MB of jars", (ROOT / "README.md").read_text())
    sizes = {pin.coordinates: pin.size_bytes for pin in read_lock()}
    assert said is not None and int(said[1]) == round(sum(sizes.values()) / 1e7) * 10


def test_the_changelog_speaks_of_this_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert re.search(rf"^## {re.escape(version[1])}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_states_of_an_approval_are_those_of_the_table() -> None:
    text = (ROOT / "docs/approvals.md").read_text()
    table = text.partition("<!-- states -->")[2].partition("<!-- /states -->")[0].strip().splitlines()
    expected: dict[str, list[str]] = {}
    for (before, _), after in TRANSITIONS.items():
        expected.setdefault(before, []).append(after)
    found = {row.split("|")[1].strip(): [s.strip() for s in row.split("|")[2].split(",")] for row in table}
    assert {state: sorted(after) for state, after in found.items()} == {s: sorted(a) for s, a in expected.items()}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_policies_and_settings_that_are_shown_are_some(page: Path) -> None:
    """Whole policies in YAML load; sections of `[[access]]` are what the settings take."""
    for _, language, body in FENCE.findall(page.read_text()):
        if language == "yaml" and body.startswith("id: "):
            parse(name(page), body)
        if language == "toml" and body.startswith("[[access]]"):
            assert msgspec.convert(tomllib.loads(body)["access"], tuple[AccessRule, ...])
