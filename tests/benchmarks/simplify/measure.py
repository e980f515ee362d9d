"""Runs every tool on every model, and keeps what was found."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.simplify.entries import Entry, baseline_rows, entries
from tests.benchmarks.simplify.judge import Finding
from tests.benchmarks.simplify.peers import PEERS
from tests.benchmarks.simplify.process import Ran, run

LIMIT = 120.0
"""Seconds that a tool has."""
OURS = "graphopt"
UNVERIFIED = "graphopt --no-verify"
TIMED = ("onnxslim", OURS, UNVERIFIED)
"""Tools whose time is compared: these run `repeat` times."""


@dataclass
class Result:
    """One tool on one model.

    Attributes:
        status: What the judge says, or crash, timeout, failed.
        wall: Seconds of the whole process, the median over the runs.
        cpu: Processor seconds.
    """

    status: str
    wall: float
    cpu: float
    detail: str = ""
    finding: Finding | None = None

    @property
    def right(self) -> bool:
        """Whether it counts among the best."""
        return self.status in ("ok", "drift")


@dataclass
class Row:
    """One model: itself, and what each tool made of it.

    Attributes:
        known_best: What the best peer left when they were measured before; for runs without them.
    """

    model: str
    original: Finding
    results: dict[str, Result] = field(default_factory=dict)
    known_best: int | None = None

    @property
    def best(self) -> int:
        """Nodes that the best peer leaves; the model's own where no peer is right."""
        ran = [name for name in PEERS if name in self.results]
        if not ran and self.known_best is not None:
            return self.known_best
        counts = [self.nodes(name) for name in ran if self.results[name].right]
        return min(counts, default=self.original.nodes)

    def nodes(self, tool: str) -> int:
        """Nodes of a tool's result; its status must be one that has any."""
        found = self.results[tool].finding
        assert found is not None
        return found.nodes


def command(tool: str, source: Path, target: Path) -> list[str]:
    """How a tool is called."""
    if tool in PEERS:
        module = "tests.benchmarks.simplify.peers"
        return [sys.executable, "-m", module, tool, str(source), str(target)]
    options = ["--no-verify"] if tool == UNVERIFIED else []
    return [
        sys.executable, "-m", "graphopt", "optimize", str(source), "-o", str(target), *options
    ]  # fmt: skip


def measure(only: list[str], tools: list[str], repeat: int, folder: Path) -> list[Row]:
    """Run the tools on the models, all of them or `only` those named."""
    rows = []
    for item in entries():
        if only and item.name not in only:
            continue
        place = folder / item.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        row = _row(item, tools, repeat, place)
        rows.append(row)
        told = " ".join(f"{tool}={_short(r)}" for tool, r in row.results.items())
        print(f"{item.name}: {row.original.nodes} {told}", file=sys.stderr, flush=True)
        (folder / "rows.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return rows


def _short(result: Result) -> str:
    nodes = "-" if result.finding is None else result.finding.nodes
    return f"{nodes}/{result.status}/{result.wall:.1f}s"


def _row(item: Entry, tools: list[str], repeat: int, place: Path) -> Row:
    kept = place / "reference.pickle"
    row = Row(item.name, _judged([item.name, str(kept)], place)[0])
    row.known_best = baseline_rows().get(item.name, {}).get("best")
    runs: dict[str, list[Ran]] = {tool: [] for tool in tools}
    for turn in range(repeat):  # in turns: what slows the machine down slows all of them
        for tool in tools:
            if turn == 0 or (tool in TIMED and not runs[tool][0].late):
                target = place / tool / "out.onnx"
                shutil.rmtree(target.parent, ignore_errors=True)
                target.parent.mkdir()
                made = run(command(tool, item.path, target), place / f"{tool}.log", LIMIT)
                runs[tool].append(made)
    for tool in tools:
        row.results[tool] = _result(runs[tool], place / tool / "out.onnx", kept, place)
    kept.unlink(missing_ok=True)
    return row


def _result(runs: list[Ran], target: Path, kept: Path, place: Path) -> Result:
    wall, cpu = median(ran.wall for ran in runs), median(ran.cpu for ran in runs)
    last = runs[-1]
    if last.late:
        return Result("timeout", wall, cpu)
    if last.code or not target.exists():
        status = "crash" if last.code < 0 else "failed"
        return Result(status, wall, cpu, f"exit code {last.code}: {last.said[-200:]}")
    found, said = _judged(["", str(kept), str(target)], place)
    return Result(found.status, wall, cpu, found.detail or said, found)


def _judged(arguments: list[str], place: Path) -> tuple[Finding, str]:
    log = place / "judge.log"
    ran = run([sys.executable, "-m", "tests.benchmarks.simplify.judge", *arguments], log, 600.0)
    if ran.code:
        return Finding("crash"), f"the judge ended with {ran.code}: {ran.said}"
    lines: list[str] = log.read_text(encoding="utf-8").strip().splitlines()
    data: dict[str, Any] = json.loads(lines[-1])
    return Finding(**data), ""
