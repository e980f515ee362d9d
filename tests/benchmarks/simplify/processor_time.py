"""Processor time of results in ONNX Runtime, relative to the originals: graphopt's own benchmarker.

Default optimisation level, both models in turns, one thread; the interval is of 95 %.
`python -m tests.benchmarks.simplify.processor_time`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import graphopt
from graphopt.errors import GraphoptError
from graphopt.report.bench_figures import Interval
from tests.benchmarks.simplify.entries import Entry, candidates, entries

LIMITS = {"silero_vad": 0.90, "ppocr_det": 0.94, "resnet_small.raw": 0.75}
"""Bounds on the upper end of the interval."""
SLOWER = 1.03
"""No model may have its lower end above this."""
KEPT = Path("build") / "bench-simplify" / "processor_time.json"


@dataclass(frozen=True, slots=True)
class Timed:
    """One model: processor time of the result / of the original."""

    model: str
    ratio: Interval | None
    floor: Interval | None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether it is as fast as it should be."""
        if self.ratio is None:
            return False
        return self.ratio.low <= SLOWER and self.ratio.high <= LIMITS.get(self.model, float("inf"))

    @property
    def line(self) -> str:
        """The figures in one line."""
        if self.ratio is None:
            return f"{self.model:32} {self.note}"
        limit = f"<= {LIMITS[self.model]:.2f}" if self.model in LIMITS else ""
        own = "" if self.floor is None else f"{self.floor.low:.3f} to {self.floor.high:.3f}"
        found = f"{self.ratio.value:.3f}  {self.ratio.low:.3f} to {self.ratio.high:.3f}"
        return f"{self.model:32} {found}  {own:>16}  {limit:7} {'met' if self.met else 'NOT MET'}"


def timed(item: Entry, seconds: float) -> Timed:
    """Optimise one model and time both."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "result.onnx"
        result = graphopt.optimize(item.path, verify=False)
        graphopt.save(result, target)
        data: list[dict[str, Any]] | None = None
        if item.in_catalogue:
            data = [next(candidates(item, 0))]
        try:
            report = graphopt.bench([item.path, target], seconds=seconds, threads=(1,), data=data)
        except GraphoptError as error:
            return Timed(item.name, None, None, f"not timed: {error}")
    case = report.cases[0]
    return Timed(item.name, case.arms[1].cpu_ratio, case.cpu_floor)


def main() -> None:
    """Print one line a model, those with a limit first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="MODEL", help="repeatable")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each model")
    options = parser.parse_args()
    found = []
    print(f"{'model':32} ratio  95 % interval   against itself")
    for item in sorted(entries(), key=lambda item: item.name not in LIMITS):
        if not options.only or item.name in options.only:
            found.append(timed(item, options.seconds))
            print(found[-1].line, flush=True)
    print(f"not met: {', '.join(t.model for t in found if not t.met) or 'none'}")
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps([asdict(item) for item in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
