"""What hangs ends the process, with words; what ends in time, and what is over, doesn't."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import time
from taprail.connectors.kafka.deadline import Deadline
with Deadline("a transaction of test", 0.5) as deadline:
    for _ in range(4):
        with deadline.held():
            time.sleep(0.2)
    time.sleep(1.0)
    print("in time", flush=True)
    with deadline.held():
        time.sleep({hang})
print("over", flush=True)
time.sleep(1.0)
"""


def run(hang: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT.format(hang=hang)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_a_hang_is_the_end_and_is_told() -> None:
    ended = run(hang=60)
    assert ended.returncode == os.EX_TEMPFAIL
    assert ended.stdout.split("\n")[0] == "in time"
    assert (
        "a transaction of test took more than 0.5 s" in ended.stderr
        and "goes on from what is committed" in ended.stderr
    )


def test_nothing_happens_to_what_ends() -> None:
    ended = run(hang=0.1)
    assert (ended.returncode, ended.stdout.split()) == (0, ["in", "time", "over"])
