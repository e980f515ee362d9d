from __future__ import annotations

from typing import Any

import pytest
from junitparser import Failure, JUnitXml, Skipped, TestCase

from graphopt.report.bench import BenchReport, BenchRequirement, Met
from graphopt.report.bench_junit import to_bench_junit
from tests.report.bench_reports import (
    sample_arm,
    sample_candidate,
    sample_case,
    sample_report,
)


def whole(report: BenchReport) -> Any:
    return JUnitXml.fromstring(to_bench_junit(report).encode())


def said(case: TestCase) -> tuple[str, str] | None:
    if not case.result:
        return None
    (result,) = case.result
    return {Failure: "failure", Skipped: "skipped"}[type(result)], result.message


def test_a_suite_a_case() -> None:
    assert [suite.name for suite in whole(sample_report())] == [
        "CPUExecutionProvider, 2 threads, batch 4",
        "CUDAExecutionProvider (device_id=0), default threads, open loop at 80 requests/s, "
        "4 callers",
    ]


def test_cases() -> None:
    first, second = whole(sample_report())
    assert {case.name: said(case) for case in first} == {
        "smaller/net.onnx against net.onnx": None,
        "same.onnx against net.onnx": None,
        "smaller/net.onnx: requirement: latency_ratio <= 0.9": None,
        "same.onnx: requirement: p99_ms <= 15": ("failure", "INCONCLUSIVE, not measured"),
    }
    assert {case.name: said(case) for case in second} == {
        "smaller/net.onnx against net.onnx": (
            "skipped", "smaller/net.onnx is slower than net.onnx: 1.250 [1.225, 1.275] of its time"
        ),
        "same.onnx against net.onnx": (
            "skipped",
            "same.onnx may be faster or slower than net.onnx: 1.010 [0.990, 1.030] of its time",
        ),
        "smaller/net.onnx: requirement: latency_ratio <= 0.9": (
            "failure", "NOT MET, 1.250 [1.225, 1.275]"
        ),
        "same.onnx: requirement: latency_ratio <= 1.01": (
            "failure", "INCONCLUSIVE, 1.010 [0.990, 1.030]"
        ),
    }  # fmt: skip


def test_counts_add_up() -> None:
    found = whole(sample_report())
    stated = (found.tests, found.failures, found.errors, found.skipped)
    found.update_statistics()
    assert stated == (found.tests, found.failures, found.errors, found.skipped) == (8, 3, 0, 2)
    assert found.time == pytest.approx(0)  # of the cases; the suites state theirs
    assert sum(suite.time for suite in whole(sample_report())) == pytest.approx(61.5)


@pytest.mark.parametrize("verdict", ["faster", "slower", "same", "inconclusive", None])
@pytest.mark.parametrize("outcome", ["met", "not met", "inconclusive", None])
def test_failures_are_what_the_exit_code_is_about(verdict: Any, outcome: Met | None) -> None:
    name = "same.onnx"
    arms = [sample_arm(), sample_candidate(name, 1.0, verdict)]
    row = BenchRequirement("p99_ms < 1", "p99_ms", name, 0, None, outcome or "met")
    report = sample_report(cases=[sample_case(arms=arms)], requirements=[row] if outcome else [])
    found = whole(report)
    assert bool(found.failures) == (report.outcome != "met")
    assert found.skipped == (verdict not in ("faster", "same"))


def test_properties() -> None:
    suite = next(iter(whole(sample_report())))
    found = {entry.name: entry.value for entry in suite.properties()}
    assert found["version.onnxruntime"] == "1.24.1"
    assert found["machine"] == "Some CPU 9000, 2 cores, Some GPU"
    assert found["reference_sha256"] == "aa" * 32
    assert found["conditions"].startswith("x 4x3x32x32; blocks of 8 calls")


def test_names_that_xml_cannot_hold() -> None:
    arms = [sample_arm(), sample_candidate("\x00<&>", 1.0, "same")]
    report = sample_report(cases=[sample_case(arms=arms)], requirements=[])
    (suite,) = whole(report)
    assert [case.name for case in suite] == ["\\x00<&> against net.onnx"]
