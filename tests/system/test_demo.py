"""`taprail demo` as a newcomer starts it: the story holds, nothing outlives it, and a second start needs no network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.system.installation import TAPRAIL, eventually, new_home, processes_of

STEPS = 8
END_SECONDS_MAX = 10.0
STEP_MS_MAX = 20_000
# A proxy where nobody listens: whatever is asked for beyond this machine fails at once.
NOWHERE = "http://127.0.0.1:9"
OFFLINE = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), NOWHERE),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}

pytestmark = pytest.mark.timeout(180)


@contextmanager
def demo(home: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, and its lines as they come; killed with the block."""
    command = [*TAPRAIL, "demo", "--home", str(home), *arguments]
    env = {**os.environ, **environment}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines: list[str] = []

        def follow() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)

        reader = threading.Thread(target=follow)
        reader.start()
        try:
            yield process, lines
        finally:
            process.kill()
            reader.join(END_SECONDS_MAX)


def killed(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """SIGKILL; the children that are alive some seconds later."""
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) > 3
    process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, END_SECONDS_MAX)
    return [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


def test_the_story_holds_and_a_second_start_is_offline_and_dies_whole(tmp_path: Path) -> None:
    report = tmp_path / "story.json"
    with new_home() as home:
        with demo(home, "--json", str(report)) as (process, lines):
            assert process.wait(120) == 0, "".join(lines)
        assert processes_of(home) == [], "no process outlives it"
        _the_report_tells_all(report, "".join(lines))
        _again_offline_and_killed_in_the_middle(home)


def _the_report_tells_all(report: Path, said: str) -> None:
    told = json.loads(report.read_text())
    assert told["held"] is True and told["seconds"] < 240
    assert [step["step"] for step in told["steps"]] == list(range(1, STEPS + 1))
    for step in told["steps"]:
        assert step["held"] is True and step["error"] == "", step
        assert 0 < step["milliseconds"] < STEP_MS_MAX
        assert step["evidence"] and all(step["evidence"].values()), step
        assert f"{step['step']}. {step['title']}" in said
    assert f"{STEPS} of {STEPS} steps held" in said
    assert "\x1b" not in said, "no colour where there is no terminal"
    evidence = {step["step"]: step["evidence"] for step in told["steps"]}
    assert all("@mail.example" not in row for row in evidence[1]["psql"])
    assert evidence[3]["rows"] == ["id=1", "id=2", "id=3"]
    assert evidence[5]["seconds"] < 5


def _again_offline_and_killed_in_the_middle(home: Path) -> None:
    with demo(home, "--no-stay", **OFFLINE) as (process, lines):
        eventually(lambda: any(line.startswith("2. ") for line in lines) or process.poll() is not None, 90, "two steps")
        assert process.poll() is None, "".join(lines)
        assert "FAILED" not in "".join(lines)
        assert not any("fetching" in line for line in lines)
        assert killed(process) == []
    assert processes_of(home) == []


def test_a_start_that_is_killed_leaves_nothing() -> None:
    with new_home() as home:
        with demo(home) as (process, lines):
            eventually(lambda: len(psutil.Process(process.pid).children(recursive=True)) > 3, 60, "parts start")
            assert killed(process) == [], "".join(lines)
        assert processes_of(home) == []


def test_a_first_start_without_network_says_so(tmp_path: Path) -> None:
    """The counterpart of the offline start: the cache is empty, and the proxies that lead nowhere are in the way."""
    with new_home() as home:
        with demo(home, XDG_CACHE_HOME=str(tmp_path / "cache"), **OFFLINE) as (process, lines):
            assert process.wait(60) == 1
        said = "".join(lines)
        assert "could not download" in said and "Maven's repository" in said and "Traceback" not in said
        assert processes_of(home) == []
