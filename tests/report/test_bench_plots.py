from __future__ import annotations

import dataclasses
import math
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from graphopt.report.bench import BenchModel, Case, Interval, NodeTime
from graphopt.report.bench_drawing import COLORS, Plot
from graphopt.report.bench_plots import latency_plot, operator_plot, size_plot
from tests.report.bench_reports import (
    CPU,
    CUDA,
    sample_arm,
    sample_case,
    sample_cuda_case,
    sample_report,
    sample_timing,
)
from tests.report.pages import marks, place, shown

NAMES = ["net.onnx", "smaller/net.onnx", "same.onnx"]


def drawn(plot: Plot | None) -> Plot:
    assert plot is not None
    return plot


def case_of(*timings: Any, **changes: Any) -> Case:
    return sample_case(arms=[sample_arm(f"m{i}", wall=t) for i, t in enumerate(timings)], **changes)


def curves(plot: Plot) -> dict[str, str]:
    """The path of each model's curve."""
    return {
        words: mark.attrib["d"]
        for words, mark in marks(plot.svg).items()
        if mark.get("stroke") in COLORS and mark.tag == "path"
    }


def test_latency_has_a_curve_and_three_points_for_each_model() -> None:
    plot = drawn(latency_plot(sample_case()))
    assert plot.kind == "latency"
    assert set(curves(plot)) == set(NAMES)
    assert [name for name, _ in plot.keys] == NAMES
    for name, p50 in zip(NAMES, (10, 8, 10), strict=True):
        assert f"{name}: 50% of calls within {p50} ms" in marks(plot.svg)
        assert f"{name}: 90% of calls within {p50 * 1.1:g} ms" in marks(plot.svg)
        assert f"{name}: 99th percentile {p50 * 1.2:g} to {p50 * 1.45:g} ms" in marks(plot.svg)
        assert f"{name}: half within {p50} ms" in plot.description


def test_curves_rise_from_the_shortest_call_to_the_longest() -> None:
    times = sample_timing(sample_ms=[4.0, 1.0, 2.0, 3.0], p50_ms=2.5, p90_ms=3.7,
                          p99_ms=Interval(4, 4, 4))  # fmt: skip
    (path,) = curves(drawn(latency_plot(case_of(times)))).values()
    numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", path)]
    xs, ys = numbers[::2], numbers[1::2]
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)
    assert ys[-1] == 0
    assert len(set(xs)) == 4
    assert xs[-1] - xs[0] == pytest.approx(3 * (max(xs) - sorted(set(xs))[-2]))


def test_slower_calls_lie_further_right() -> None:
    found = marks(drawn(latency_plot(sample_case())).svg)
    fast = place(found["smaller/net.onnx: 50% of calls within 8 ms"])
    slow = place(found["net.onnx: 50% of calls within 10 ms"])
    assert slow[0] > fast[0] + 20
    assert slow[1] == pytest.approx(fast[1])


def test_a_long_tail_gets_a_logarithmic_axis() -> None:
    wide = sample_timing(sample_ms=[1.0, 10.0, 100.0], p50_ms=10, p90_ms=80,
                         p99_ms=Interval(90, 80, 100))  # fmt: skip
    (path,) = curves(drawn(latency_plot(case_of(wide)))).values()
    xs = sorted({float(n) for n in re.findall(r"-?\d+\.?\d*", path)[::2]})
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])


def test_a_thousand_calls_are_thinned() -> None:
    many = sample_timing(sample_ms=[10 + i / 1000 for i in range(1000)])
    text = ET.tostring(drawn(latency_plot(case_of(many))).svg)
    assert len(text) < 20_000


@pytest.mark.parametrize("sample", [[], [math.nan], [math.inf]])
def test_no_finite_time_no_latency(sample: list[float]) -> None:
    assert latency_plot(case_of(sample_timing(sample_ms=sample))) is None


def test_one_call() -> None:
    one = sample_timing(sample_ms=[5.0], p50_ms=5, p90_ms=5, p99_ms=Interval(5, 5, 5))
    assert "m0: 50% of calls within 5 ms" in marks(drawn(latency_plot(case_of(one))).svg)


