"""What every benchmark writes: JSON lines `{bench, figure, value, unit, baseline, baseline_value, ratio}`.

    out = Figures("statement_path")
    out.figure("throughput", 52_000, "events/s", "full decode of every field", 24_000)

A figure without a baseline says little about another machine, so a baseline from the same run is asked for; where there
is none, `baseline` says what the value is to be read against, and its value and the ratio are null.
"""

from __future__ import annotations

import json
from pathlib import Path

OUT = Path(__file__).with_name("out")


class Figures:
    """The figures of one benchmark, in `bench/out/<bench>.jsonl`: a run replaces the one before."""

    def __init__(self, bench: str, out: Path = OUT) -> None:
        self.bench = bench
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / f"{bench}.jsonl"
        self.path.write_text("")

    def figure(self, figure: str, value: float, unit: str, baseline: str, baseline_value: float | None = None) -> None:
        """Write one figure down, and show it. `baseline_value` has the same unit."""
        ratio = round(value / baseline_value, 3) if baseline_value else None
        line = {"bench": self.bench, "figure": figure, "value": value, "unit": unit}
        line |= {"baseline": baseline, "baseline_value": baseline_value, "ratio": ratio}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        beside = "" if baseline_value is None else f"{baseline_value:,.6g} {unit}, ratio {ratio}"
        print(f"{self.bench}: {figure}: {value:,.6g} {unit} ({baseline}{': ' if beside else ''}{beside})", flush=True)
