"""What timings say: the interval of a ratio, percentiles, the verdict, and the size of a block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt.benching.resampling import quantile_interval
from graphopt.contract import Array
from graphopt.report.bench import Interval, Met, Timing, Verdict

if TYPE_CHECKING:
    from graphopt.report.requirement import Requirement

MIN_PAIRS = 30
"""Nothing is decided from fewer pairs."""

MARGIN = 0.02
"""Two models are the same when the whole interval of their ratio is this near to 1."""

BLOCK_SECONDS = 0.01
"""A block of calls takes about so long."""

_BLOCK_CALLS = (3, 60)
_SAMPLE = 1000


def interval(log_ratios: Sequence[Array], seed: int, confidence: float = 0.95) -> Interval:
    """The median of ratios, with its interval over processes and pairs; `resampling` says how.

    Args:
        log_ratios: One array per process, one-dimensional, in the order of time: the logarithm of
            candidate / reference of each pair. Processes without a pair count as none.
        seed: The same one gives the same interval.
        confidence: Share of intervals that are to hold the true ratio, between 0 and 1.

    Returns:
        Ratios, not logarithms. A single pair has no interval: it is from 0 to infinity.

    Raises:
        ValueError: No pair at all, a value that is not finite, or a confidence out of range.
    """
    found = quantile_interval(_checked(log_ratios), 0.5, seed, confidence)
    with np.errstate(over="ignore"):
        value, low, high = np.exp([found.value, found.low, found.high]).tolist()
    return Interval(value, low, high)


def width(interval: Interval) -> float:
    """The logarithm of high / low: about the width relative to the value. Infinite if unbounded."""
    if interval.low <= 0 or math.isinf(interval.high):
        return math.inf
    return math.log(interval.high / interval.low)


def verdict(ratio: Interval, floor: Interval | None, pairs: int, margin: float = MARGIN) -> Verdict:
    """What a ratio says about a candidate.

    Args:
        ratio: Candidate / reference.
        floor: The reference against itself, measured beside it. A difference that is not larger
            than the one found there is none.
        pairs: Pairs of blocks over all processes.
        margin: How near to 1 the whole interval has to be for `same`.
    """
    if pairs < MIN_PAIRS:
        return "inconclusive"
    least = 0.0 if floor is None else abs(math.log(floor.value))
    stands_out = abs(math.log(ratio.value)) > least
    if stands_out and ratio.high < 1:
        return "faster"
    if stands_out and ratio.low > 1:
        return "slower"
    if 1 / (1 + margin) <= ratio.low and ratio.high <= 1 + margin:
        return "same"
    return "inconclusive"


def outcome(requirement: Requirement, measured: Interval | None) -> Met:
    """Hold a requirement against an interval, so that chance decides nothing.

    Args:
        requirement: The condition that must hold.
        measured: The interval; None when it was not measured, which meets nothing.

    Returns:
        `met` when the condition holds for every value of the interval, `not met` when it holds for
        none, else `inconclusive`. So `==` is met by an interval of a single value only.
    """
    if measured is None or math.isnan(measured.low) or math.isnan(measured.high):
        return "not met"
    holds = {requirement.holds(measured.low), requirement.holds(measured.high)}
    if holds == {True}:
        return "met"
    inside = measured.low <= requirement.limit <= measured.high
    # Equality can hold between two bounds for which it does not.
    if holds == {False} and not (requirement.operator == "==" and inside):
        return "not met"
    return "inconclusive"


def timing(calls: Sequence[Array], seed: int) -> Timing:
    """Describe how long single calls took.

    Percentiles are NumPy's default (`linear`, number 7 of Hyndman & Fan). The interval of p99 is
    made like that of a ratio, from runs of consecutive calls: slow calls come in clusters. Below
    368 calls it has no upper bound, as with a chance of more than 2.5 % none of them lies beyond
    the true p99 (0.99 ** calls). Only a bounded number of order statistics is looked at, so it
    takes as long for 200,000 calls as for 1,000.

    Args:
        calls: One array per process, one-dimensional, in the order of time: seconds of each call.
        seed: The same one gives the same interval.

    Raises:
        ValueError: No call at all, or a time that is not finite.
    """
    groups = _checked(calls)
    pooled = 1e3 * np.sort(np.concatenate(groups))
    q1, p50, q3, p90 = np.percentile(pooled, [25, 50, 75, 90]).tolist()
    p99 = quantile_interval(groups, 0.99, seed, 0.95)
    unbounded = 0.99**pooled.size > 0.025
    picked = np.linspace(0, pooled.size - 1, min(pooled.size, _SAMPLE)).round().astype(int)
    return Timing(
        calls=pooled.size,
        mean_ms=float(pooled.mean()),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=Interval(
            value=float(np.percentile(pooled, 99)),
            low=1e3 * max(p99.low, 0.0),
            high=math.inf if unbounded else 1e3 * p99.high,
        ),
        min_ms=float(pooled[0]),
        max_ms=float(pooled[-1]),
        outliers=int(np.count_nonzero(pooled > q3 + 3 * (q3 - q1))),
        sample_ms=pooled[picked].tolist(),
    )


def block_size(seconds_per_call: float) -> tuple[int, int]:
    """How many calls make a block, and how many of its first are dropped.

    Caches still hold the other model when a block begins; and the clock and the scheduler matter
    less to a longer block. From BLOCK_SECONDS on a call is a block of its own.

    Args:
        seconds_per_call: About how long a call takes.

    Returns:
        Calls (1, or 3 to 60), and how many of them do not count (about a sixth).

    Raises:
        ValueError: The time is negative or not finite.
    """
    if not 0 <= seconds_per_call < math.inf:
        raise ValueError(f"a call cannot take {seconds_per_call} seconds")
    if seconds_per_call >= BLOCK_SECONDS:
        return 1, 0
    fewest, most = _BLOCK_CALLS
    wanted = BLOCK_SECONDS / seconds_per_call if seconds_per_call * most > BLOCK_SECONDS else most
    calls = min(max(math.ceil(wanted), fewest), most)
    return calls, max(1, round(calls / 6))


def _checked(groups: Sequence[Array]) -> list[Array]:
    arrays = [np.asarray(group, np.float64) for group in groups]
    if any(array.ndim != 1 for array in arrays):
        raise ValueError("expected one-dimensional arrays, one per process")
    arrays = [array for array in arrays if array.size]
    if not arrays:
        raise ValueError("nothing was measured")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("a measured value is not finite")
    return arrays
