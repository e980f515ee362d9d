"""The plot of a benchmark's verdicts: every ratio with its interval, beside the noise floor."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphopt.report.bench import BenchReport, Case, Interval
from graphopt.report.bench_drawing import COLORS, SHAPES, Plot, Spec, draw, key
from graphopt.report.bench_operators import short_provider
from graphopt.report.bench_words import size

SELF = "noise floor"
"""The row of the reference against itself, among the ratios."""

_WALL, _PROCESSOR = "wall clock", "processor time"
_ON_WALL = {"filter": {"field": "clock", "equal": _WALL}}
_MARK = COLORS[0]


def case_labels(cases: Sequence[Case]) -> list[str]:
    """A short label for each case, no two alike: `CPU, 2 threads, batch 4`."""
    labels = [_short(case) for case in cases]
    return [
        label if labels.count(label) == 1 else f"{i + 1}: {label}" for i, label in enumerate(labels)
    ]


def _short(case: Case) -> str:
    parts = [short_provider(case.provider)]
    if case.threads:
        parts.append(size(case.threads, "thread"))
    if case.batch is not None:
        parts.append(f"batch {case.batch}")
    if case.mode == "closed loop":
        parts.append(size(case.concurrency, "caller"))
    elif case.rate is not None:
        parts.append(f"{case.rate:.4g} requests/s")
    return ", ".join(parts)


def ratio_plot(report: BenchReport) -> Plot | None:
    """Every ratio with its interval, a band for the noise floor and a line at 1; None if none."""
    labels = case_labels(report.cases)
    rows = [
        row
        for label, case in zip(labels, report.cases, strict=True)
        for row in _ratios(label, case)
    ]
    if all(row["model"] == SELF for row in rows):
        return None
    clocks = sorted({row["clock"] for row in rows}, reverse=True)
    known = [label for label in labels if any(row["case"] == label for row in rows)]
    words = "; ".join(row["tip"] for row in rows if row["clock"] == _WALL)
    title = "Time against the reference, with 95 % intervals: left of 1 is faster"
    spec = _ratio_spec(rows, known, clocks)
    keys = [(clock, key(i, color=_MARK)) for i, clock in enumerate(clocks)]
    return Plot("ratios", title, f"{title}. {words}.", draw(spec), keys)


def _ratios(label: str, case: Case) -> list[Spec]:
    rows = []
    measured: list[tuple[str, str, Interval | None, str]] = [
        (SELF, _WALL, case.floor, ""), (SELF, _PROCESSOR, case.cpu_floor, ""),
    ]  # fmt: skip
    for arm in case.arms:
        measured.append((arm.model, _WALL, arm.ratio, arm.verdict or ""))
        measured.append((arm.model, _PROCESSOR, arm.cpu_ratio, ""))
    for model, clock, ratio, verdict in measured:
        if ratio is None or not all(map(math.isfinite, (ratio.value, ratio.low, ratio.high))):
            continue
        words = f"{ratio.value:.3f} {verdict}".strip()
        tip = f"{label}, {model}, {clock}: {words} ({ratio.low:.3f} to {ratio.high:.3f})"
        rows.append({
            "case": label, "model": model, "clock": clock, "value": ratio.value, "tip": tip,
            "low": ratio.low, "high": ratio.high, "words": words if verdict else "",
        })  # fmt: skip
    return rows


def _ratio_spec(rows: list[Spec], cases: list[str], clocks: list[str]) -> Spec:
    return {
        "data": {"values": rows},
        "facet": {"field": "case", "type": "nominal", "sort": cases, "title": None},
        "columns": 1,
        "spec": {
            "width": 280,
            "height": {"step": 36 if len(clocks) < 2 else 26},
            "layer": [*_behind(rows), *_intervals(rows, clocks)],
        },
        "resolve": {"scale": {"y": "independent"}},
    }


def _axis(rows: list[Spec]) -> Spec:
    bounds = [1.0, *(row[key] for row in rows for key in ("low", "high"))]
    margin = 0.1 * (max(bounds) - min(bounds)) or 0.01
    return {
        "type": "quantitative", "title": "time / time of the reference", "axis": {"tickCount": 6},
        "scale": {"domain": [min(bounds) - margin, max(bounds) + margin], "nice": False},
    }  # fmt: skip


def _behind(rows: list[Spec]) -> list[Spec]:
    """The band of the noise floor, where there is one, and the line at 1."""
    band = {
        "transform": [_ON_WALL, {"filter": {"field": "model", "equal": SELF}}],
        "mark": {"type": "rect", "color": "var(--band)"},
        "encoding": {
            "x": {**_axis(rows), "field": "low"}, "x2": {"field": "high"},
            "description": {"field": "tip"},
        },
    }  # fmt: skip
    line = {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "color": "var(--ink)", "strokeDash": [4, 3]},
        "encoding": {"x": {"datum": 1.0, "type": "quantitative"}},
    }
    known = any(row["model"] == SELF and row["clock"] == _WALL for row in rows)
    return [band, line] if known else [line]


def _intervals(rows: list[Spec], clocks: list[str]) -> list[Spec]:
    """A bar from bound to bound, a point for the estimate, and the verdict above it."""
    models = list(dict.fromkeys(row["model"] for row in rows if row["model"] != SELF))
    row = {
        "y": {"field": "model", "type": "nominal", "title": None, "sort": [*models, SELF],
              "axis": {"minExtent": 100, "grid": False}},
        "yOffset": {"field": "clock", "sort": clocks},
        "description": {"field": "tip"},
    }  # fmt: skip
    shape = {
        "field": "clock", "type": "nominal", "legend": None,
        "scale": {"domain": clocks, "range": SHAPES},
    }  # fmt: skip
    x = _axis(rows)
    estimate = {**row, "x": {**x, "field": "value"}}
    text = {"type": "text", "dy": -11, "color": "var(--ink)",
            "stroke": "var(--card)", "strokeWidth": 6}  # fmt: skip
    return [
        {"mark": {"type": "rule", "color": _MARK, "strokeWidth": 3},
         "encoding": {**row, "x": {**x, "field": "low"}, "x2": {"field": "high"}}},
        {"mark": {"type": "point", "filled": True, "size": 110, "opacity": 1, "color": _MARK},
         "encoding": {**estimate, "shape": shape}},
        {"transform": [_ON_WALL], "mark": text,
         "encoding": {**estimate, "text": {"field": "words"}}},
    ]  # fmt: skip
