from __future__ import annotations

import numpy as np
import pytest

from graphopt.benching.tuning_arms import Duel
from graphopt.benching.tuning_candidates import Candidate, candidates_for
from graphopt.benching.tuning_halving import NO_TIME, Unfit
from graphopt.benching.tuning_memory import SLOWER, allowed, lightest, lightest_fit
from graphopt.runtime.settings import CPU, Provider

CANDIDATES = candidates_for("memory", Provider(CPU), 2)[:5]
NAMES = [candidate.name for candidate in CANDIDATES]


class Scales:
    """Tells bytes; each weighing takes a second."""

    def __init__(self) -> None:
        self.bytes = dict(zip(NAMES, (100, 90, 60, 70, 130), strict=True))
        self.now = 0.0

    def __call__(self, candidate: Candidate) -> int:
        self.now += 1
        if not self.bytes[candidate.name]:
            raise Unfit("does not run")
        return self.bytes[candidate.name]

    def clock(self) -> float:
        return self.now


def duels(ratio: float) -> list[Duel]:
    return [Duel(np.ones(20), np.full(20, ratio)) for _ in range(2)]


def test_lightest_wins_and_is_weighed_anew() -> None:
    scales = Scales()
    found = lightest(CANDIDATES, scales, 100, clock=scales.clock)
    assert [one.candidate.name for one in found.standings] == [NAMES[i] for i in (2, 3, 1, 0, 4)]
    scales.bytes[NAMES[2]] = 80
    won = lightest_fit(found, scales, lambda c, s: duels(1.0), 100, 0, clock=scales.clock)
    assert won is not None
    assert won.ratio == 0.8
    assert found.best == CANDIDATES[2]


def test_slow_and_wrong_ones_are_passed_over() -> None:
    scales = Scales()
    found = lightest(CANDIDATES, scales, 100, clock=scales.clock)

    def duel(candidate: Candidate, seconds: float) -> list[Duel]:
        if candidate.name == NAMES[3]:
            raise Unfit("gives other outputs")
        return duels(1.5 if candidate.name == NAMES[2] else 1.0)

    won = lightest_fit(found, scales, duel, 100, 0, clock=scales.clock)
    assert won is not None
    assert found.best == CANDIDATES[1]
    assert [(c.name, reason) for c, reason in found.dropped] == [
        (NAMES[2], "a call takes 1.50 of the default's time"), (NAMES[3], "gives other outputs"),
    ]  # fmt: skip
    assert not {NAMES[2], NAMES[3]} & set(found.measured)


def test_nothing_lighter() -> None:
    scales = Scales()
    scales.bytes = dict.fromkeys(NAMES, 100)
    found = lightest(CANDIDATES, scales, 100, clock=scales.clock)
    assert lightest_fit(found, scales, lambda c, s: duels(1.0), 100, 0) is None
    assert found.finalists == [CANDIDATES[0]]


def test_time_is_kept() -> None:
    scales = Scales()
    found = lightest(CANDIDATES, scales, 2.5, clock=scales.clock)
    assert list(found.measured) == NAMES[:3]
    assert [(c.name, reason) for c, reason in found.dropped] == [(n, NO_TIME) for n in NAMES[3:]]


def test_one_that_does_not_run() -> None:
    scales = Scales()
    scales.bytes[NAMES[1]] = 0
    found = lightest(CANDIDATES, scales, 100, clock=scales.clock)
    assert [(c.name, reason) for c, reason in found.dropped] == [(NAMES[1], "does not run")]
    scales.bytes[NAMES[0]] = 0
    with pytest.raises(Unfit):
        lightest(CANDIDATES, scales, 100, clock=scales.clock)


def test_allowance_grows_with_the_defaults_own_spread() -> None:
    assert allowed(duels(1), 0) == pytest.approx(SLOWER)
    noisy = [Duel(np.random.default_rng(n).uniform(1, 2, 20), np.ones(20)) for n in range(3)]
    assert allowed(noisy, 0) > SLOWER
