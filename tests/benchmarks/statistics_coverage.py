"""How often the benchmarker's intervals hold the truth, on simulated pairs of equal models.

Prints the table in the docstring of the resampling module. Nothing is timed. Run as
`python -m tests.benchmarks.statistics_coverage [RUNS]`; 60 runs a setting take some minutes.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable

import numpy as np

from graphopt.benching.statistics import interval, width
from graphopt.contract import Array

PROCESSES = (1, 2, 3, 5)
PAIRS = (10, 30, 60)
BETWEEN = (0.0, 0.003, 0.01)
"""Standard deviation of the processes."""

NOISE = (0.01, 0.03, 0.1)
"""Standard deviation of the pairs."""


def _normal(rng: np.random.Generator, processes: int, pairs: int) -> Array:
    return rng.standard_normal((processes, pairs))


def _heavy(rng: np.random.Generator, processes: int, pairs: int) -> Array:
    return rng.standard_t(3, (processes, pairs)) / math.sqrt(3)


def _spikes(rng: np.random.Generator, processes: int, pairs: int) -> Array:
    shape = (processes, pairs)
    spike = rng.exponential(5, shape) * rng.choice([-1, 1], shape)
    return np.asarray(rng.standard_normal(shape) / 2 + spike * (rng.random(shape) < 0.1))


def _drifting(rng: np.random.Generator, processes: int, pairs: int) -> Array:
    """Neighbours correlate by .3, and the noise grows threefold."""
    noise = rng.standard_normal((processes, pairs))
    for i in range(1, pairs):
        noise[:, i] = 0.3 * noise[:, i - 1] + math.sqrt(1 - 0.3**2) * noise[:, i]
    return np.asarray(noise * np.linspace(0.5, 1.5, pairs))


SHAPES: tuple[Callable[[np.random.Generator, int, int], Array], ...] = (
    _normal,
    _heavy,
    _spikes,
    _drifting,
)


def coverage(
    processes: int, between: float, runs: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Mean coverage over all settings, that of the worst, and the mean width."""
    held, wide = [], []
    for pairs, noise, shape in itertools.product(PAIRS, NOISE, SHAPES):
        found = []
        for seed in range(runs):
            offsets = between * rng.standard_normal((processes, 1))
            found.append(interval(list(noise * shape(rng, processes, pairs) + offsets), seed))
        held.append(np.mean([item.low <= 1 <= item.high for item in found]))
        wide.append(np.mean([width(item) for item in found]))
    return float(np.mean(held)), float(min(held)), float(np.mean(wide))


def main(runs: int) -> None:
    """Print the table."""
    rng = np.random.default_rng(1)
    print("| processes | differ by | covers | worst setting | width |")
    print("| --: | --: | --: | --: | --: |")
    for processes, between in itertools.product(PROCESSES, BETWEEN):
        mean, worst, wide = coverage(processes, between, runs, rng)
        print(
            f"| {processes} | {between:.1%} | {mean:.3f} | {worst:.2f} | {wide:.2%} |", flush=True
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
