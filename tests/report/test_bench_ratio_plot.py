from __future__ import annotations

import dataclasses
import math
from xml.etree import ElementTree as ET

import pytest

from graphopt.report.bench import Interval
from graphopt.report.bench_drawing import Plot
from graphopt.report.bench_ratio_plot import SELF, case_labels, ratio_plot
from tests.report.bench_reports import (
    sample_arm,
    sample_candidate,
    sample_case,
    sample_cuda_case,
    sample_report,
)
from tests.report.pages import marks, place, shown


def drawn(plot: Plot | None) -> Plot:
    assert plot is not None
    return plot


def points(plot: Plot) -> dict[str, float]:
    """Where the points are, from left to right, by their description without the interval."""
    found = marks(plot.svg, "path").items()
    return {words.partition(" (")[0]: place(mark)[0] for words, mark in found}


def lines_at_one(plot: Plot) -> list[ET.Element]:
    return [line for line in plot.svg.iter("line") if line.get("stroke-dasharray")]


def candidate(ratio: float, low: float, high: float, name: str = "b") -> object:
    return sample_candidate(name, 1.0, "same", ratio=Interval(ratio, low, high), cpu_ratio=None)


def test_every_ratio_is_there() -> None:
    plot = drawn(ratio_plot(sample_report()))
    assert plot.kind == "ratios"
    cpu, cuda = "CPU, 2 threads, batch 4", "CUDA, 80 requests/s"
    assert set(points(plot)) == {
        f"{cpu}, {SELF}, wall clock: 1.002", f"{cpu}, {SELF}, processor time: 1.000",
        f"{cpu}, smaller/net.onnx, wall clock: 0.800 faster",
        f"{cpu}, smaller/net.onnx, processor time: 0.808",
        f"{cpu}, same.onnx, wall clock: 1.000 same",
        f"{cpu}, same.onnx, processor time: 1.010",
        f"{cuda}, {SELF}, wall clock: 1.002",
        f"{cuda}, smaller/net.onnx, wall clock: 1.250 slower",
        f"{cuda}, same.onnx, wall clock: 1.010 inconclusive",
    }  # fmt: skip
    assert [name for name, _ in plot.keys] == ["wall clock", "processor time"]
    assert {cpu, cuda, "0.800 faster", "1.250 slower", SELF} <= set(shown(plot.svg))


def test_places_follow_the_ratios() -> None:
    """Points lie on one scale, the line at 1 among them, and the interval reaches to its bounds."""
    arms = [sample_arm("a"), candidate(0.5, 0.4, 0.7, "b"), candidate(2.0, 1.8, 2.4, "c")]
    case = sample_case(arms=arms, floor=Interval(1.0, 0.95, 1.06), cpu_floor=None)
    plot = drawn(ratio_plot(sample_report(cases=[case])))
    half, twice, one = (
        next(x for words, x in points(plot).items() if f", {name}, " in words)
        for name in ("b", "c", SELF)
    )
    unit = twice - one
    assert unit > 50
    assert one - half == pytest.approx(unit / 2)
    (line,) = lines_at_one(plot)
    assert place(line)[0] == pytest.approx(one)
    interval = next(m for w, m in marks(plot.svg, "line").items() if ", c, " in w)
    reach = place(interval)[0], place(interval)[0] + float(interval.attrib["x2"])
    assert sorted(reach) == [pytest.approx(one + 0.8 * unit), pytest.approx(one + 1.4 * unit)]
    band = [path.attrib["d"] for path in plot.svg.iter("path") if path.get("fill") == "var(--band)"]
    assert len(band) == 1
    assert f"h{0.11 * unit:.6}"[:5] in band[0]


def test_one_line_at_one_in_each_case() -> None:
    assert len(lines_at_one(drawn(ratio_plot(sample_report())))) == 2


def test_without_a_floor_there_is_no_band() -> None:
    case = sample_case(floor=None, cpu_floor=None)
    plot = drawn(ratio_plot(sample_report(cases=[case])))
    assert SELF not in shown(plot.svg)
    assert 'var(--band)"' not in ET.tostring(plot.svg, encoding="unicode")
    assert len(lines_at_one(plot)) == 1


def test_one_clock_needs_no_key() -> None:
    assert len(drawn(ratio_plot(sample_report(cases=[sample_cuda_case()]))).keys) == 1


def test_without_a_candidate_there_is_no_plot() -> None:
    assert ratio_plot(sample_report(cases=[sample_case(arms=[sample_arm()])])) is None
    assert ratio_plot(sample_report(cases=[])) is None


def test_what_is_not_finite_is_left_out() -> None:
    arms = [sample_arm("a"), candidate(1.0, 0.9, math.inf), candidate(0.9, 0.8, 1.0, "c")]
    plot = drawn(ratio_plot(sample_report(cases=[sample_case(arms=arms)])))
    assert not any(", b, " in words for words in points(plot))
    assert any(", c, " in words for words in points(plot))


def test_labels_of_cases() -> None:
    case = sample_case()
    closed = dataclasses.replace(case, mode="closed loop", concurrency=8, threads=0, batch=None)
    cases = [case, closed, sample_cuda_case(), dataclasses.replace(case, shapes={"x": [1]})]
    assert case_labels(cases) == [
        "1: CPU, 2 threads, batch 4", "CPU, 8 callers", "CUDA, 80 requests/s",
        "4: CPU, 2 threads, batch 4",
    ]  # fmt: skip
