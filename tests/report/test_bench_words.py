from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.report.bench import BenchRequirement, Interval
from graphopt.report.bench_words import (
    MEMORY,
    RATIOS,
    STARTS,
    TIMES,
    case_label,
    cells,
    conditions,
    environment_lines,
    floor_line,
    interval,
    outcome_words,
    present,
    quantity,
    requirement_place,
    size,
    unmet_words,
    verdict_lines,
    verdict_words,
)
from tests.build import few
from tests.report.bench_reports import (
    sample_arm,
    sample_case,
    sample_cuda_case,
    sample_environment,
    sample_report,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (0.00012345, "0.000123"),
        (0.5, "0.500"),
        (12.3456, "12.35"),
        (123.456, "123.5"),
        (1234567.8, "1,234,568"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (-12.3456, "-12.35"),
    ],
)
def test_quantity_has_about_four_digits(value: float, text: str) -> None:
    assert quantity(value) == text


@given(st.floats(1e-9, 1e9))
@few
def test_quantity_is_within_half_a_percent(value: float) -> None:
    assert float(quantity(value).replace(",", "")) == pytest.approx(value, rel=0.05, abs=0)


def test_bounds_have_the_decimals_of_the_value() -> None:
    assert interval(Interval(0.8, 0.784, 0.816)) == "0.800 [0.784, 0.816]"
    assert interval(Interval(9.99, 9.5, 10.51)) == "9.990 [9.500, 10.510]"
    assert interval(Interval(150.0, 99.96, 1200.0)) == "150.0 [100.0, 1,200.0]"
    assert interval(Interval(1.0, 0.0, math.inf)) == "1.000 [0.000, inf]"
    assert interval(None) == "unknown"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 boxes"), (1, "1 box"), (2, "2 boxes"), (1000, "1,000 boxes")]
)
def test_size(count: int, text: str) -> None:
    assert size(count, "box", "boxes") == text


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "CPUExecutionProvider, 2 threads, batch 4"),
        ({"threads": 0, "batch": None}, "CPUExecutionProvider, default threads"),
        ({"threads": 1, "batch": 0}, "CPUExecutionProvider, 1 thread, batch 0"),
        (
            {"mode": "closed loop", "concurrency": 3},
            "CPUExecutionProvider, 2 threads, batch 4, closed loop of 3 callers",
        ),
        (
            {"mode": "open loop", "rate": 12.5},
            "CPUExecutionProvider, 2 threads, batch 4, open loop at 12.5 requests/s, 1 caller",
        ),
        (
            {"provider_options": {"a": "1", "b": "x"}, "batch": None},
            "CPUExecutionProvider (a=1, b=x), 2 threads",
        ),
    ],
)
def test_case_label(changes: dict[str, object], label: str) -> None:
    assert case_label(sample_case(**changes)) == label


def test_conditions() -> None:
    assert conditions(sample_case()) == (
        "x 4x3x32x32; blocks of 8 calls, the first not in the ratio; 150 pairs in 3 processes; "
        "ended when the intervals were narrow enough"
    )
    changed = sample_case(
        block=1, dropped=2, pairs=1, processes=1, stopped="time", shapes={"a": [], "b": [2, 0]}
    )
    assert conditions(changed) == (
        "a scalar, b 2x0; blocks of 1 call, the first 2 not in the ratio; 1 pair in 1 process; "
        "ended when the time was over"
    )
    assert conditions(sample_case(shapes={}, dropped=0)).startswith(
        "no inputs; blocks of 8 calls; 150 pairs"
    )


def test_floor_on_both_clocks() -> None:
    both = "reference against itself: 1.002 [0.996, 1.008], CPU clock 1.000 [0.998, 1.002]"
    assert floor_line(sample_case()) == both
    unknown = sample_case(floor=None, cpu_floor=None)
    assert floor_line(unknown) == "reference against itself: unknown"


