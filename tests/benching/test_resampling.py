from __future__ import annotations

import math

import numpy as np
import pytest

from graphopt.benching.resampling import quantile_interval
from graphopt.contract import Array


def naive(groups: list[Array], q: float, resamples: int) -> Array:
    """Quantiles of resamples, each of them drawn value by value."""
    rng = np.random.default_rng(99)
    found = []
    for _ in range(resamples):
        processes = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        values = np.concatenate([rng.choice(process, process.size) for process in processes])
        found.append(np.quantile(values, q, method="averaged_inverted_cdf"))
    return np.array(found)


@pytest.mark.parametrize("q", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("sizes", [(60,) * 8, (60, 20, 5, 40, 60, 33, 7, 50)])
def test_it_is_the_plain_hierarchical_bootstrap_widened(q: float, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    groups = [rng.standard_normal(size) for size in sizes]
    found = quantile_interval(groups, q, 0, 0.95)
    low, high = np.quantile(naive(groups, q, 2000), [0.025, 0.975])
    below, above = (
        (found.value - found.low) / (found.value - low),
        (found.high - found.value) / (high - found.value),
    )
    # Eight equal processes: by sqrt(8 / 7) = 1.07 at least.
    assert below == pytest.approx(above, rel=0.15)
    assert 1.0 < (below + above) / 2 < 1.4


def test_processes_that_differ_ask_for_student() -> None:
    """Three processes without noise: the bootstrap has nothing but their three values."""
    groups = [np.full(20, value) for value in (-1.0, 0.0, 1.0)]
    found = quantile_interval(groups, 0.5, 0, 0.95)
    widened = math.sqrt(3 / 2) * 4.3027 / 1.95996
    assert (found.low, found.high) == pytest.approx((-widened, widened), rel=1e-3)


def test_two_processes_are_not_widened_without_measure() -> None:
    groups = [np.full(20, value) for value in (0.0, 1.0)]
    found = quantile_interval(groups, 0.5, 0, 0.95)
    assert found.high - found.low == pytest.approx(math.sqrt(2) * 4.3027 / 1.95996, rel=1e-3)


def test_a_grid_of_many_values_loses_nothing_that_matters() -> None:
    """The interval of 20,000 values follows from the density at the quantile."""
    values = np.random.default_rng(2).exponential(1, 20_000)
    found = quantile_interval([values], 0.99, 0, 0.95)
    # Standard error: sqrt(q (1 - q) / n) / density, and the density at q is 1 - q.
    error = math.sqrt(0.99 * 0.01 / values.size) / 0.01
    assert found.value == pytest.approx(-math.log(0.01), abs=3 * error)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.35)


def test_one_value_has_no_bounds() -> None:
    found = quantile_interval([np.array([3.0])], 0.5, 0, 0.95)
    assert (found.value, found.low, found.high) == (3, -math.inf, math.inf)
