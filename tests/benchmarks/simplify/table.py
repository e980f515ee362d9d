"""The rows as a table, and what of the project's aims they meet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from tests.benchmarks.simplify.measure import OURS, UNVERIFIED, Row

MEAN_LIMIT = 0.92
BYTES_LIMIT = 1.01
VERIFIED_LIMIT = 1.5
UNVERIFIED_LIMIT = 1.0


def table(rows: Iterable[Row], tools: list[str]) -> str:
    """One line a model; behind the nodes stands what is wrong with the result."""
    shown = [tool for tool in tools if tool != UNVERIFIED]
    titles = ["model", "before", *shown, "best", "ratio", "bytes", "seconds", "verified / slim"]
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)]]
    for row in rows:
        cells = [row.model, str(row.original.nodes)]
        cells += [_cell(row, tool) for tool in shown]
        cells += [str(row.best), _ratio(row), _bytes(row), _seconds(row), _slower(row)]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: Row, tool: str) -> str:
    result = row.results[tool]
    if result.finding is None:
        return result.status
    flags = "" if result.status == "ok" else f" {result.status}"
    flags += " signature" if result.finding.signature != row.original.signature else ""
    flags += " checker" if result.finding.checker and not row.original.checker else ""
    return f"{result.finding.nodes}{flags}"


def _ratio(row: Row) -> str:
    found = row.results[OURS].finding
    return f"{found.nodes / row.best:.3f}" if found is not None and row.best else "-"


def _bytes(row: Row) -> str:
    found = row.results[OURS].finding
    return "-" if found is None else f"{found.bytes / row.original.bytes:.3f}"


def _seconds(row: Row) -> str:
    return " / ".join(f"{r.wall:.2f}" for r in row.results.values())


def _slower(row: Row) -> str:
    if "onnxslim" not in row.results:
        return "-"
    return f"{row.results[OURS].wall / row.results['onnxslim'].wall:.2f}"


def acceptance(rows: list[Row], known: Iterable[str]) -> list[str]:
    """Each aim, what was measured, and whether it is met.

    Args:
        rows: What was measured.
        known: Models whose rows count for the nodes: those that were measured before.
    """
    names = set(known)
    ours = [(row, row.results[OURS].finding) for row in rows]
    found = [(row, item) for row, item in ours if item is not None]
    counted = [(r, f) for r, f in found if r.model in names and r.best < r.original.nodes]
    more = [f"{r.model} {f.nodes} > {r.best}" for r, f in counted if f.nodes > r.best]
    mean = _mean([f.nodes / r.best for r, f in counted])
    sizes = {r.model: f.bytes / r.original.bytes for r, f in found}
    large = [f"{name} {ratio:.3f}" for name, ratio in sizes.items() if ratio > BYTES_LIMIT]
    results = [(row.model, row.results[OURS]) for row in rows]
    wrong = [f"{name} {r.status} {r.detail}" for name, r in results if r.status != "ok"]
    changed = [r.model for r, f in found if f.signature != r.original.signature]
    findings = [r.model for r, f in found if f.checker and not r.original.checker]
    kept = f"{len(counted) - len(more)} rows"
    largest = max(sizes.values(), default=math.nan)
    return [
        _line("rows in which a peer removed a node", str(len(counted)), None, []),
        _line("no more nodes than the best peer", kept, not more, more),
        _line(f"geometric mean of nodes / best <= {MEAN_LIMIT}", f"{mean:.3f}", mean <= MEAN_LIMIT),
        _line(f"file bytes <= {BYTES_LIMIT}x", f"{largest:.3f}", not large, large),
        _line("0 wrong", str(len(wrong)), not wrong, wrong),
        _line("0 signature changes", str(len(changed)), not changed, changed),
        _line("0 new checker findings", str(len(findings)), not findings, findings),
        *_times(rows),
    ]


def _times(rows: list[Row]) -> list[str]:
    lines = []
    for tool, limit in ((OURS, VERIFIED_LIMIT), (UNVERIFIED, UNVERIFIED_LIMIT)):
        pairs = [
            (row.results[tool], row.results["onnxslim"]) for row in rows
            if {tool, "onnxslim"} <= row.results.keys()
        ]  # fmt: skip
        if not pairs:
            continue
        ratio = median(a.wall / b.wall for a, b in pairs)
        whole = median(a.wall for a, _ in pairs) / median(b.wall for _, b in pairs)
        work = median(a.cpu / b.cpu for a, b in pairs)
        told = f"median of ratios {ratio:.2f}, ratio of medians {whole:.2f} (processor {work:.2f})"
        lines.append(
            _line(f"{tool}: time / onnxslim <= {limit}", told, max(ratio, whole) <= limit, [])
        )
    return lines


def _mean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def _line(aim: str, measured: str, met: bool | None, which: Sequence[str] = ()) -> str:
    outcome = {None: "", True: "met", False: "NOT MET"}[met]
    listed = f": {'; '.join(which)}" if which else ""
    return f"{aim:52} {measured:>8}  {outcome}{listed}"