def test_sizes_and_times_from_zero() -> None:
    report = sample_report()
    plot = drawn(size_plot(report, report.cases[0]))
    found = marks(plot.svg)
    assert list(found) == [
        "net.onnx: 1.1 MB, 10 ms", "smaller/net.onnx: 0.6 MB, 8 ms", "same.onnx: 1 MB, 10 ms",
    ]  # fmt: skip
    big, small, same = map(place, found.values())
    assert small[0] / big[0] == pytest.approx(0.6 / 1.1)
    assert same[1] == pytest.approx(big[1])
    assert small[1] > big[1]
    assert [mark.get("fill") for mark in found.values()] == COLORS[:3]
    assert len({mark.get("d") for mark in found.values()}) == 3


def test_a_model_alone_has_no_sizes() -> None:
    report = sample_report()
    assert size_plot(report, dataclasses.replace(report.cases[0], arms=[sample_arm()])) is None


def test_models_of_unknown_size_are_left_out() -> None:
    models = [BenchModel(name, name, "aa", count, 1, 1) for name, count in
              zip(NAMES, (0, 5_000_000, 4_000_000), strict=True)]  # fmt: skip
    report = sample_report(models=models)
    plot = drawn(size_plot(report, report.cases[0]))
    assert list(marks(plot.svg)) == ["smaller/net.onnx: 5 MB, 8 ms", "same.onnx: 4 MB, 10 ms"]
    assert [name for name, _ in plot.keys] == NAMES[1:]


def width(bar: ET.Element) -> float:
    found = re.search(r"h(-?[\d.]+)", bar.attrib["d"])
    assert found
    return abs(float(found[1]))


def test_bars_are_as_long_as_the_time() -> None:
    plot = drawn(operator_plot(sample_case()))
    found = marks(plot.svg)
    assert set(found) == {
        f"{name}: {op}" for name in NAMES for op in ("Conv 6.1 ms, 92.5%", "Relu 0.5 ms, 7.5%")
    }
    conv, relu = (found[f"net.onnx: {op}"] for op in ("Conv 6.1 ms, 92.5%", "Relu 0.5 ms, 7.5%"))
    assert width(conv) / width(relu) == pytest.approx(12.2)
    assert [found[f"{name}: Relu 0.5 ms, 7.5%"].get("fill") for name in NAMES] == COLORS[:3]
    assert {"Conv", "Relu"} <= set(shown(plot.svg))


def test_bars_of_several_providers() -> None:
    profile = [
        NodeTime("a", "Conv", CUDA, 10, 3000, 0.75),
        NodeTime("b", "Conv", CPU, 10, 1000, 0.25),
    ]
    case = sample_cuda_case(arms=[sample_arm(profile=profile)])
    plot = drawn(operator_plot(case))
    assert {"Conv (CUDA)", "Conv (CPU)"} <= set(shown(plot.svg))
    assert [words.partition(": ")[2] for words in marks(plot.svg)] == [
        "Conv (CUDA) 3 ms, 75.0%", "Conv (CPU) 1 ms, 25.0%",
    ]  # fmt: skip


def test_only_the_longest_operators() -> None:
    profile = [NodeTime(f"n{i}", f"Op{i}", CPU, 10, 1000.0 + i, 0.05) for i in range(20)]
    plot = drawn(operator_plot(sample_case(arms=[sample_arm(profile=profile)])))
    assert len(marks(plot.svg)) == 12
    assert plot.title.endswith("the 12 longest of 20 operators")
    assert "Op19" in shown(plot.svg)
    assert "Op7" not in shown(plot.svg)


def test_a_model_without_profile_keeps_its_colour() -> None:
    arms = [sample_arm("a", profile=[]), sample_arm("b")]
    plot = drawn(operator_plot(sample_case(arms=arms)))
    assert {mark.get("fill") for mark in marks(plot.svg).values()} == {COLORS[1]}
    assert [name for name, _ in plot.keys] == ["b"]


def test_no_profile_no_bars() -> None:
    assert operator_plot(sample_cuda_case()) is None
