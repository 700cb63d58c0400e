"""The demo with warm caches: how long it takes, and what all its processes hold in memory at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from figures import Figures

SAMPLE_SECONDS = 0.5


def main() -> None:
    out = Figures("demo")
    with tempfile.TemporaryDirectory(prefix="taprail-bench-") as home:
        command = [sys.executable, "-m", "taprail.streams.cli", "demo", "--no-stay", "--home", str(Path(home) / "home")]
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = _peak_mib(process)
        code = process.wait()
        seconds = time.perf_counter() - begun
    if code != 0:
        sys.exit("a step of the demo didn't hold: run `taprail demo` to see which")
    out.figure("whole run, warm caches", round(seconds, 1), "s", "at most", 240)
    out.figure("memory of all processes (proportional set size)", round(peak), "MiB", "at most", 2560)


def _peak_mib(process: subprocess.Popen[bytes]) -> float:
    """The largest sum of proportional set sizes: shared pages are counted once."""
    peak, done = [0.0], threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            try:
                root = psutil.Process(process.pid)
                family = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            peak[0] = max(peak[0], sum(map(_pss, family)) / 2**20)

    thread = threading.Thread(target=sample)
    thread.start()
    process.wait()
    done.set()
    thread.join()
    return peak[0]


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


if __name__ == "__main__":
    main()
