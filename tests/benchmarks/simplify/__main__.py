"""Print the table and the acceptance lines: `python -m tests.benchmarks.simplify`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.simplify.engine_time import CHAIN_NODES, engine_times
from tests.benchmarks.simplify.entries import baseline_rows
from tests.benchmarks.simplify.measure import OURS, TIMED, UNVERIFIED, measure
from tests.benchmarks.simplify.peers import PEERS
from tests.benchmarks.simplify.table import acceptance, table

FOLDER = Path("build") / "bench-simplify"
EVERY = [*PEERS, OURS, UNVERIFIED]


def main() -> None:
    """Measure, print, and keep the figures in build/bench-simplify."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="MODEL", help="repeatable")
    parser.add_argument("--tool", action="append", choices=EVERY, help="repeatable; all by default")
    parser.add_argument("--alone", action="store_true", help="graphopt alone, once")
    parser.add_argument("--repeat", type=int, default=3, help=f"runs of {', '.join(TIMED)}")
    parser.add_argument(
        "--chain", type=int, default=CHAIN_NODES, help="nodes of the chain; 0: none"
    )
    options = parser.parse_args()
    tools = [OURS, UNVERIFIED] if options.alone else (options.tool or EVERY)
    if OURS not in tools:
        tools.append(OURS)
    repeat = 1 if options.alone else options.repeat
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = measure(options.only, tools, repeat, FOLDER)
    print(table(rows, tools))
    print("\nseconds are those of whole processes: " + ", ".join(tools) + "\n")
    lines = acceptance(rows, baseline_rows())
    taken = engine_times(options.chain)
    lines += [item.line for item in taken]
    print("\n".join(lines))
    kept = {
        "rows": [asdict(row) for row in rows],
        "engine": [asdict(item) for item in taken],
        "acceptance": lines,
    }
    (FOLDER / "results.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