def test_verdicts_name_the_case_where_there_are_several() -> None:
    first, second = "smaller/net.onnx is faster than net.onnx", "same.onnx is as fast as net.onnx"
    alone = sample_report(cases=[sample_case()], requirements=[])
    assert verdict_lines(alone) == [
        f"{first}: 0.800 [0.784, 0.816] of its time",
        f"{second}: 1.000 [0.980, 1.020] of its time",
    ]
    lines = verdict_lines(sample_report())
    assert lines[0] == f"{first}: 0.800 [0.784, 0.816] of its time ({case_label(sample_case())})"
    assert lines[2].startswith("smaller/net.onnx is slower than net.onnx: 1.250 ")
    assert lines[3].startswith("same.onnx may be faster or slower than net.onnx: 1.010 ")
    assert len(lines) == 4


def test_no_verdict() -> None:
    words = verdict_words(sample_arm("b.onnx"), sample_case())
    assert words == "b.onnx was not compared with net.onnx"


def test_requirements_in_words() -> None:
    report = sample_report()
    assert [outcome_words(row) for row in report.requirements] == [
        "met, 0.800 [0.784, 0.816]",
        "NOT MET, 1.250 [1.225, 1.275]",
        "INCONCLUSIVE, 1.010 [0.990, 1.030]",
        "INCONCLUSIVE, not measured",
    ]
    assert unmet_words(report) == "of 4 requirements: 1 not met, 2 inconclusive"
    assert unmet_words(sample_report(requirements=report.requirements[:1])) == ""
    assert unmet_words(sample_report(requirements=report.requirements[1:2])) == (
        "of 1 requirement: 1 not met"
    )


def test_place_of_a_requirement() -> None:
    row = BenchRequirement("p99_ms < 1", "p99_ms", "same.onnx", 0, None, "met")
    assert requirement_place(row, sample_report()) == f"same.onnx, {case_label(sample_case())}"
    assert requirement_place(row, sample_report(cases=[sample_case()])) == "same.onnx"


def test_environment() -> None:
    assert list(environment_lines(sample_environment())) == [
        "Linux 6.1; Some CPU 9000, 2 cores, 8,000,000,000 bytes of memory; load 1.50",
        "Some GPU: driver 550.1, 80,000,000,000 bytes, 1,700 of 1,980 MHz",
        "graphopt 0.1.0, onnxruntime 1.24.1, numpy 2.1.0, python 3.11.9",
    ]
    bare = sample_environment(devices=[], memory_bytes=None, load=None, cores=1)
    assert next(environment_lines(bare)) == (
        "Linux 6.1; Some CPU 9000, 1 core, unknown bytes of memory; load unknown"
    )


def heads(*, cuda: bool) -> list[list[str]]:
    arms = (sample_cuda_case() if cuda else sample_case()).arms
    return [[head for head, _ in present(columns, arms)]
            for columns in (TIMES, RATIOS, STARTS, MEMORY)]  # fmt: skip


def test_columns_without_a_value_are_left_out() -> None:
    times = ["p50 ms", "p90 ms", "p99 ms", "mean ms", "rows/s"]
    assert heads(cuda=False) == [
        [*times, "GFLOP/s", "outliers"],
        ["CPU ratio", "SNR dB", "ratio", "verdict"],
        ["session ms", "first run ms", "cold session ms", "cold first run ms", "processes"],
        ["load peak bytes", "run peak bytes", "arena bytes"],
    ]
    assert heads(cuda=True) == [
        [*times, "outliers"],
        ["SNR dB", "ratio", "verdict"],
        ["session ms", "first run ms", "copies ms", "busy", "lost"],
        ["device peak bytes"],
    ]


def test_cells() -> None:
    reference, faster, same = sample_case().arms
    assert cells(TIMES, reference) == [
        "10.00", "11.00", "13.00", "10.20", "400.0", "8.160", "3"
    ]  # fmt: skip
    assert cells(TIMES, same)[5] == "-"
    assert cells(RATIOS, reference) == ["-"] * 4
    assert cells(RATIOS, faster) == [
        "0.808 [0.792, 0.824]", "inf", "0.800 [0.784, 0.816]", "faster"
    ]  # fmt: skip
    assert cells(STARTS, reference) == [
        "42.50", "17.00", "43.25", "16.00", "5", "-", "-", "-"
    ]  # fmt: skip
    assert cells(STARTS, sample_cuda_case().arms[0])[5:] == ["0.250", "80.0 %", "0"]
    assert cells(MEMORY, reference) == ["12,000,000", "20,500,000", "8,388,608", "-"]
