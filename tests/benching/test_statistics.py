from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.statistics import (
    BLOCK_SECONDS,
    MIN_PAIRS,
    block_size,
    outcome,
    timing,
    verdict,
    width,
)
from graphopt.contract import Array
from graphopt.report.bench import Interval
from graphopt.report.requirement import OPERATORS, parse_requirement
from tests.build import few

INF = math.inf
QUIET = Interval(1.0, 0.999, 1.001)

times = st.lists(st.floats(1e-7, 10), min_size=1, max_size=60).map(np.array)
processes = st.lists(times, min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("ratio", "floor", "pairs", "expected"),
    [
        (Interval(0.8, 0.79, 0.81), None, 30, "faster"),
        (Interval(0.8, 0.79, 0.81), QUIET, 30, "faster"),
        (Interval(0.8, 0.79, 0.81), QUIET, 29, "inconclusive"),
        (Interval(1.2, 1.19, 1.21), QUIET, 30, "slower"),
        (Interval(1.2, 1.19, 1.21), QUIET, 29, "inconclusive"),
        (Interval(0.8, 0.6, 1.0), QUIET, 30, "inconclusive"),
        (Interval(1.2, 1.0, 1.4), QUIET, 30, "inconclusive"),
        # The reference differs from itself by more, either way.
        (Interval(0.9, 0.89, 0.91), Interval(0.85, 0.8, 0.9), 99, "inconclusive"),
        (Interval(0.9, 0.89, 0.91), Interval(1.2, 1.1, 1.3), 99, "inconclusive"),
        (Interval(1.1, 1.09, 1.11), Interval(0.85, 0.8, 0.9), 99, "inconclusive"),
        (Interval(1.1, 1.09, 1.11), Interval(1.09, 1.0, 1.2), 99, "slower"),
        (Interval(0.9, 0.89, 0.91), Interval(0.9, 0.89, 0.91), 99, "inconclusive"),
        # Near 1, but not 1: a small difference is a difference.
        (Interval(0.99, 0.985, 0.995), QUIET, 30, "faster"),
        (Interval(0.99, 0.985, 0.995), Interval(1.011, 1.0, 1.02), 30, "same"),
        (Interval(1.0, 0.99, 1.01), QUIET, 30, "same"),
        (Interval(1.0, 0.99, 1.01), QUIET, 29, "inconclusive"),
        (Interval(1.0, 1 / 1.02, 1.02), QUIET, 30, "same"),
        (Interval(1.0, 0.98, 1.02), QUIET, 30, "inconclusive"),
        (Interval(1.0, 0.99, 1.021), QUIET, 30, "inconclusive"),
        (Interval(1.0, 0.0, INF), None, 30, "inconclusive"),
    ],
)
def test_verdict(ratio: Interval, floor: Interval | None, pairs: int, expected: str) -> None:
    assert verdict(ratio, floor, pairs) == expected


def test_margin_of_same() -> None:
    ratio = Interval(1.0, 0.96, 1.04)
    assert verdict(ratio, None, MIN_PAIRS) == "inconclusive"
    assert verdict(ratio, None, MIN_PAIRS, margin=0.05) == "same"


def test_width_is_that_of_the_logarithm() -> None:
    assert width(Interval(1.0, 0.5, 1.0)) == pytest.approx(math.log(2))
    assert width(Interval(1.0, 1.0, 1.0)) == 0
    assert width(Interval(1.0, 0.0, 2.0)) == INF
    assert width(Interval(1.0, 1.0, INF)) == INF


@pytest.mark.parametrize(
    ("text", "low", "high", "expected"),
    [
        ("latency_ratio <= 0.9", 0.7, 0.9, "met"),
        ("latency_ratio <= 0.9", 0.9, 1.0, "inconclusive"),
        ("latency_ratio <= 0.9", 0.91, 1.0, "not met"),
        ("latency_ratio < 0.9", 0.7, 0.9, "inconclusive"),
        ("latency_ratio < 0.9", 0.7, 0.89, "met"),
        ("latency_ratio < 0.9", 0.9, 1.0, "not met"),
        ("latency_ratio >= 0.9", 0.9, 1.0, "met"),
        ("latency_ratio >= 0.9", 0.8, 0.9, "inconclusive"),
        ("latency_ratio >= 0.9", 0.7, 0.8, "not met"),
        ("latency_ratio > 0.9", 0.9, 1.0, "inconclusive"),
        ("latency_ratio > 0.9", 0.91, 1.0, "met"),
        ("latency_ratio > 0.9", 0.8, 0.9, "not met"),
        ("latency_ratio == 1", 1.0, 1.0, "met"),
        ("latency_ratio == 1", 0.9, 1.1, "inconclusive"),
        ("latency_ratio == 1", 1.0, 1.1, "inconclusive"),
        ("latency_ratio == 1", 0.9, 1.0, "inconclusive"),
        ("latency_ratio == 1", 1.01, 1.1, "not met"),
        ("latency_ratio == 1", 0.8, 0.9, "not met"),
        ("latency_ratio <= 0.9", 0.0, INF, "inconclusive"),
        ("p99_ms <= 5", 6.0, INF, "not met"),
        ("p99_ms <= 5", math.nan, math.nan, "not met"),
    ],
)
def test_outcome(text: str, low: float, high: float, expected: str) -> None:
    assert outcome(parse_requirement(text), Interval((low + high) / 2, low, high)) == expected


@pytest.mark.parametrize("sign", OPERATORS)
def test_nothing_measured_meets_nothing(sign: str) -> None:
    assert outcome(parse_requirement(f"latency_ratio {sign} 1"), None) == "not met"


