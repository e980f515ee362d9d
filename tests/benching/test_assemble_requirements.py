"""Requirements on a benchmark, held against cases made by hand."""

from __future__ import annotations

import pytest

from graphopt.benching.assemble import decide
from graphopt.report.bench import Case
from graphopt.report.requirement import parse_requirement
from tests.benching.test_assemble import assembled, samples_of


def outcomes(text: str, *cases: Case) -> list[tuple[str, int, str]]:
    rows = decide([parse_requirement(text)], cases)
    assert all((row.text, row.metric) == (text, text.split()[0]) for row in rows)
    return [(row.model, row.case, row.outcome) for row in rows]


def test_every_model_in_every_case_but_the_reference() -> None:
    cases = [assembled(samples_of(0.01, 0.005, 0.02)), assembled(samples_of(0.01, 0.02, 0.02))]
    assert outcomes("latency_ratio <= 0.9", *cases) == [
        ("model 1", 0, "met"),
        ("model 2", 0, "not met"),
        ("model 1", 1, "not met"),
        ("model 2", 1, "not met"),
    ]
    assert outcomes("latency_ratio > 0.4", *cases) == [
        (f"model {model}", number, "met") for number in (0, 1) for model in (1, 2)
    ]


def test_the_worse_bound_decides() -> None:
    case = assembled(samples_of(0.010, 0.0095, noise=0.1))
    ratio = case.arms[1].ratio
    assert ratio is not None
    assert ratio.low < ratio.value < ratio.high
    for limit, expected in (
        (ratio.high * 1.01, "met"),
        (ratio.value, "inconclusive"),
        (ratio.low * 0.99, "not met"),
    ):
        assert outcomes(f"latency_ratio <= {limit}", case) == [("model 1", 0, expected)]


@pytest.mark.parametrize("limit", [0.001, 0.5, 100])
def test_few_pairs_decide_no_ratio(limit: float) -> None:
    case = assembled(samples_of(0.010, 0.005, pairs=27))
    assert outcomes(f"latency_ratio <= {limit}", case) == [("model 1", 0, "inconclusive")]
    (row,) = decide([parse_requirement(f"latency_ratio <= {limit}")], [case])
    assert row.measured is not None
    assert row.measured.value == pytest.approx(0.5, rel=0.01)


def test_slowest_calls_of_the_candidate_count() -> None:
    case = assembled(samples_of(0.010, 0.005, pairs=600, noise=0))
    assert outcomes("p99_ms <= 6", case) == [("model 1", 0, "met")]
    assert outcomes("p99_ms <= 4", case) == [("model 1", 0, "not met")]
    few_calls = assembled(samples_of(0.010, 0.005, pairs=30, noise=0))
    assert outcomes("p99_ms <= 6", few_calls) == [("model 1", 0, "inconclusive")]
    assert outcomes("p99_ms <= 4", few_calls) == [("model 1", 0, "not met")]


def test_a_model_alone_is_under_test_itself() -> None:
    case = assembled(samples_of(0.010, pairs=600, noise=0))
    assert outcomes("p99_ms <= 11", case) == [("model 0", 0, "met")]
    assert outcomes("p99_ms <= 9", case) == [("model 0", 0, "not met")]


def test_a_ratio_to_nothing_is_not_met() -> None:
    (row,) = decide([parse_requirement("latency_ratio <= 2")], [assembled(samples_of(0.010))])
    assert (row.measured, row.outcome) == (None, "not met")


def test_requirements_come_in_their_order() -> None:
    case = assembled(samples_of(0.010, 0.005))
    texts = ["p99_ms > 0", "latency_ratio < 1"]
    rows = decide([parse_requirement(text) for text in texts], [case])
    assert [row.text for row in rows] == texts
    assert decide([], [case]) == []
