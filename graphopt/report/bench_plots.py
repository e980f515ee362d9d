"""The plots of one case for a benchmark's HTML page: latencies, sizes, operators."""

from __future__ import annotations

import math
from collections.abc import Iterable

from graphopt.report.bench import Arm, BenchReport, Case
from graphopt.report.bench_drawing import Plot, Spec, by_model, draw, fitted, key
from graphopt.report.bench_operators import operator_times, short_provider

_CURVE_POINTS = 160
_OPERATORS = 12
_LOG_FROM = 20.0


def latency_plot(case: Case) -> Plot | None:
    """How the times of single calls are distributed, a curve for each model; None if not known."""
    arms = [arm for arm in case.arms if _finite(arm.wall.sample_ms)]
    if not arms:
        return None
    curves = [row for arm in arms for row in _curve(arm)]
    marks = [row for arm in arms for row in _percentiles(arm)]
    tails = [row for arm in arms for row in _tail(arm)]
    words = "; ".join(
        f"{a.model}: half within {a.wall.p50_ms:.4g} ms, 90 % within {a.wall.p90_ms:.4g} ms, "
        f"99 % within {a.wall.p99_ms.value:.4g} ms"
        for a in arms
    )
    title = "Share of calls that took at most so long"
    spec = _latency_spec(curves, marks, tails, [arm.model for arm in case.arms])
    keys = [(a.model, key(i, line=True)) for i, a in enumerate(case.arms) if a in arms]
    return Plot("latency", title, f"{title}. {words}.", draw(spec), keys)


def size_plot(report: BenchReport, case: Case) -> Plot | None:
    """The median time over the size of the file, a point for each model; None for one alone."""
    rows: list[Spec] = [
        {
            "model": arm.model, "mb": count / 1e6, "ms": arm.wall.p50_ms,
            "tip": f"{arm.model}: {count / 1e6:.4g} MB, {arm.wall.p50_ms:.4g} ms",
        }
        for arm in case.arms
        if (count := report.model(arm.model).file_bytes) and math.isfinite(arm.wall.p50_ms)
    ]  # fmt: skip
    if len(rows) < 2:
        return None
    title = "Size of the file and median time: lower left is better"
    words = "; ".join(row["tip"] for row in rows)
    encoding = {
        "x": _from_zero(rows, "mb", "file, MB"), "y": _from_zero(rows, "ms", "median, ms"),
        "description": {"field": "tip"},
        **by_model([arm.model for arm in case.arms], "color", "shape"),
    }  # fmt: skip
    mark = {"type": "point", "filled": True, "size": 170, "opacity": 1}
    spec = {"data": {"values": rows}, "height": 230, "mark": mark, "encoding": encoding}
    drawn = {row["model"] for row in rows}
    keys = [(arm.model, key(i)) for i, arm in enumerate(case.arms) if arm.model in drawn]
    return Plot("sizes", title, f"{title}. {words}.", draw(fitted(spec)), keys)


def _from_zero(rows: list[Spec], field: str, title: str) -> Spec:
    """An axis from 0 to a little beyond the largest value, so that twice looks like twice."""
    most = 1.06 * max(row[field] for row in rows)
    return {"field": field, "type": "quantitative", "title": title, "axis": {"tickCount": 6},
            "scale": {"domain": [0, most], "nice": False}}  # fmt: skip


def operator_plot(case: Case) -> Plot | None:
    """Where the time of a run goes, by operator and provider; None without a profile."""
    times = {arm.model: operator_times(arm.profile) for arm in case.arms if arm.profile}
    providers = {row.provider for rows in times.values() for row in rows}
    order: dict[str, float] = {}
    bars: list[Spec] = []
    for model, rows in times.items():
        for row in rows:
            label = row.op_type
            if len(providers) > 1:
                label += f" ({short_provider(row.provider)})"
            order[label] = max(order.get(label, 0.0), row.run_ms)
            tip = f"{model}: {label} {row.run_ms:.4g} ms, {row.share:.1%}"
            bars.append({"model": model, "op": label, "ms": row.run_ms, "tip": tip})
    shown = sorted(order, key=lambda label: (-order[label], label))[:_OPERATORS]
    if not shown:
        return None
    bars = [bar for bar in bars if bar["op"] in shown and math.isfinite(bar["ms"])]
    title = "Where the time of a run goes"
    if len(order) > len(shown):
        title += f": the {len(shown)} longest of {len(order)} operators"
    words = "; ".join(str(bar["tip"]) for bar in bars)
    spec = _operator_spec(bars, shown, [arm.model for arm in case.arms])
    keys = [(a.model, key(i, bar=True)) for i, a in enumerate(case.arms) if a.profile]
    return Plot("operators", title, f"{title}. {words}.", draw(spec), keys)


