"""Print the figures in `bench/out/*.jsonl` as one table."""

from __future__ import annotations

import json
import sys

from figures import OUT
from rich.console import Console
from rich.table import Table


def main() -> int:
    lines = [json.loads(line) for file in sorted(OUT.glob("*.jsonl")) for line in file.read_text().splitlines()]
    if not lines:
        print(f"there are no figures in {OUT}: `make bench` makes them", file=sys.stderr)
        return 1
    table = Table("bench", "figure", box=None, header_style="bold")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("baseline", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("beside")
    for line in lines:
        numbers = [_number(line[name]) for name in ("value", "baseline_value", "ratio")]
        value, baseline, ratio = numbers
        table.add_row(line["bench"], line["figure"], value, line["unit"], baseline, ratio, line["baseline"])
    Console(width=None if sys.stdout.isatty() else 180).print(table)
    return 0


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}"


if __name__ == "__main__":
    sys.exit(main())
