from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import UsageError
from graphopt.report.bench import BenchModel, BenchReport, Case, Interval
from graphopt.report.gate import GateOutcome, GateReport, compare_reports, judge, quotient
from tests.build import few
from tests.report.bench_reports import (
    CPU,
    sample_arm,
    sample_candidate,
    sample_case,
    sample_cuda_case,
    sample_environment,
    sample_report,
)


def measured(
    ratio: Interval | None, model: str = "net2.onnx", *, reference: str = "aa", **changes: Any
) -> BenchReport:
    """A report of one case, or of those given, in which one model has that ratio."""
    arms = [sample_arm(), sample_candidate(model, 1.0, "same", ratio=ratio)]
    cases = [dataclasses.replace(case, arms=arms) for case in changes.pop("cases", [sample_case()])]
    models = [
        BenchModel("net.onnx", "net.onnx", reference * 32, 1, 1, 1),
        BenchModel(model, model, "dd" * 32, 1, 1, 1),
    ]
    return sample_report(cases=cases, models=models, requirements=[], **changes)


def about(value: float, off: float = 0.001) -> Interval:
    return Interval(value, value / (1 + off), value * (1 + off))


def compared(old: float, new: float, off: float = 0.001, **options: Any) -> GateReport:
    return compare_reports(measured(about(old, off)), measured(about(new, off)), **options)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.021, 1.03, "regression"),
        (1.021, math.inf, "regression"),
        (1.02, 1.03, "inconclusive"),
        (1.019, 1.021, "inconclusive"),
        (0.5, 2.0, "inconclusive"),
        (0.0, math.inf, "inconclusive"),
        (0.99, 1.02, "ok"),
        (0.5, 0.6, "ok"),
        (1.02, 1.02, "ok"),
    ],
)
def test_truth_table(low: float, high: float, outcome: GateOutcome) -> None:
    assert judge(Interval((low + high) / 2, low, high), 0.02) == outcome


def test_unknown_is_inconclusive() -> None:
    assert judge(None, 0.02) == "inconclusive"


def test_without_tolerance_any_certain_slowdown_is_a_regression() -> None:
    assert judge(Interval(1.002, 1.001, 1.003), 0.0) == "regression"
    assert judge(Interval(1.0, 1.0, 1.0), 0.0) == "ok"


def test_half_widths_add_up_as_squares() -> None:
    found = quotient(about(1.2, 0.03), about(0.8, 0.04))
    assert found is not None
    half = math.hypot(math.log(1.03), math.log(1.04))
    assert found.value == pytest.approx(1.5)
    assert found.low == pytest.approx(1.5 * math.exp(-half))
    assert found.high == pytest.approx(1.5 * math.exp(half))


def test_lopsided_intervals_give_a_lopsided_one() -> None:
    found = quotient(Interval(1.0, 1.0, 1.1), Interval(1.0, 1.0, 1.2))
    assert found is not None
    assert found.low == pytest.approx(1 / 1.2)
    assert found.high == pytest.approx(1.1)


ratios = (
    st.tuples(*[st.floats(1e-3, 1e3)] * 3).map(sorted).map(lambda n: Interval(n[1], n[0], n[2]))
)


@given(ratios, ratios)
@few
def test_quotient_holds_its_value_and_is_no_narrower_than_either(
    one: Interval, two: Interval
) -> None:
    found = quotient(one, two)
    assert found is not None
    assert found.low <= found.value <= found.high
    for part in (one, two):
        assert found.high / found.low >= part.high / part.low * (1 - 1e-9)


@given(ratios, ratios)
@few
def test_the_other_way_round_is_the_reciprocal(one: Interval, two: Interval) -> None:
    there, back = quotient(one, two), quotient(two, one)
    assert there is not None and back is not None
    pairs = ((there.value, back.value), (there.low, back.high), (there.high, back.low))
    for number, other in pairs:
        assert number * other == pytest.approx(1)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        Interval(0.0, 0.0, 1.0),
        Interval(1.0, -1.0, 2.0),
        Interval(1.0, 0.5, math.inf),
        Interval(math.nan, 0.5, 2.0),
        Interval(1.0, math.nan, 2.0),
        Interval(1.0, 0.5, math.nan),
        Interval(3.0, 0.5, 2.0),
        Interval(1.0, 1.5, 2.0),
    ],
)
def test_what_is_no_ratio_is_never_passed(odd: Interval | None) -> None:
    assert quotient(odd, about(1.0)) is None
    assert quotient(about(1.0), odd) is None
    for pair in ((about(1.0), odd), (odd, about(1.0))):
        old, new = map(measured, pair)
        assert compare_reports(old, new).outcome == "inconclusive"