def _finite(values: Iterable[float]) -> list[float]:
    return sorted(value for value in values if math.isfinite(value))


def _curve(arm: Arm) -> list[Spec]:
    """The share of calls up to each time; at most so many points, both ends among them."""
    times = _finite(arm.wall.sample_ms)
    last = len(times) - 1
    count = min(len(times), _CURVE_POINTS)
    picked = [round(i * last / max(count - 1, 1)) for i in range(count)]
    return [
        {"model": arm.model, "ms": times[i], "share": (i + 1) / len(times), "tip": arm.model}
        for i in picked
    ]


def _percentiles(arm: Arm) -> list[Spec]:
    wall = arm.wall
    rows = ((0.5, wall.p50_ms), (0.9, wall.p90_ms), (0.99, wall.p99_ms.value))
    return [
        {"model": arm.model, "ms": ms, "share": share,
         "tip": f"{arm.model}: {share:.0%} of calls within {ms:.4g} ms"}
        for share, ms in rows if math.isfinite(ms)
    ]  # fmt: skip


def _tail(arm: Arm) -> list[Spec]:
    """The interval of the 99th percentile."""
    low, high = arm.wall.p99_ms.low, arm.wall.p99_ms.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return []
    tip = f"{arm.model}: 99th percentile {low:.4g} to {high:.4g} ms"
    return [{"model": arm.model, "low": low, "high": high, "share": 0.99, "tip": tip}]


def _latency_spec(
    curves: list[Spec], marks: list[Spec], tails: list[Spec], models: list[str]
) -> Spec:
    times = [row["ms"] for row in curves + marks]
    long = min(times) > 0 and max(times) / min(times) > _LOG_FROM
    scale = {"type": "log", "nice": False} if long else {"zero": False}
    axis = {"format": ",~r", "grid": False} if long else {}
    share = {"values": [0, 0.25, 0.5, 0.75, 0.9, 1], "format": ".0%"}
    base: Spec = {
        "x": {"field": "ms", "type": "quantitative", "scale": scale, "title": "time of a call, ms",
              "axis": {"tickCount": 5, **axis}},
        "y": {"field": "share", "type": "quantitative", "title": None, "axis": share},
        "description": {"field": "tip"},
    }  # fmt: skip
    line = {"type": "line", "interpolate": "step-after", "strokeWidth": 2}
    dashed = by_model(models, "color", "strokeDash")
    point = {"type": "point", "filled": True, "size": 90, "opacity": 1}
    shaped = by_model(models, "color", "shape")
    ends = {**base, "x": {**base["x"], "field": "low"}, "x2": {"field": "high"}}
    return fitted({
        "height": 230,
        "layer": [
            {"data": {"values": curves}, "mark": line, "encoding": {**base, **dashed}},
            {"data": {"values": tails}, "mark": {"type": "rule", "strokeWidth": 1.5},
             "encoding": {**ends, "color": dashed["color"]}},
            {"data": {"values": marks}, "mark": point, "encoding": {**base, **shaped}},
        ],
    })  # fmt: skip


def _operator_spec(bars: list[Spec], shown: list[str], models: list[str]) -> Spec:
    encoding = {
        "x": {"field": "ms", "type": "quantitative", "title": "ms of one run",
              "axis": {"tickCount": 6}},
        "y": {"field": "op", "type": "nominal", "title": None, "sort": shown,
              "axis": {"grid": False, "labelLimit": 190}},
        "yOffset": {"field": "model", "sort": models,
                    "scale": {"domain": [m for m in models if any(b["model"] == m for b in bars)]}},
        "description": {"field": "tip"},
        **by_model(models, "color"),
    }  # fmt: skip
    step = {"step": 22 if len({bar["model"] for bar in bars}) == 1 else 12, "for": "offset"}
    return fitted({"data": {"values": bars}, "height": step, "mark": "bar", "encoding": encoding})