@given(st.sampled_from(sorted(OPERATORS)), st.floats(0, 2), st.floats(0, 2), st.floats(0, 1))
@few
def test_an_outcome_holds_for_every_value(sign: str, one: float, two: float, at: float) -> None:
    low, high = sorted((one, two))
    inside = low + at * (high - low)
    requirement = parse_requirement(f"latency_ratio {sign} 1")
    found = outcome(requirement, Interval(inside, low, high))
    if found != "inconclusive":
        assert requirement.holds(min(inside, high)) == (found == "met")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.0, (1, 0)),
        (0.01, (1, 0)),
        (0.0099, (3, 1)),
        (0.005, (3, 1)),
        (0.001, (10, 2)),
        (0.0005, (20, 3)),
        (0.00025, (40, 7)),
        (0.0001, (60, 10)),
        (1e-9, (60, 10)),
        (1e-320, (60, 10)),
        (0.0, (60, 10)),
    ],
)
def test_block_size(seconds: float, expected: tuple[int, int]) -> None:
    assert block_size(seconds) == expected


@given(st.floats(1e-7, BLOCK_SECONDS, exclude_max=True))
@few
def test_a_block_keeps_most_of_its_calls(seconds: float) -> None:
    calls, dropped = block_size(seconds)
    assert 3 <= calls <= 60
    assert 1 <= dropped <= calls / 2


@pytest.mark.parametrize("seconds", [-1.0, math.nan, INF])
def test_no_block_for_impossible_times(seconds: float) -> None:
    with pytest.raises(ValueError, match="cannot take"):
        block_size(seconds)


def test_timing_of_a_plain_series() -> None:
    seconds = np.random.default_rng(0).permutation(np.arange(1, 102)) / 1e3
    found = timing([seconds[:40], seconds[40:]], seed=1)
    assert found.calls == 101
    assert found.mean_ms == pytest.approx(51)
    assert found.p50_ms == pytest.approx(51)
    assert found.p90_ms == pytest.approx(91)
    assert found.p99_ms.value == pytest.approx(100)
    assert (found.min_ms, found.max_ms) == (1, 101)
    assert found.outliers == 0
    assert found.sample_ms == pytest.approx(list(range(1, 102)))


def test_one_call() -> None:
    found = timing([np.array([0.002])], seed=0)
    assert (found.calls, found.p50_ms, found.outliers, found.sample_ms) == (1, 2, 0, [2])
    assert found.p99_ms == Interval(2, 0, INF)


def test_calls_that_took_no_time() -> None:
    found = timing([np.zeros(500), np.zeros(500)], seed=0)
    assert found.p99_ms == Interval(0, 0, 0)
    assert found.outliers == 0


def test_outliers_lie_beyond_the_outer_fence() -> None:
    # Quartiles 2 and 4, so that the fence is at 10.
    seconds = np.array([1, 2, 3, 4, 5]).repeat(10) / 1e3
    assert timing([seconds], 0).outliers == 0
    assert timing([np.append(seconds, 9.99e-3)], 0).outliers == 0
    assert timing([np.append(seconds, [10.01e-3, 1])], 0).outliers == 2


def test_few_calls_leave_the_tail_open() -> None:
    seconds = np.random.default_rng(3).gamma(9, 1e-4, 368)
    assert timing([seconds[:-1]], 0).p99_ms.high == INF
    assert timing([seconds], 0).p99_ms.high < INF


@pytest.mark.parametrize("calls", [1000, 1001, 200_000])
def test_the_sample_is_small_and_keeps_both_ends(calls: int) -> None:
    seconds = np.random.default_rng(2).gamma(9, 1e-4, calls)
    found = timing(np.array_split(seconds, 3), 0)
    assert len(found.sample_ms) == 1000
    assert found.sample_ms == sorted(found.sample_ms)
    assert (found.sample_ms[0], found.sample_ms[-1]) == (found.min_ms, found.max_ms)
    assert found.sample_ms[500] == pytest.approx(found.p50_ms, rel=0.02)


@given(processes, st.integers(0, 2**31))
@few
def test_percentiles_ascend(calls: list[Array], seed: int) -> None:
    found = timing(calls, seed)
    assert found.calls == sum(map(len, calls))
    marks = [found.min_ms, found.p50_ms, found.p90_ms, found.p99_ms.value, found.max_ms]
    assert marks == sorted(marks)
    assert 0 <= found.p99_ms.low <= found.p99_ms.value <= found.p99_ms.high
    assert found.min_ms * (1 - 1e-9) <= found.mean_ms <= found.max_ms * (1 + 1e-9)


@given(processes, st.integers(0, 2**31))
@few
def test_timing_is_plain_data_and_repeats(calls: list[Array], seed: int) -> None:
    found = timing(calls, seed)
    assert found == timing(calls, seed)
    numbers = [found.mean_ms, found.p50_ms, found.p90_ms, found.min_ms, found.max_ms]
    p99 = [found.p99_ms.value, found.p99_ms.low, found.p99_ms.high]
    assert {type(number) for number in numbers + p99 + found.sample_ms} == {float}


@pytest.mark.parametrize("calls", [[], [np.array([])], [np.array([0.1, math.nan])]])
def test_no_timing_of_nothing(calls: list[Array]) -> None:
    with pytest.raises(ValueError, match="measured"):
        timing(calls, 0)


def test_the_interval_of_p99_holds_it() -> None:
    rng = np.random.default_rng(11)
    true = 1e3 * math.exp(0.3 * 2.3263478740408408)
    found = [
        timing(list(np.exp(0.3 * rng.standard_normal((3, 300)))), seed).p99_ms for seed in range(80)
    ]
    assert np.mean([p99.low <= true <= p99.high for p99 in found]) >= 0.9
    assert np.median([width(p99) for p99 in found]) < 0.4