def test_quotient_beyond_floats() -> None:
    found = quotient(about(1e300), about(1e-300))
    assert found is not None
    assert found.value == math.inf
    assert judge(found, 0.02) == "regression"
    assert judge(quotient(about(1e-300), about(1e300)), 0.02) == "ok"


@pytest.mark.parametrize(
    ("old", "new", "off", "outcome"),
    [
        (0.8, 0.9, 0.001, "regression"),
        (0.9, 0.8, 0.001, "ok"),
        (0.8, 0.81, 0.001, "ok"),
        (0.8, 0.81, 0.02, "inconclusive"),
        (1.0, 1.0, 0.001, "ok"),
    ],
)
def test_outcome(old: float, new: float, off: float, outcome: GateOutcome) -> None:
    found = compared(old, new, off)
    assert found.outcome == outcome
    (row,) = found.rows
    assert row.outcome == outcome
    assert (row.baseline, row.candidate) == (about(old, off), about(new, off))
    assert row.quotient is not None
    assert row.quotient.value == pytest.approx(new / old)


def test_tolerance() -> None:
    assert compared(0.8, 0.9, tolerance=0.2).outcome == "ok"
    assert compared(1.0, 1.01, tolerance=0.0).outcome == "regression"
    for odd in (-0.1, math.nan, math.inf):
        with pytest.raises(UsageError, match="tolerance"):
            compared(1.0, 1.0, tolerance=odd)


def test_worst_row_decides() -> None:
    cases = [sample_case(threads=n) for n in (1, 2, 3)]
    old = measured(about(1.0), cases=cases)
    ratios = (about(1.0), about(1.0, 0.2), about(1.5))
    changed = [
        dataclasses.replace(case, arms=[case.arms[0], dataclasses.replace(case.arms[1], ratio=r)])
        for case, r in zip(old.cases, ratios, strict=True)
    ]
    found = compare_reports(old, dataclasses.replace(old, cases=changed))
    assert [row.outcome for row in found.rows] == ["ok", "inconclusive", "regression"]
    assert found.outcome == "regression"
    milder = compare_reports(old, dataclasses.replace(old, cases=changed[:2]))
    assert milder.outcome == "inconclusive"


def test_row_says_what_was_compared() -> None:
    found = compare_reports(measured(about(1.0), "old.onnx"), measured(about(1.0), "new.onnx"))
    (row,) = found.rows
    assert (row.baseline_model, row.candidate_model) == ("old.onnx", "new.onnx")
    assert (row.provider, row.threads, row.batch, row.mode, row.concurrency, row.rate) == (
        CPU, 2, 4, "alternating", 1, None
    )  # fmt: skip
    assert row.shapes == {"x": [4, 3, 32, 32]}
    assert (found.reference, found.reference_sha256) == ("net.onnx", "aa" * 32)
    assert found.notes == found.differences == []


def test_another_reference_is_refused_even_when_forced() -> None:
    for force in (False, True):
        with pytest.raises(UsageError) as caught:
            compare_reports(measured(about(1.0)), measured(about(1.0), reference="ab"), force=force)
        assert str(caught.value) == (
            "the two reports have different reference models: "
            "net.onnx (aaaaaaaaaaaa) and net.onnx (abababababab)"
        )


VERSIONS = {**sample_environment().versions, "onnxruntime": "1.25.0"}
OTHER = [sample_case(provider_options={"a": "1"})]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"environment": sample_environment(cores=8)},
            "machine: Some CPU 9000, 2 cores, Some GPU / Some CPU 9000, 8 cores, Some GPU",
        ),
        (
            {"environment": sample_environment(devices=[])},
            "machine: Some CPU 9000, 2 cores, Some GPU / Some CPU 9000, 2 cores",
        ),
        (
            {"environment": sample_environment(versions=VERSIONS)},
            "onnxruntime: 1.24.1 / 1.25.0",
        ),
        (
            {"environment": sample_environment(versions={})},
            "onnxruntime: 1.24.1 / unknown",
        ),
        (
            {"session": {}},
            "session settings: session.intra_op.allow_spinning=0 / none",
        ),
        ({"cases": OTHER}, "options of CPUExecutionProvider: none / a=1"),
    ],
)
def test_what_differs_is_refused_unless_forced(changes: dict[str, Any], said: str) -> None:
    old, new = measured(about(1.0)), measured(about(1.0), **changes)
    with pytest.raises(UsageError) as caught:
        compare_reports(old, new)
    assert str(caught.value) == f"the reports cannot be compared: {said}"
    assert caught.value.hint == "--force compares them all the same"
    forced = compare_reports(old, new, force=True)
    assert forced.differences == [said]
    assert forced.outcome == "ok"


def test_every_difference_is_in_one_line() -> None:
    environment = sample_environment(cores=8, versions=VERSIONS)
    with pytest.raises(UsageError, match=r"machine: .*; onnxruntime: 1\.24\.1 / 1\.25\.0$"):
        compare_reports(measured(about(1.0)), measured(about(1.0), environment=environment))


