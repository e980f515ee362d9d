from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.statistics import interval, width
from graphopt.contract import Array
from graphopt.report.bench import Interval
from tests.build import few

ratios = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=70).map(np.array)
processes = st.lists(ratios, min_size=1, max_size=5)
seeds = st.integers(0, 2**31)


def bounds(found: Interval) -> tuple[float, float, float]:
    return dataclasses.astuple(found)


def log_ratios(
    rng: np.random.Generator, processes: int, pairs: int, between: float, noise: float
) -> list[Array]:
    """Pairs of equal models: heavy tails, and a speed of its own for each process."""
    pair = noise / math.sqrt(3) * rng.standard_t(3, (processes, pairs))
    return list(pair + between * rng.standard_normal((processes, 1)))


def coverage(
    processes: int, pairs: int, between: float, noise: float, runs: int = 100
) -> tuple[float, float]:
    """The share of intervals that hold 1, and their median width."""
    rng = np.random.default_rng(7)
    found = [
        interval(log_ratios(rng, processes, pairs, between, noise), seed) for seed in range(runs)
    ]
    held = np.mean([item.low <= 1 <= item.high for item in found])
    return float(held), float(np.median([width(item) for item in found]))


def test_the_value_is_the_median_of_all_pairs() -> None:
    found = interval([np.log([0.5, 0.8, 0.9]), np.log([0.7, 5.0])], seed=0)
    assert found.value == pytest.approx(0.8)
    assert found.low < found.value < found.high


def test_equal_pairs_leave_no_doubt() -> None:
    assert bounds(interval([np.zeros(10), np.zeros(3)], 0)) == (1, 1, 1)
    assert bounds(interval([np.full(9, np.log(0.5))], 0)) == pytest.approx((0.5, 0.5, 0.5))


def test_a_single_pair_says_nothing_of_the_interval() -> None:
    found = interval([np.array([math.log(0.5)])], 0)
    assert found == Interval(pytest.approx(0.5), 0, math.inf)  # type: ignore[arg-type]
    assert width(found) == math.inf


def test_one_pair_a_process_is_judged_by_the_processes() -> None:
    found = interval([np.array([x]) for x in (-0.02, -0.01, 0, 0.01, 0.02)], 0)
    assert 0.9 < found.low < 0.99
    assert 1.01 < found.high < 1.1


def test_processes_without_pairs_count_as_none() -> None:
    pairs = np.random.default_rng(0).standard_normal(30) / 100
    assert interval([pairs, np.array([])], 5) == interval([pairs], 5)


@pytest.mark.parametrize(
    "pairs",
    [[], [np.array([])], [np.array([0.1, math.nan])], [np.array([0.1]), np.array([-math.inf])]],
)
def test_nothing_measured_is_an_error(pairs: list[Array]) -> None:
    with pytest.raises(ValueError, match="measured"):
        interval(pairs, 0)


def test_arrays_have_one_dimension() -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        interval([np.zeros((3, 4))], 0)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        interval([np.zeros(5)], 0, confidence)


def test_more_confidence_is_a_wider_interval() -> None:
    pairs = log_ratios(np.random.default_rng(1), 4, 30, 0.005, 0.05)
    widths = [width(interval(pairs, 0, confidence)) for confidence in (0.5, 0.8, 0.95, 0.99)]
    assert widths == sorted(set(widths))


def test_one_wild_process_does_not_move_the_value() -> None:
    pairs = log_ratios(np.random.default_rng(2), 5, 30, 0.0, 0.01)
    calm = interval(pairs, 0)
    wild = interval([*pairs[:4], pairs[4] + 1], 0)
    assert wild.value == pytest.approx(calm.value, rel=0.01)
    assert wild.high > 1.5


def test_an_infinite_ratio_of_finite_logarithms_is_no_crash() -> None:
    found = interval([np.array([1e3, 1.0, 2.0])], 0)
    assert found.high == math.inf
    assert found.value == pytest.approx(math.exp(2))


@given(processes, seeds, st.floats(-3, 3))
@few
def test_scaling_every_ratio_scales_the_interval(pairs: list[Array], seed: int, by: float) -> None:
    plain = np.log(np.maximum(bounds(interval(pairs, seed)), 1e-300))
    moved = np.log(np.maximum(bounds(interval([p + by for p in pairs], seed)), 1e-300))
    if sum(map(len, pairs)) > 1:
        np.testing.assert_allclose(moved, plain + by, atol=1e-6)


@given(processes, seeds)
@few
def test_swapping_the_models_inverts_the_interval(pairs: list[Array], seed: int) -> None:
    value, low, high = bounds(interval(pairs, seed))
    swapped = interval([-p for p in pairs], seed)
    inverse = [1 / value, 1 / high, 1 / low if low else math.inf]
    np.testing.assert_allclose(bounds(swapped), inverse, rtol=1e-6)


@given(processes, seeds)
@few
def test_the_same_seed_gives_the_same_interval(pairs: list[Array], seed: int) -> None:
    found = interval(pairs, seed)
    assert found == interval(pairs, seed)
    assert found.low <= found.value <= found.high
    assert {type(number) for number in bounds(found)} == {float}


def test_another_seed_gives_nearly_the_same_interval() -> None:
    pairs = log_ratios(np.random.default_rng(3), 5, 40, 0.003, 0.03)
    one, two = interval(pairs, 1), interval(pairs, 2)
    assert one != two
    assert width(one) == pytest.approx(width(two), rel=0.25)


def test_more_pairs_make_it_narrower() -> None:
    pairs = log_ratios(np.random.default_rng(4), 5, 4000, 0.0, 0.05)
    widths = [width(interval([p[:n] for p in pairs], 0)) for n in (10, 100, 4000)]
    assert widths[0] > 1.5 * widths[1] > 5 * widths[2]


def test_many_pairs_of_one_process_agree_with_theory() -> None:
    """The median of n normal values has the standard error 1.2533 / sqrt(n)."""
    pairs = 0.05 * np.random.default_rng(5).standard_normal(6000)
    expected = 2 * 1.96 * 1.2533 * 0.05 / math.sqrt(6000)
    assert width(interval([pairs], 0)) == pytest.approx(expected, rel=0.3)


def test_drift_within_a_process_widens_it() -> None:
    """Neighbours that resemble each other count for less than as many independent pairs."""
    noise = 0.05 * np.random.default_rng(6).standard_normal(1200)
    clustered = np.repeat(noise[:120], 10)
    assert width(interval([clustered], 0)) > 2 * width(interval([noise], 0))


@pytest.mark.parametrize(
    ("processes", "pairs", "between", "noise"),
    [(1, 30, 0, 0.05), (3, 20, 0, 0.03), (3, 20, 0.01, 0.03), (5, 20, 0.01, 0.01), (5, 40, 0, 0.1)],
)
def test_intervals_hold_the_true_ratio(
    processes: int, pairs: int, between: float, noise: float
) -> None:
    held, wide = coverage(processes, pairs, between, noise)
    assert held >= 0.9
    # Against the standard error of the mean of as many processes and pairs.
    error = math.sqrt(between**2 / processes + noise**2 / (processes * pairs))
    assert wide < 4 * 1.96 * error


def test_a_difference_of_one_fifth_is_always_seen() -> None:
    rng = np.random.default_rng(8)
    found = [
        interval([math.log(1.2) + p for p in log_ratios(rng, 3, 12, 0.01, 0.1)], seed)
        for seed in range(100)
    ]
    assert np.mean([item.low > 1 for item in found]) >= 0.97
    assert np.mean([item.low <= 1.2 <= item.high for item in found]) >= 0.9