def test_load_memory_and_other_versions_do_not_matter() -> None:
    versions = {**sample_environment().versions, "graphopt": "9", "numpy": "9"}
    environment = sample_environment(load=None, memory_bytes=1, versions=versions)
    found = compare_reports(measured(about(1.0)), measured(about(1.0), environment=environment))
    assert found.outcome == "ok"


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": "OtherExecutionProvider"},
        {"threads": 1},
        {"batch": None},
        {"shapes": {"x": [4, 3, 32, 33]}},
        {"shapes": {}},
        {"mode": "closed loop"},
        {"concurrency": 2},
        {"rate": 5.0},
    ],
)
def test_cases_under_other_conditions_are_not_compared(changes: dict[str, Any]) -> None:
    other = sample_case(**changes)
    old, new = measured(about(1.0)), measured(about(2.0), cases=[other])
    with pytest.raises(UsageError, match="no case in common"):
        compare_reports(old, new, force=True)
    both = measured(about(1.0), cases=[other, sample_case()])
    found = compare_reports(old, both)
    assert len(found.rows) == 1
    assert found.notes[0].startswith("only in the candidate: ")
    assert compare_reports(both, old).notes[0].startswith("only in the baseline: ")


def test_blocks_pairs_and_processes_are_no_conditions() -> None:
    changed = sample_case(block=1, dropped=0, pairs=30, processes=1, stopped="time", notes=[])
    found = compare_reports(measured(about(1.0)), measured(about(1.0), cases=[changed]))
    assert len(found.rows) == 1


def test_order_of_cases_and_inputs_does_not_matter() -> None:
    two = {"a": [1], "b": [2]}
    cases = [sample_case(shapes=two), sample_cuda_case()]
    turned = [sample_cuda_case(), sample_case(shapes=dict(reversed(two.items())))]
    found = compare_reports(measured(about(1.0), cases=cases), measured(about(1.0), cases=turned))
    assert [row.provider for row in found.rows] == [case.provider for case in cases]
    assert found.notes == []


def options(value: str) -> Case:
    return sample_case(provider_options={"a": value})


def test_of_several_cases_those_with_equal_options_are_compared() -> None:
    old = measured(about(1.0), cases=[options("1"), options("2")])
    new = measured(about(1.0), cases=[options("2"), options("1")])
    found = compare_reports(old, new)
    assert [row.case for row in found.rows] == [
        "CPUExecutionProvider (a=1), 2 threads, batch 4",
        "CPUExecutionProvider (a=2), 2 threads, batch 4",
    ]
    less = measured(about(1.0), cases=[options("2")])
    assert compare_reports(old, less).notes == [
        "only in the baseline: CPUExecutionProvider (a=1), 2 threads, batch 4"
    ]


def test_of_several_models_those_with_equal_names_are_compared() -> None:
    found = compare_reports(sample_report(), sample_report())
    assert [row.candidate_model for row in found.rows] == ["smaller/net.onnx", "same.onnx"] * 2
    one = sample_report(
        cases=[sample_case(arms=sample_case().arms[:2])],
        models=sample_report().models[:2],
        requirements=[],
    )
    found = compare_reports(sample_report(), one)
    assert [row.candidate_model for row in found.rows] == ["smaller/net.onnx"]
    assert "only in the baseline: same.onnx" in found.notes


def test_no_model_in_common() -> None:
    with pytest.raises(UsageError, match="the two reports have no model in common"):
        compare_reports(sample_report(), measured(about(1.0), "other.onnx"))


def test_reference_alone_has_nothing_to_compare() -> None:
    alone = sample_report(
        cases=[sample_case(arms=[sample_arm()])],
        models=sample_report().models[:1],
        requirements=[],
    )
    with pytest.raises(UsageError, match="the candidate has no model besides its reference"):
        compare_reports(sample_report(), alone)
    with pytest.raises(UsageError, match="the baseline has no model besides its reference"):
        compare_reports(alone, sample_report())


def test_model_that_no_common_case_has() -> None:
    lacking = sample_report(cases=[sample_case(arms=[sample_arm()])], requirements=[])
    with pytest.raises(UsageError, match="no model in a common case"):
        compare_reports(sample_report(), lacking)


def test_reference_may_have_another_name() -> None:
    old = measured(about(1.0))
    arms = [sample_arm("ref.onnx"), old.cases[0].arms[1]]
    models = [dataclasses.replace(old.models[0], name="ref.onnx"), old.models[1]]
    new = dataclasses.replace(
        old, reference="ref.onnx", models=models, cases=[sample_case(arms=arms)]
    )
    assert compare_reports(old, new).outcome == "ok"
